"""The command line: thin, no logic of its own; imports wait until a command needs them, so that --help is instant."""

import dataclasses
import json
import math
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from bayesalloc import __version__, arguments, limits, runs
from bayesalloc.errors import InputError, sentence, visible
from bayesalloc.session import Common, Whole, refusing, session, show, warn

app = App(
    suppress_keyboard_interrupt=False,  # `main` says what an interrupt left
    name="bayesalloc",
    version=__version__,
    help="What would happen to the common good if resources were shared out by another rule, and how sure are we?",
)
Many = Parameter(consume_multiple=True, negative=())
Repeated = Parameter(negative=())


DEFAULT = Common()


@app.command
def compare(
    model: str = "watershed",
    *,
    mechanisms: Annotated[list[str] | None, Many] = None,
    do: Annotated[list[str] | None, Repeated] = None,
    baseline: str | None = None,
    draws: Whole = 500,
    horizon: Whole = 20,
    posterior: Path | None = None,
    record: Path | None = None,
    interval: float = 0.89,
    minimum: float = 0.0,
    data: Annotated[list[str] | None, Repeated] = None,
    futures: Whole | None = None,
    common: Common = DEFAULT,
) -> None:
    """Compare mechanisms, or any interventions, on a model and report their effects.

    Args:
        model: A shipped model's name, or the path of a Python file with `environment` or a NumPyro `model`.
        mechanisms: Names or paths of mechanisms; default: the model's own.
        do: An arm by intervention: SITE=VALUE, or several joined by commas. Give it once per arm. SITE+=VALUE adds to
            what a site would have been, "SITE=Normal(1, 0.2)" draws it from a NumPyro distribution.
        baseline: The arm that effects are measured against.
        draws: Parameter draws.
        horizon: Years to simulate.
        posterior: A posterior from `bayesalloc fit`; default: effects under the prior.
        record: A CSV with the columns of a plain NumPyro model; beside a posterior, in place of the data in it.
        interval: Probability of the intervals.
        minimum: The smallest effect that matters, for the probability of exceeding it.
        data: A keyword of a plain model that is no column, as J=8; the value is JSON, or else text.
        futures: Courses of chance under each draw; default: 8 to 32, fewer for a model with very many rows.
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
        from bayesalloc.report import page, tables

        loaded = library.load_model(model)
        tree = None if posterior is None else arguments.open_posterior(posterior)
        arms = arguments.interventions(mechanisms, do, environment=isinstance(loaded, Environment), baseline=baseline)
        if isinstance(loaded, Environment) and (data or (record is not None and tree is None)):
            raise InputError("--record and --data are for plain models; fit a record to an environment instead")
        result = effects.compare(
            loaded, arms, jax.random.key(common.seed), draws=draws, horizon=horizon, baseline=baseline,
            posterior=tree, data=record, keywords=stated(data or ()), interval=interval, minimum=minimum,
            futures=futures,
        )  # fmt: skip
        files = folder.files("report.html", "results.nc")
        result.attrs["seed"] = common.seed
        save_tree(result, folder.path / "results.nc")
        page.write_page(result, folder.path / "report.html", seed=common.seed)
        say(tables.comparison_text(result), tables.comparison_json(result, files, seed=common.seed))


@app.command
def fit(
    model: str,
    record: Path,
    *,
    data: Annotated[list[str] | None, Repeated] = None,
    method: Literal["nuts", "svi"] = "nuts",
    chains: Whole = 4,
    warmup: Whole = 1000,
    draws: Whole = 1000,
    mechanism: str | None = None,
    mechanisms: Annotated[list[str] | None, Many] = None,
    target_accept: float = 0.95,
    common: Common = DEFAULT,
) -> None:
    """Fit a model to a record: posterior, diagnostics, predictive checks and a verdict.

    Args:
        model: A shipped model's name, or the path of a Python file with `environment` or a NumPyro `model`.
        record: A CSV file; an empty cell is missing.
        data: A keyword of a plain model that is no column, as J=8; the value is JSON, or else text.
        method: NUTS, or stochastic variational inference.
        chains: Number of chains.
        warmup: Warm-up draws per chain.
        draws: Draws per chain.
        mechanism: The mechanism in force throughout, where the record does not say; a name or a path.
        mechanisms: Files of mechanisms that the record names: a row says `my` for my.toml.
        target_accept: Target acceptance probability of NUTS; nearer to 1 means fewer divergences, and slower.
        common: What every command takes.
    """
    with session(common, "fit", "report.html", "posterior.nc") as (say, folder):
        limits.counted(chains=chains, warmup=warmup)
        limits.counted(draws=max(2, draws * chains))

        import jax

        from bayesalloc import inference, library
        from bayesalloc.inference.files import save_posterior
        from bayesalloc.inference.given import stated
        from bayesalloc.report import page, tables

        tree = inference.fit(
            library.load_model(model), record, jax.random.key(common.seed), data=stated(data or ()), method=method,
            chains=chains, warmup=warmup, draws=draws, mechanism=mechanism, mechanisms=mechanisms or (),
            target_accept=target_accept,
            progress=not common.quiet and sys.stderr.isatty(),
        )  # fmt: skip
        warn(json.loads(tree.attrs["warnings"]))
        verdict = inference.diagnose(tree)
        files = folder.files("report.html", posterior="posterior.nc")
        save_posterior(tree, folder.path / "posterior.nc")
        page.write_page(tree, folder.path / "report.html", seed=common.seed, verdict=verdict)
        say(tables.fit_text(tree, verdict), tables.fit_json(tree, verdict, files))


@app.command
def counterfactual(
    model: str,
    record: Path,
    *,
    posterior: Path,
    do: Annotated[list[str], Repeated],
    mechanisms: Annotated[list[str] | None, Many] = None,
    from_year: Whole | None = None,
    draws: Whole = 500,
    interval: float = 0.89,
    common: Common = DEFAULT,
) -> None:
    """What would have happened in the recorded years, had an intervention been made.

    Args:
        model: The model that was fitted.
        record: The record it was fitted to.
        posterior: The posterior from `bayesalloc fit`.
        do: The intervention: mechanism=NAME_OR_PATH, or SITE=VALUE.
        mechanisms: Python mechanisms that were in force: a posterior carries numbers and no code.
        from_year: Its first year; default: the first recorded.
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
        from bayesalloc.report import page, tables

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
            library.load_model(model), tree, sites if mechanism is None else str(mechanism),
            mechanisms=mechanisms or (), from_year=from_year, draws=draws, interval=interval,
        )  # fmt: skip
        files = folder.files("report.html", "results.nc")
        save_tree(result, folder.path / "results.nc")
        page.write_page(result, folder.path / "report.html", seed=common.seed)
        say(tables.counterfactual_text(result), tables.counterfactual_json(result, files, seed=common.seed))


