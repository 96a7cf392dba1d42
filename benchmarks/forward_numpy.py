"""The watershed forward simulation in vectorised NumPy: what a careful person writes without JAX.

Replicates lie along the last axis and are processed in chunks that fit the processor's cache; a year's random numbers
are drawn once and used by the three mechanisms, and a year's outcomes live in one block of memory, whose means are one
matrix-vector product. Every outcome of every replicate is computed, as in the simulator it is compared with.

    python forward_numpy.py --replicates 200000
    python forward_numpy.py --check        # needs bayesalloc
"""

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the products are small; a second core is for a second chunk

import numpy as np
import watershed_numbers as numbers

N_AGENTS = len(numbers.AGENTS)
OUTCOMES = {  # rows of the block of a year's outcomes
    "forest_health": slice(0, 1),
    "erosion": slice(1, 2),
    "contribution": slice(2, 7),
    "payoff": slice(7, 12),
    "payment": slice(12, 17),
    "outside_money": slice(17, 18),
    "social_welfare": slice(18, 19),
}
ROWS = 19
PER_AGENT = ("contribution", "payoff", "payment")
CHUNK = 8192  # 4,096 to 32,768 are within a tenth of each other where tuned
BIT_GENERATOR = np.random.SFC64


def column(values: Sequence[float]) -> np.ndarray:
    """One number per agent, of shape (agent, 1)."""
    return np.array(values, np.float32)[:, None]


INFLUENCE = np.array(numbers.INFLUENCE, np.float32)
COST, HEALTH_VALUE = column(numbers.COST), column(numbers.HEALTH_VALUE)
SEDIMENT_VALUE = [(agent, value) for agent, value in enumerate(numbers.SEDIMENT_VALUE) if value]


class Arm:
    """One mechanism's simulation of a chunk: its state, and the block of outcomes of the year just simulated."""

    def __init__(self, mechanism: numbers.Mechanism, params: Mapping[str, np.ndarray], spare: np.ndarray) -> None:
        n = spare.shape[1]
        self.mechanism, self.params = mechanism, params
        self.agents, (self.a, self.b, self.c) = spare[:N_AGENTS], spare[N_AGENTS:]  # working memory, shared by the arms
        self.block = np.zeros((ROWS, n), np.float32)
        rows = {name: self.block[span] for name, span in OUTCOMES.items()}
        self.health, self.erosion = rows["forest_health"][0], rows["erosion"][0]
        self.sales, self.welfare = rows["outside_money"][0], rows["social_welfare"][0]
        self.effort, self.payoff, self.payment = rows["contribution"], rows["payoff"], rows["payment"]
        self.health[:] = params["initial_health"]
        self.sentiment = np.zeros(n, np.float32)
        self.cost_shares = column(mechanism.cost_shares) if any(mechanism.cost_shares) else None
        self.milestone = column(mechanism.milestone_payment) if any(mechanism.milestone_payment) else None
        self.verification = column(mechanism.verification_payment) if any(mechanism.verification_payment) else None
        self.credit_shares = column(mechanism.credit_shares) if any(mechanism.credit_shares) else None

    def step(self, effort_shock: np.ndarray, growth_shock: np.ndarray, market_shocks: np.ndarray) -> None:
        """One year; overwrites the block."""
        terms, params, health, effort, a, b, c = (
            self.mechanism, self.params, self.health, self.effort, self.a, self.b, self.c
        )  # fmt: skip
        price_ratio = self._market(*market_shocks) if terms.has_market else None

        np.subtract(1.0, health, out=a)
        np.multiply(params["urgency"], a, out=b)
        np.add(params["own"], b, out=effort)
        effort *= self._modifier(price_ratio)
        np.multiply(effort_shock, np.float32(terms.volatility), out=self.agents)
        effort += self.agents
        np.clip(effort, 0.0, 1.0, out=effort)

        joint = np.matmul(INFLUENCE, effort, out=b)
        np.multiply(params["growth"], joint, out=c)
        np.subtract(1.0, joint, out=joint)
        np.multiply(joint, joint, out=joint)
        joint *= params["degradation"]  # now the loss, as a share of health
        c *= a
        c -= joint
        a *= growth_shock
        a *= params["growth_noise"]
        c += a
        c += 1.0
        health *= c
        np.clip(health, 0.0, 1.0, out=health)
        np.multiply(params["minus_decay"], health, out=a)
        bare = np.exp(a, out=a)  # erosion as a share of bare land's
        np.multiply(params["erosion_reference"], bare, out=self.erosion)

        cost = np.multiply(COST, effort, out=self.agents)
        self._payments(cost, bare, price_ratio)
        payoff = np.multiply(HEALTH_VALUE, health, out=self.payoff)
        payoff -= cost
        payoff += self.payment
        np.subtract(1.0, bare, out=a)
        for agent, value in SEDIMENT_VALUE:
            payoff[agent] += np.multiply(a, np.float32(value), out=b)
        np.sum(payoff, axis=0, out=self.welfare)

    def _market(self, sentiment_shock: np.ndarray, price_shock: np.ndarray) -> np.ndarray:
        """The credit price over the calm price."""
        terms, sentiment = self.mechanism, self.sentiment
        sentiment *= np.float32(terms.persistence)
        np.multiply(sentiment_shock, np.float32((1.0 - terms.persistence**2) ** 0.5), out=self.a)
        sentiment += self.a
        ratio = np.tanh(sentiment)
        ratio *= np.float32(terms.cycle)
        np.multiply(price_shock, np.float32(terms.price_volatility), out=self.a)
        ratio += self.a
        return np.exp(ratio, out=ratio)

    def _modifier(self, price_ratio: np.ndarray | None) -> np.ndarray | np.float32:
        """The factor on contributions: a number where it is the same for every replicate."""
        terms = self.mechanism
        factor = np.float32(terms.modifier)
        if terms.modifier_above != terms.modifier:
            above = 1.0 / (1.0 + np.exp((np.float32(terms.threshold) - self.health) / np.float32(numbers.SWITCH_WIDTH)))
            factor = factor + above * np.float32(terms.modifier_above - terms.modifier)
        if price_ratio is None:
            return factor
        return factor * (price_ratio if terms.response == 1.0 else price_ratio ** np.float32(terms.response))

    def _payments(self, cost: np.ndarray, bare: np.ndarray, price_ratio: np.ndarray | None) -> None:
        """Each agent's payment and the outside money, from what the mechanism has of the four kinds of payment."""
        terms, params, payment = self.mechanism, self.params, self.payment
        started = False
        if self.cost_shares is not None:
            total = np.sum(cost, axis=0, out=self.b)
            np.multiply(self.cost_shares, total, out=payment)
            np.subtract(cost, payment, out=payment)
            started = True
        if self.milestone is not None:
            held = np.greater(self.health, np.float32(terms.health_milestone)).astype(np.float32)
            held += bare < params["bare_before"] * np.float32(1.0 - terms.erosion_milestone)
            self._add(self.milestone * held, started=started)
            started = True
        if self.credit_shares is not None and price_ratio is not None:
            sales = np.subtract(self.health, params["initial_health"], out=self.sales)
            np.maximum(sales, 0.0, out=sales)
            sales *= price_ratio
            sales *= np.float32(terms.credits_per_health * terms.price)
            self._add(self.credit_shares * sales, started=started)
            started = True
        if self.verification is not None and started:
            payment += self.verification
        elif self.verification is not None:
            payment[:] = self.verification

    def _add(self, amounts: np.ndarray, *, started: bool) -> None:
        if started:
            self.payment += amounts
        else:
            self.payment[:] = amounts


