"""The peer of `dqn_peers.py` for several unshared networks: a plain torch loop over them, on one thread.

It needs torch, and prints one line of JSON. An update is that of double Q-learning on a batch drawn from the network's
own transitions, as in `bayesalloc.agents.dqn.learn`: masked choice of the next action, mean square, the same optimiser.
"""

import argparse
import itertools
import json

import clock
import torch
from torch import nn


class Agent:
    """A network, its target, its optimiser and the transitions it learns from."""

    def __init__(self, settings: dict, seed: int) -> None:
        torch.manual_seed(seed)
        sizes, capacity = settings["sizes"], settings["capacity"]
        self.network, self.target = _network(sizes), _network(sizes)
        self.target.load_state_dict(self.network.state_dict())
        kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
        self.optimiser = kinds[settings["optimiser"]](self.network.parameters(), lr=settings["learning_rate"])
        self.values, self.next_values = torch.randn(2, capacity, sizes[0])
        self.action = torch.randint(sizes[-1], (capacity,))
        self.reward, self.discount = torch.randn(capacity), torch.full((capacity,), settings["discount"])
        self.next_mask = torch.rand(capacity, sizes[-1]) < 0.5
        self.next_mask[:, -1] = True

    def learn(self, batch: int) -> None:
        """One update."""
        place = torch.randint(len(self.action), (batch,))
        following = self.next_values[place]
        with torch.no_grad():
            allowed = torch.where(self.next_mask[place], self.network(following), -1e9)
            worth = self.target(following).gather(1, allowed.argmax(1, keepdim=True))[:, 0]
            goal = self.reward[place] + self.discount[place] * worth
        taken = self.network(self.values[place]).gather(1, self.action[place, None])[:, 0]
        loss = nn.functional.mse_loss(taken, goal)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


def _network(sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for one, other in itertools.pairwise(sizes):
        layers += [nn.Linear(one, other), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--settings", required=True, help="JSON, as dqn_peers.py gives it")
    parser.add_argument("--steps", type=int, default=1_000, help="updates of each network")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    settings = json.loads(options.settings)
    torch.set_num_threads(1)
    agents = [Agent(settings, seed) for seed in range(settings["networks"])]

    def work(updates: int) -> None:
        for update in range(updates):
            for agent in agents:
                agent.learn(settings["batch"])
                if (update + 1) % settings["target_every"] == 0:
                    agent.target.load_state_dict(agent.network.state_dict())

    work(50)
    count = options.steps * settings["networks"]
    print(json.dumps({"peer": "torch", "setup_s": 0.0} | clock.rates(count, lambda: work(options.steps),
                                                                     options.repeats)))  # fmt: skip


if __name__ == "__main__":
    main()
