"""`bayesalloc fit`: a model fitted to a record."""

import json
import sys
from pathlib import Path
from typing import Literal

from bayesalloc import defaults, limits
from bayesalloc.cli.options import DEFAULT, Common, Names, Texts, Whole
from bayesalloc.cli.session import session, warn


def fit(
    model: str,
    record: Path,
    *,
    data: Texts = None,
    method: Literal["nuts", "svi"] = "nuts",
    chains: Whole = defaults.CHAINS,
    warmup: Whole = defaults.WARMUP,
    draws: Whole = defaults.DRAWS,
    mechanism: str | None = None,
    mechanisms: Names = None,
    target_accept: float = defaults.TARGET_ACCEPT,
    common: Common = DEFAULT,
) -> None:
    """Fit a model to a record: posterior, diagnostics, predictive checks and a verdict.

    Args:
        model: A shipped model's name, or the path of a Python file with `environment` or a NumPyro `model`.
        record: A CSV file; an empty cell is missing. `bayesalloc models MODEL` lists a model's columns.
        data: A keyword of a plain model that is no column, as J=8; the value is JSON, or else text.
        method: NUTS, or stochastic variational inference.
        chains: Number of chains.
        warmup: Warm-up draws per chain.
        draws: Draws per chain.
        mechanism: The mechanism in force throughout, where the record does not say; a name or a path.
        mechanisms: Files of mechanisms that the record names: a row says `my` for my.toml. What a file may hold:
            `bayesalloc mechanisms --fields MODEL`.
        target_accept: Target acceptance probability of NUTS; nearer to 1 means fewer divergences, and slower.
        common: What every command takes.
    """
    with session(common, "fit", "report.html", "posterior.nc") as (say, folder):
        limits.counted(chains=chains, warmup=warmup)
        limits.counted(draws=max(2, draws * chains))

        import jax

        from bayesalloc import inference, library
        from bayesalloc.inference.files import save_tree
        from bayesalloc.inference.given import stated
        from bayesalloc.report import fit as documents

        tree = inference.fit(
            library.load_model(model),
            record,
            jax.random.key(common.seed),
            data=stated(data or ()),
            method=method,
            chains=chains,
            warmup=warmup,
            draws=draws,
            mechanism=mechanism,
            mechanisms=mechanisms or (),
            target_accept=target_accept,
            progress=not common.quiet and sys.stderr.isatty(),
        )
        warn(json.loads(tree.attrs["warnings"]))
        verdict = inference.diagnose(tree)
        files = folder.files("report.html", posterior="posterior.nc")
        save_tree(tree, folder.path / "posterior.nc")
        documents.write(tree, folder.path / "report.html", seed=common.seed, verdict=verdict)
        say(documents.text(tree, verdict), documents.as_json(tree, verdict, files))
