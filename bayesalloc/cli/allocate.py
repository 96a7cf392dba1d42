"""`bayesalloc allocate`: one social resource allocation problem."""

import sys
from pathlib import Path

from bayesalloc import runs
from bayesalloc.cli.options import DEFAULT, Common
from bayesalloc.cli.session import session


def allocate(
    problem: Path,
    *,
    method: str = "dec-price",
    policy: Path | None = None,
    time_limit: float | None = None,
    length: str | None = None,
    common: Common = DEFAULT,
) -> None:
    """Allocate one social resource allocation problem: who sends what to which task.

    Args:
        problem: A JSON file with `agents` (how many, or a list of names), `edges` (each [agent, agent, length], the
            length 1 where left out) or `graph` (the file of a network), `resource_types` (how many), `resources` (a
            row for each agent: how many items of each type it holds), `tasks` (each with its `agent`, its `utility`
            and what it `requires` of each type) and optionally `transfer_cost` (`per_item` and unit of length, default
            1, and `package_size`, default 1: how many items travel as one).
        method: opt, cen-grd, cen-grd+, dec-grd, dec-price or a learned one; the answer to an unknown one lists all.
        policy: A policy from `bayesalloc train`, for a learned method; default: the one that is shipped.
        time_limit: Seconds for opt; when they are over, the best allocation found and the proven bound are returned.
        length: The attribute of a graph file's links that is their length, or a number that all have; default: weight.
        common: What every command takes.
    """
    with session(common, "allocate") as (say, _):
        import jax

        from bayesalloc import allocators
        from bayesalloc.report import allocation as documents

        if policy is not None:
            runs.check(policy)
        instance, understood = allocators.read_instance(problem, length)
        result = allocators.allocate(
            instance, method, jax.random.key(common.seed), time_limit=time_limit, policy=policy
        )
        result["network"] = understood
        for warning in result["warnings"]:
            print(f"warning: {warning}", file=sys.stderr)
        if not common.quiet:
            print(f"network: {understood}", file=sys.stderr)
        say(documents.text(result), result)
