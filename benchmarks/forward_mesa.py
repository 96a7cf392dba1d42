"""The watershed forward simulation in Mesa 3: one model per replicate and mechanism, with five agent objects.

The second command compares its means with those of `forward_numpy.py`:

    python forward_mesa.py --replicates 200
    python forward_mesa.py --check
"""

import argparse
import json
import math
import time

import mesa
import numpy as np
import watershed_numbers as numbers

REPORTERS = {
    "forest_health": lambda model: model.forest_health,
    "erosion": lambda model: model.erosion,
    "contribution": lambda model: model.agents.get("contribution"),
    "payoff": lambda model: model.agents.get("payoff"),
    "payment": lambda model: model.agents.get("payment"),
    "outside_money": lambda model: model.outside_money,
    "social_welfare": lambda model: model.agents.agg("payoff", sum),
}


class Stakeholder(mesa.Agent):
    """One of the five: contributes by its own tendency and the mechanism, pays and is paid by the mechanism."""

    def __init__(self, model: "Watershed", index: int, tendency: float) -> None:
        super().__init__(model)
        mechanism = model.mechanism
        self.willingness = numbers.BASELINE + tendency
        self.influence, self.capacity = numbers.INFLUENCE[index], numbers.COST[index]
        self.health_value, self.sediment_value = numbers.HEALTH_VALUE[index], numbers.SEDIMENT_VALUE[index]
        self.cost_share = mechanism.cost_shares[index]
        self.milestone_payment = mechanism.milestone_payment[index]
        self.verification_payment = mechanism.verification_payment[index]
        self.credit_share = mechanism.credit_shares[index]
        self.contribution = self.cost = self.payment = self.payoff = 0.0

    def contribute(self) -> None:
        """Decide on this year's contribution, before forest health responds."""
        model = self.model
        willing = self.willingness + model.urgency * (1.0 - model.forest_health)
        shock = self.random.gauss(0.0, 1.0)
        self.contribution = min(1.0, max(0.0, willing * model.modifier + model.mechanism.volatility * shock))
        self.cost = self.capacity * self.contribution

    def settle(self) -> None:
        """Receive or make this year's payments, and add up what the year brought."""
        model = self.model
        self.payment = (
            model.milestones * self.milestone_payment
            + self.verification_payment
            + model.outside_money * self.credit_share
        )
        if model.pooled:
            self.payment += self.cost - self.cost_share * model.total_cost
        benefit = self.health_value * model.forest_health + self.sediment_value * (1.0 - model.bare)
        self.payoff = benefit - self.cost + self.payment


class Watershed(mesa.Model):
    """The catchment under one mechanism; the seed decides parameters and noise, whatever the mechanism.

    Without `collector` the outcomes are appended to plain lists, which spares the copies Mesa's DataCollector makes.
    """

    def __init__(self, mechanism: numbers.Mechanism, seed: int, *, collector: bool = True) -> None:
        super().__init__(rng=seed)
        self.mechanism = mechanism
        self.pooled = any(mechanism.cost_shares)
        median, spread = numbers.SCENARIO_HEALTH
        logit = self.random.gauss(math.log(median / (1.0 - median)), spread)
        self.forest_health = self.initial_health = 1.0 / (1.0 + math.exp(-logit))
        draw = {
            name: self.random.lognormvariate(math.log(median), log_sd)
            for name, (median, log_sd) in numbers.SCENARIO.items()
        }
        self.growth, self.degradation, self.urgency = draw["growth"], draw["degradation"], draw["urgency"]
        self.erosion_reference, self.erosion_decay = draw["erosion_reference"], draw["erosion_decay"]
        self.growth_noise = draw["growth_noise"]
        for index in range(len(numbers.AGENTS)):
            Stakeholder(self, index, self.random.gauss(0.0, draw["tendency_spread"]))

        self.bare_before = math.exp(-self.erosion_decay * self.initial_health)
        self.sentiment_memory = math.sqrt(1.0 - mechanism.persistence**2)
        self.sentiment = 0.0
        self.datacollector = mesa.DataCollector(model_reporters=REPORTERS) if collector else None
        self.lists: dict[str, list] = {name: [] for name in REPORTERS}

    @property
    def history(self) -> dict[str, list]:
        """Outcome -> its value in every year."""
        return self.lists if self.datacollector is None else self.datacollector.model_vars

    def step(self) -> None:
        """One year."""
        mechanism, gauss = self.mechanism, self.random.gauss
        growth_shock, sentiment_shock, price_shock = gauss(0.0, 1.0), gauss(0.0, 1.0), gauss(0.0, 1.0)
        self.sentiment = mechanism.persistence * self.sentiment + self.sentiment_memory * sentiment_shock
        price_ratio = math.exp(mechanism.cycle * math.tanh(self.sentiment) + mechanism.price_volatility * price_shock)
        above = 1.0 / (1.0 + math.exp((mechanism.threshold - self.forest_health) / numbers.SWITCH_WIDTH))
        level = mechanism.modifier + above * (mechanism.modifier_above - mechanism.modifier)
        self.modifier = level * price_ratio**mechanism.response

        self.agents.do("contribute")
        self.total_cost = self.agents.agg("cost", sum)
        self._grow(growth_shock)
        reduction = 1.0 - self.bare / self.bare_before
        self.milestones = (self.forest_health > mechanism.health_milestone) + (reduction > mechanism.erosion_milestone)
        gain = max(0.0, self.forest_health - self.initial_health)
        self.outside_money = mechanism.credits_per_health * gain * mechanism.price * price_ratio
        self.agents.do("settle")
        if self.datacollector is not None:
            self.datacollector.collect(self)
        else:
            for name, report in REPORTERS.items():
                self.lists[name].append(report(self))

    def _grow(self, shock: float) -> None:
        health = self.forest_health
        joint = sum(agent.influence * agent.contribution for agent in self.agents)
        room = health * (1.0 - health)
        growth = self.growth * joint * room
        degradation = self.degradation * (1.0 - joint) ** 2 * health
        self.forest_health = min(1.0, max(0.0, health + growth - degradation + self.growth_noise * room * shock))
        self.bare = math.exp(-self.erosion_decay * self.forest_health)  # erosion as a share of bare land's
        self.erosion = self.erosion_reference * self.bare


