"""`bayesalloc counterfactual`: what would have happened in the recorded years."""

from pathlib import Path
from typing import Annotated

from bayesalloc import defaults, limits
from bayesalloc.cli import arguments
from bayesalloc.cli.options import DEFAULT, Common, Names, Repeated, Whole
from bayesalloc.cli.session import session
from bayesalloc.errors import InputError


def counterfactual(
    model: str,
    record: Path,
    *,
    posterior: Path,
    do: Annotated[list[str], Repeated],
    mechanisms: Names = None,
    from_year: Whole | None = None,
    draws: Whole = defaults.COMPARED_DRAWS,
    interval: float = defaults.INTERVAL,
    common: Common = DEFAULT,
) -> None:
    """What would have happened in the recorded periods, had an intervention been made.

    Args:
        model: The model that was fitted.
        record: The record it was fitted to.
        posterior: The posterior from `bayesalloc fit`.
        do: The intervention: mechanism=NAME_OR_PATH, or SITE=VALUE.
        mechanisms: Python mechanisms that were in force: a posterior carries numbers and no code.
        from_year: Its first year (or round, or what the model's periods are); default: the first recorded.
        draws: Posterior draws to use.
        interval: Probability of the intervals.
        common: What every command takes.
    """
    with session(common, "counterfactual", "report.html", "results.nc") as (say, folder):
        limits.counted(draws=draws)
        limits.probability("interval", interval)

        from bayesalloc import effects, library
        from bayesalloc.inference.files import save_tree
        from bayesalloc.records import Table
        from bayesalloc.report import counterfactual as documents

        tree = arguments.open_posterior(posterior)
        if Table(record).text() != tree.attrs.get("record"):
            raise InputError(f"{record}: is not the record that {posterior} was fitted to")
        if len(do) != 1:
            raise InputError(f"a counterfactual takes one --do; {len(do)} were given")
        sites = arguments.sites(do[0])
        mechanism = sites.pop("mechanism", None)
        if mechanism is not None and sites:
            raise InputError("a counterfactual changes the mechanism or sites, not both at once")
        result = effects.counterfactual(
            library.load_model(model),
            tree,
            sites if mechanism is None else str(mechanism),
            mechanisms=mechanisms or (),
            from_year=from_year,
            draws=draws,
            interval=interval,
        )
        files = folder.files("report.html", "results.nc")
        save_tree(result, folder.path / "results.nc")
        documents.write(result, folder.path / "report.html", seed=common.seed)
        say(documents.text(result), documents.as_json(result, files, seed=common.seed))