def ziggurat(rng: np.random.Generator, out: np.ndarray) -> None:
    """Fill with standard normal numbers the way NumPy does it, one at a time."""
    rng.standard_normal(out=out, dtype=np.float32)


def box_muller(rng: np.random.Generator, out: np.ndarray) -> None:
    """Fill with standard normal numbers by vectorised arithmetic (Box & Muller 1958); an even number of rows."""
    radius, angle = np.split(rng.random(out.shape, np.float32), 2)
    np.subtract(1.0, radius, out=radius)  # in (0, 1]
    np.log(radius, out=radius)
    radius *= np.float32(-2.0)
    np.sqrt(radius, out=radius)
    angle *= np.float32(2.0 * np.pi)
    cosines, sines = np.split(out, 2)
    np.cos(angle, out=cosines)
    np.sin(angle, out=sines)
    cosines *= radius
    sines *= radius


NORMALS = {"ziggurat": ziggurat, "box_muller": box_muller}


def chunk_sums(seed: np.random.SeedSequence, n: int, normals: str = "ziggurat") -> np.ndarray:
    """Sums over `n` replicates of every outcome; shape (mechanism, year, row)."""
    rng = np.random.Generator(BIT_GENERATOR(seed))

    def log_normal(name: str) -> np.ndarray:
        median, log_sd = numbers.SCENARIO[name]
        return np.exp(np.float32(np.log(median)) + np.float32(log_sd) * rng.standard_normal(n, np.float32))

    median, spread = numbers.SCENARIO_HEALTH
    logit = np.log(median / (1 - median)) + spread * rng.standard_normal(n, np.float32)
    params = {name: log_normal(name) for name in numbers.SCENARIO if not name.endswith("_error")}
    params["initial_health"] = (1.0 / (1.0 + np.exp(-logit))).astype(np.float32)
    tendency = params["tendency_spread"] * rng.standard_normal((N_AGENTS, n), np.float32)
    params["own"] = np.float32(numbers.BASELINE) + tendency
    params["minus_decay"] = -params["erosion_decay"]
    params["bare_before"] = np.exp(params["minus_decay"] * params["initial_health"])

    spare = np.empty((N_AGENTS + 3, n), np.float32)
    arms = [Arm(mechanism, params, spare) for mechanism in numbers.MECHANISMS.values()]
    shocks = np.empty((N_AGENTS + 3, n), np.float32)
    ones, sums = np.ones(n, np.float32), np.empty((len(arms), numbers.YEARS, ROWS), np.float32)
    for year in range(numbers.YEARS):
        NORMALS[normals](rng, shocks)
        for arm, arm_sums in zip(arms, sums, strict=True):
            arm.step(shocks[:N_AGENTS], shocks[N_AGENTS], shocks[N_AGENTS + 1 :])
            np.matmul(arm.block, ones, out=arm_sums[year])
    return sums.astype(np.float64)


