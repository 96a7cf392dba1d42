"""`bayesalloc optimize show`: what is believed."""

from pathlib import Path

from bayesalloc.cli.optimize import designing
from bayesalloc.cli.options import DEFAULT, Common, Flag
from bayesalloc.cli.session import session, warn
from bayesalloc.errors import InputError


def show(state: Path, *, nuts: Flag = False, common: Common = DEFAULT) -> None:
    """Show what is believed of each project, after all that was told; of a mechanism's design, what is asked.

    Args:
        state: The state file of `start`.
        nuts: Sample the posterior in full, and not at the most probable spreads only; it is kept as posterior.nc.
        common: What every command takes.
    """
    with session(common, "show", "posterior.nc") as (say, folder):
        if designing.is_design(state):
            if nuts:
                raise InputError(f"{state}: is the state of a mechanism's design; --nuts is for allocations")
            designing.show(state, say, folder.files())
            return
        import jax

        from bayesalloc.impact import proposing
        from bayesalloc.impact.state import load
        from bayesalloc.report import funding as documents

        known = load(state)
        understanding, _ = proposing.understand(known)
        warnings, tree, verdict = list(understanding.warnings), None, None
        if nuts:
            from bayesalloc.impact.sampling import sampled
            from bayesalloc.inference import diagnose
            from bayesalloc.inference.files import save_tree

            tree = sampled(understanding, jax.random.key(common.seed))
            verdict = diagnose(tree)
            warnings += [] if verdict.usable else [f"the posterior should not be used: {verdict.why}"]
            save_tree(tree, folder.path / "posterior.nc")
        warn(warnings)
        files = folder.files(**({"posterior": "posterior.nc"} if nuts else {}))
        result = documents.beginning(str(state), known, understanding, warnings, files, tree)
        if verdict is not None:
            result |= {"usable": verdict.usable, "why": verdict.why}
        say(documents.beginning_text(result), result)