@app.command
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
        problem: A JSON file (see the README).
        method: opt, cen-grd, cen-grd+, dec-grd, dec-price, or cen-rl, which is learned.
        policy: A policy from `bayesalloc train`, for a learned method; default: the one that is shipped.
        time_limit: Seconds for opt; when they are over, the best allocation found and the proven bound are returned.
        length: The attribute of a graph file's links that is their length, or a number that all have; default: weight.
        common: What every command takes.
    """
    with session(common, "allocate") as (say, _):
        import jax

        from bayesalloc import allocators
        from bayesalloc.report.allocation import allocation_text

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
        say(allocation_text(result), result)


@app.command
def train(
    problem: str,
    *,
    method: str | None = None,
    preset: str | None = None,
    setting: Path | None = None,
    episodes: Whole | None = None,
    resume: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Train a policy of a learned method; a run that was interrupted can go on.

    Args:
        problem: srap.
        method: cen-rl (the default), or dec-rl.
        preset: ours (the default), or thesis, as published.
        setting: A TOML file: what arrives in an episode, where it differs from the preset's.
        episodes: How many to play; default: the preset's number of steps or episodes.
        resume: The folder of a run that goes on; it remembers what was asked for.
        common: What every command takes.
    """
    checkpoint = None
    with refusing():
        from bayesalloc.agents.training import CHECKPOINT, Interrupted

        if resume is not None:
            checkpoint = resume / CHECKPOINT if resume.is_dir() else resume
            if not checkpoint.is_file():
                raise InputError(f"{resume}: holds no checkpoint of a training run")
            common = dataclasses.replace(common, out=common.out or checkpoint.parent)
    files = ("report.html", "results.nc", "curve.svg", "cen_rl.policy", "dec_rl.policy", CHECKPOINT)
    with session(common, "train", *files) as (say, folder):
        limits.counted(episodes=episodes)

        import jax

        from bayesalloc.agents import orders, policies, training
        from bayesalloc.allocators.learned import REGISTRY
        from bayesalloc.inference.files import save_tree
        from bayesalloc.report import training as documents

        mine = folder.target / CHECKPOINT
        same = checkpoint is not None and mine.exists() and mine.samefile(checkpoint)
        if not same and training.unfinished(mine):
            raise InputError(
                f"{folder.target}: holds a run that is not over; go on with {_resume(problem, folder.target)}, or give"
                " another folder"
            )
        order = orders.order(
            REGISTRY, method, preset=preset, setting=setting, episodes=episodes, seed=common.seed, checkpoint=checkpoint
        )
        try:
            done = training.train(
                order.course, jax.random.key(order.seed), checkpoint=mine, asked=order.asked, resume=checkpoint,
                progress=not common.quiet and sys.stderr.isatty(),
            )  # fmt: skip
        except Interrupted as stop:
            steps = stop.rows[-1].steps
            go_on = _resume(problem, folder.target)
            print(f"bayesalloc: interrupted after {steps} steps; go on with: {visible(go_on)}", file=sys.stderr)
            raise SystemExit(130) from None
        except KeyboardInterrupt:
            print("bayesalloc: interrupted; what was done since the last checkpoint is lost", file=sys.stderr)
            raise SystemExit(130) from None
        name = policies.file_name(order.method)
        files = folder.files("report.html", "results.nc", policy=name, curve="curve.svg", checkpoint=CHECKPOINT)
        curve = training.curve(done.rows, order.course.trainer.series, order.course.goal)
        policies.save(folder.path / name, order.policy(done))
        save_tree(curve, folder.path / "results.nc")
        result = documents.training_json(order.asked, curve, done.seconds, files)
        documents.write_training(result, order.asked, curve, folder.path)
        say(documents.training_text(result), result)