def simulate(
    replicates: int,
    *,
    seed: int = 0,
    chunk_size: int = CHUNK,
    executor: Executor | None = None,
    normals: str = "ziggurat",
) -> dict[str, np.ndarray]:
    """Mean over the replicates of every outcome.

    Args:
        replicates: number of replicates.
        seed: of the random numbers; the result does not depend on the executor.
        chunk_size: replicates simulated at once.
        executor: runs chunks side by side; None: one after the other.
        normals: how standard normal numbers are made, a name of NORMALS.

    Returns:
        Outcome -> means of shape (mechanism, year) or (mechanism, year, agent).
    """
    sizes = [min(chunk_size, replicates - first) for first in range(0, replicates, chunk_size)]
    seeds = np.random.SeedSequence(seed).spawn(len(sizes))
    run = map if executor is None else executor.map
    sums = np.zeros((len(numbers.MECHANISMS), numbers.YEARS, ROWS))
    for part in run(chunk_sums, seeds, sizes, [normals] * len(sizes)):
        sums += part
    means = sums / replicates
    return {name: means[..., span] if name in PER_AGENT else means[..., span.start] for name, span in OUTCOMES.items()}


def check(replicates: int = 100_000, tolerance: float = 5.0, normals: str = "ziggurat") -> float:
    """Compare with the means of `bayesalloc.rollout`.

    A cell agrees if the two means differ by less than `tolerance` standard errors of their difference, plus a relative
    1e-5 for float32 arithmetic. Of 1,140 strongly correlated cells the largest is expected at 3 to 4 standard errors.

    Args:
        replicates: of each of the two simulations.
        tolerance: in standard errors.
        normals: as in `simulate`.

    Returns:
        The largest difference, in standard errors.

    Raises:
        ValueError: where a cell disagrees.
    """
    import jax

    import bayesalloc as ba
    from bayesalloc.environment import stack
    from bayesalloc.models.watershed import environment

    numbers.verify()
    arms = stack(list(environment.arms(None).values()))
    key_mean, key_sd = jax.random.split(jax.random.key(0))
    shape = {"arms": arms, "horizon": numbers.YEARS}
    theirs = ba.rollout(environment, ba.hold, key_mean, replicates=replicates, average=True, **shape)
    spread = ba.rollout(environment, ba.hold, key_sd, replicates=4096, **shape)
    ours, worst = simulate(replicates, normals=normals), 0.0
    for name, mean in ours.items():
        reference = np.asarray(getattr(theirs, name), np.float64)
        error = np.asarray(getattr(spread, name), np.float64).std(0) * np.sqrt(2 / replicates)
        excess = np.abs(mean - reference) - 1e-5 * np.abs(reference)
        deviations = np.where(excess <= 0, 0.0, excess / np.maximum(error, 1e-12))
        worst = max(worst, float(deviations.max()))
        if deviations.max() > tolerance:
            where = np.unravel_index(deviations.argmax(), deviations.shape)
            raise ValueError(f"{name}{list(map(int, where))}: {mean[where]} here, {reference[where]} in bayesalloc")
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200_000)
    parser.add_argument("--chunk-size", type=int, default=CHUNK)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--kind", choices=("threads", "processes"), default="processes")
    parser.add_argument("--normals", choices=tuple(NORMALS), default="ziggurat")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", action="store_true", help="compare the means with bayesalloc's instead")
    options = parser.parse_args()
    if options.check:
        worst = check(normals=options.normals)
        print(json.dumps({"peer": "numpy", "largest_difference_in_standard_errors": round(worst, 2)}))
        return

    started = time.perf_counter()
    pool = {"threads": ThreadPoolExecutor, "processes": ProcessPoolExecutor}[options.kind]
    executor = pool(options.workers) if options.workers > 1 else None
    shape = {"seed": options.seed, "chunk_size": options.chunk_size, "executor": executor, "normals": options.normals}
    simulate(2 * options.workers * options.chunk_size, **shape)  # wakes the workers
    setup, seconds = time.perf_counter() - started, float("inf")
    for _ in range(options.repeats):
        started = time.perf_counter()
        simulate(options.replicates, **shape)
        seconds = min(seconds, time.perf_counter() - started)
    agent_years = options.replicates * len(numbers.MECHANISMS) * numbers.YEARS * N_AGENTS
    how = f", {options.workers} {options.kind}" if options.workers > 1 else ""
    result = {
        "peer": f"numpy{how}{'' if options.normals == 'ziggurat' else ', ' + options.normals}",
        "replicates": options.replicates,
        "seconds": round(seconds, 4),
        "agent_years_per_second": round(agent_years / seconds),
        "seconds_setup": round(setup, 3),
        "chunk_size": options.chunk_size,
    }
    print(json.dumps(result))
    if executor is not None:
        executor.shutdown()


if __name__ == "__main__":
    main()