def simulate(replicates: int, *, seed: int = 0, collector: bool = True) -> dict[str, np.ndarray]:
    """Every outcome of every replicate.

    Args:
        replicates: number of replicates.
        seed: of the first replicate; the others follow.
        collector: whether outcomes go through Mesa's DataCollector.

    Returns:
        Outcome -> values of shape (replicate, mechanism, year) or (replicate, mechanism, year, agent).
    """
    years: dict[str, list[list[list]]] = {name: [] for name in REPORTERS}
    for replicate in range(replicates):
        runs = []
        for mechanism in numbers.MECHANISMS.values():
            model = Watershed(mechanism, seed + replicate, collector=collector)
            model.run_for(numbers.YEARS)
            runs.append(model.history)
        for name, values in years.items():
            values.append([run[name] for run in runs])
    return {name: np.array(values) for name, values in years.items()}


def check(replicates: int = 500, tolerance: float = 5.0) -> float:
    """Compare with the means of `forward_numpy.simulate` over 200,000 replicates.

    Args:
        replicates: of the Mesa model.
        tolerance: allowed difference in standard errors of the Mesa mean. Where hardly a replicate reaches a milestone
            the sample says little about its standard deviation, so 1 % of the outcome's largest value is added to it.

    Returns:
        The largest difference, in standard errors.

    Raises:
        ValueError: where a cell disagrees.
    """
    import forward_numpy

    reference, worst = forward_numpy.simulate(200_000), 0.0
    for name, values in simulate(replicates).items():
        error = (values.std(0) + 0.01 * np.abs(values).max()) / np.sqrt(replicates)
        deviations = np.abs(values.mean(0) - reference[name]) / np.maximum(error, 1e-12)
        worst = max(worst, float(deviations.max()))
        if deviations.max() > tolerance:
            where = np.unravel_index(deviations.argmax(), deviations.shape)
            raise ValueError(f"{name}{list(map(int, where))}: {values.mean(0)[where]}, not {reference[name][where]}")
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--lists", action="store_true", help="plain lists in place of Mesa's DataCollector")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", action="store_true", help="compare the means with those of forward_numpy.py instead")
    options = parser.parse_args()
    if options.check:
        worst = check()
        print(json.dumps({"peer": "mesa", "largest_difference_in_standard_errors": round(worst, 2)}))
        return
    started = time.perf_counter()
    simulate(2, seed=options.seed, collector=not options.lists)
    setup, seconds = time.perf_counter() - started, float("inf")
    for _ in range(options.repeats):
        started = time.perf_counter()
        simulate(options.replicates, seed=options.seed, collector=not options.lists)
        seconds = min(seconds, time.perf_counter() - started)
    agent_years = options.replicates * len(numbers.MECHANISMS) * numbers.YEARS * len(numbers.AGENTS)
    result = {
        "peer": "mesa, lists" if options.lists else "mesa",
        "replicates": options.replicates,
        "seconds": round(seconds, 4),
        "agent_years_per_second": round(agent_years / seconds),
        "seconds_setup": round(setup, 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