@app.command
def reproduce(
    name: Literal["watershed", "srap"],
    *,
    full: Annotated[bool, Parameter(negative=())] = False,
    experiments: Annotated[list[str] | None, Many] = None,
    graphs: Whole | None = None,
    training: Whole = 0,
    keep: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Published claims beside what is measured.

    Args:
        name: Which published result.
        full: Measure more: watershed over 20 seeds instead of one, srap on twice as many graphs.
        experiments: Which experiments of srap, by their numbers in the thesis; default: all.
        graphs: Graphs of each kind of network in srap; default: 30, and 60 with --full.
        training: Episodes for which srap's published learned methods are trained on each graph, 20,000 in the thesis;
            by default they are left out.
        keep: Folder for the trained networks; what is there already is not trained again.
        common: What every command takes.
    """
    with session(common, "reproduce", "report.html", "results.nc") as (say, folder):
        limits.counted(graphs=graphs, training=training)
        if name == "srap":
            from bayesalloc.allocators import experiments as measured
            from bayesalloc.inference.files import save_tree
            from bayesalloc.report import experiments as documents

            published = measured.load_experiments().only(experiments)
            effort = measured.FULL if full else measured.Effort()
            graphs = effort.graphs if graphs is None else graphs
            if keep is not None:
                if not training:
                    raise InputError("--keep is for trained networks, and --training asks for none")
                try:
                    keep.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise InputError(f"{keep}: cannot be written to: {error.strerror}") from None
            effort = dataclasses.replace(
                effort, graphs=graphs, workers=os.cpu_count() or 1, training=training, keep=keep
            )  # fmt: skip
            found = measured.run(
                published.experiments, effort, common.seed, progress=not common.quiet and sys.stderr.isatty()
            )
            result = measured.reproduce(published, found)
            documents.write_experiments(published, found, result, folder.path / "report.html", common.seed)
            save_tree(documents.tree(found), folder.path / "results.nc")
            files = folder.files("report.html", "results.nc")
            say(documents.experiments_text(result), {"seed": common.seed, **result, "files": files})
            return
        if experiments is not None or graphs is not None or training or keep:
            raise InputError(f"--experiments, --graphs, --training and --keep belong to srap; {name} has none of them")
        from bayesalloc import reproduce as reproduction

        seeds = range(common.seed, common.seed + (20 if full else 1))
        result = reproduction.reproduce(name, seeds)
        say(reproduction.text(result), {**result, "files": folder.files()})


@app.command
def models(*, common: Common = DEFAULT) -> None:
    """List the models that are shipped.

    Args:
        common: What every command takes.
    """
    _listing("models", common)


@app.command
def mechanisms(*, common: Common = DEFAULT) -> None:
    """List the mechanisms that are shipped, with their parameters, units and sources.

    Args:
        common: What every command takes.
    """
    _listing("mechanisms", common)


@app.command
def init(folder: Path, *, common: Common = DEFAULT) -> None:
    """Write a project to start from: a mechanism, a model, a record and the commands to run.

    Args:
        folder: A folder that does not exist yet, or is empty.
        common: What every command takes.
    """
    with refusing():
        from bayesalloc import library

        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: is a file or not empty; give a new folder")
        with runs.folder(folder, "") as made:
            for source in sorted((Path(__file__).parent / "template").iterdir()):
                if source.is_file():
                    shutil.copyfile(source, made.path / source.name)
            contract = library.content("mechanisms") / "performance_contract.toml"
            shutil.copyfile(contract, made.path / "my_contract.toml")
        written = sorted(path.name for path in folder.iterdir())
        show(common, f"{folder}: wrote {', '.join(written)}; start with {folder / 'README.md'}", {"files": written})


def _listing(kind: Literal["models", "mechanisms"], common: Common) -> None:
    with refusing():
        from bayesalloc import library

        lines, items = [], []
        for name in library.available(kind):
            if kind == "models":
                text = (library.content("models") / f"{name}.py").read_text(encoding="utf-8")
                description = text.split('"""')[1].strip().splitlines()[0]
                items.append({"name": name, "description": description})
                lines.append(f"{name}: {description}")
                continue
            mechanism = library.load_mechanism(name)
            notes = {where: {"unit": unit, "source": source} for where, (unit, source) in mechanism.notes.items()}
            items.append({"name": name, "title": mechanism.title, "description": mechanism.description, **notes})
            lines.append(f"{name}: {mechanism.description}")
            lines += [f"    {where} [{note['unit']}]: {note['source']}" for where, note in notes.items()]
        show(common, "\n".join(lines), {kind: items})


def _resume(problem: str, run: Path) -> str:
    """The command that goes on with a run, as a shell takes it."""
    folder = f"./{run}" if str(run).startswith("-") else str(run)
    return shlex.join(["bayesalloc", "train", problem, "--resume", folder])


def main() -> None:
    """Run the command line, with one host device per core."""
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(os.cpu_count() or 1))
    try:
        app(exit_on_error=False, print_error=False)
    except CycloptsError as error:
        print(f"bayesalloc: {sentence(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("bayesalloc: interrupted; no results were written", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`: the results are written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
