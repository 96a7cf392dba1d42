"""`bayesalloc compare`: effects of mechanisms, or of any interventions, on a model."""

import math
from pathlib import Path

from bayesalloc import defaults, limits
from bayesalloc.cli import arguments
from bayesalloc.cli.options import DEFAULT, Common, Names, Texts, Whole
from bayesalloc.cli.session import session
from bayesalloc.errors import InputError


def compare(
    model: str = "watershed",
    *,
    mechanisms: Names = None,
    do: Texts = None,
    baseline: str | None = None,
    draws: Whole | None = None,
    horizon: Whole = defaults.HORIZON,
    posterior: Path | None = None,
    record: Path | None = None,
    interval: float = defaults.INTERVAL,
    minimum: float = 0.0,
    data: Texts = None,
    futures: Whole | None = None,
    common: Common = DEFAULT,
) -> None:
    """Compare mechanisms, or any interventions, on a model and report their effects.

    Args:
        model: A shipped model's name, or the path of a Python file with `environment` or a NumPyro `model`.
        mechanisms: Names or paths of mechanisms (of srap: of allocators or policies; of altruism: of rules or
            learners; of budget: also of policies, as office.policy, or office.policy:0.6,0.2,0.2 with weights);
            default: the model's own. What a file may hold: `bayesalloc mechanisms --fields MODEL`.
        do: An arm by intervention: SITE=VALUE, or several joined by commas. Give it once per arm. SITE+=VALUE adds to
            what a site would have been, "SITE=Normal(1, 0.2)" draws it from a NumPyro distribution.
        baseline: The arm that effects are measured against.
        draws: Parameter draws; default: 500, or 24 where a policy decides in Python.
        horizon: Periods to simulate, such as years.
        posterior: A posterior from `bayesalloc fit`; default: effects under the prior.
        record: A CSV with the columns of a plain NumPyro model; beside a posterior, in place of the data in it.
        interval: Probability of the intervals.
        minimum: The smallest effect that matters, for the probability of exceeding it.
        data: A keyword of a plain model that is no column, as J=8; the value is JSON, or else text.
        futures: Courses of chance under each draw; default: 8 to 32, fewer for a model with very many rows, and one
            where a policy decides in Python.
        common: What every command takes.
    """
    with session(common, "compare", "report.html", "results.nc") as (say, folder):
        limits.counted(draws=draws, horizon=horizon, futures=futures)
        limits.probability("interval", interval)
        if not math.isfinite(minimum):
            raise InputError(f"minimum is {minimum:g}; it must be a number")

        import jax

        from bayesalloc import effects, library
        from bayesalloc.environment import Environment
        from bayesalloc.inference.files import save_tree
        from bayesalloc.inference.given import stated
        from bayesalloc.report import comparison as documents

        loaded = library.load_model(model)
        tree = None if posterior is None else arguments.open_posterior(posterior)
        arms = arguments.interventions(mechanisms, do, environment=isinstance(loaded, Environment), baseline=baseline)
        if not isinstance(loaded, Environment) and not do:
            raise InputError("a plain model is compared under interventions on its sites: give --do SITE=VALUE")
        if isinstance(loaded, Environment) and (data or (record is not None and tree is None)):
            raise InputError("--record and --data are for plain models; fit a record to an environment instead")
        result = effects.compare(
            loaded,
            arms,
            jax.random.key(common.seed),
            draws=draws,
            horizon=horizon,
            baseline=baseline,
            posterior=tree,
            data=record,
            keywords=stated(data or ()),
            interval=interval,
            minimum=minimum,
            futures=futures,
        )
        files = folder.files("report.html", "results.nc")
        result.attrs["seed"] = common.seed
        save_tree(result, folder.path / "results.nc")
        documents.write(result, folder.path / "report.html", seed=common.seed)
        say(documents.text(result), documents.as_json(result, files, seed=common.seed))
