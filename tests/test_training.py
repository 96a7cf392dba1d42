"""Training on the host: what a run remembers, how it ends, and that an interruption changes nothing."""

import dataclasses
import io
import json
import math
import os
import shlex
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import bayesalloc as ba
from bayesalloc.agents import curves, dqn, files, orders, training
from bayesalloc.agents.networks import Dense
from bayesalloc.allocators.learned import REGISTRY
from bayesalloc.cli import train as command
from bayesalloc.episodes import Episodes
from bayesalloc.report import training as documents
from tests.probes import CART_POLE

KEY = jax.random.key(2)
ASKED = {"method": "cart", "plan": {"preset": "small", "layers": (8,)}, "seed": 2}
CONFIG = dqn.Config(steps=480, environments=2, every=2, batch=8, capacity=64, warmup=16)


def made(config=CONFIG, **fields):
    trainer = dqn.trainer(config, Episodes(CART_POLE, 50), lambda key: Dense((4, 8, 2), key))
    course = training.Course(trainer, config.iterations, config.episodes, 4, lambda run: run.learner.network, "steps")
    return course._replace(**fields)


@pytest.fixture(scope="module")
def course(request):
    return made()


@pytest.fixture(scope="module")
def whole(course):
    """The run that nothing interrupts."""
    return training.train(course, KEY)


def assert_same(one, other):
    def plain(leaf):
        return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

    assert jax.tree.structure(one) == jax.tree.structure(other)
    for mine, yours in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert mine.dtype == yours.dtype and np.array_equal(plain(mine), plain(yours), equal_nan=True)


def test_the_curve_counts_what_the_run_counts(course, whole):
    assert [row.steps for row in whole.rows] == list(range(4, 481, 4))  # 120 iterations, each looked at
    assert int(whole.run.iteration) == 120
    assert whole.rows[-1].episodes == int(whole.run.episodes) > 3
    first, last = (whole.rows[place].series for place in (0, -1))
    assert math.isnan(first["loss"]) and last["loss"] > 0  # nothing is learned before the warm-up
    assert first["epsilon"] == 1.0 and last["epsilon"] == pytest.approx(0.05)
    # The cart with a pole pays 1 a step, so that returns and the part of each episode under way are the steps.
    ended = sum(
        row.series["return"] * (row.episodes - before)
        for row, before in zip(whole.rows, [0, *(row.episodes for row in whole.rows)], strict=False)
        if row.episodes > before
    )
    assert ended + float(whole.run.episode.sum()) == pytest.approx(480)
    data = curves.curve(whole.rows, course.trainer.series, "steps")
    assert data["return"].sizes == {"steps": 120} and data.attrs["goal"] == "steps"


def test_chunks_do_not_change_a_run(course, whole):
    """The same run in one piece, as one jitted function."""
    run, _ = jax.jit(lambda key: course.trainer.advance(course.trainer.begin(key), 120))(KEY)
    assert_same(run.learner, whole.run.learner)


class Killed(Exception):
    pass


def killing(steps):
    def on_chunk(row):
        if row.steps >= steps:
            raise Killed

    return on_chunk


def test_a_run_killed_between_checkpoints_ends_as_if_it_had_not_been(tmp_path, course, whole):
    path = tmp_path / "folder" / "checkpoint.run"
    with pytest.raises(Killed):
        training.train(course, KEY, checkpoint=path, asked=ASKED, every=0.0, on_chunk=killing(200))
    assert training.unfinished(path)
    assert files.header(path, "checkpoint")["rows"][-1]["steps"] < 200  # what came after it is lost, and done again
    with pytest.raises(Killed):  # once more
        training.train(course, KEY, checkpoint=path, asked=ASKED, resume=path, every=0.0, on_chunk=killing(400))
    other = jax.random.key(9)  # is not used: the run has its own
    done = training.train(course, other, checkpoint=path, asked=ASKED, resume=path)
    assert_same(done.run, whole.run)
    assert json.dumps(done.rows) == json.dumps(whole.rows)
    assert not training.unfinished(path) and training.begun(path) == json.loads(json.dumps(ASKED))
    again = training.train(course, other, checkpoint=path, asked=ASKED, resume=path)  # nothing is left to do
    assert_same(again.run, whole.run)
    assert again.seconds == done.seconds


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_run_with_a_checkpoint(tmp_path, course, whole, number):
    usual = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]

    def on_chunk(row):
        if row.steps == 100:
            os.kill(os.getpid(), number)

    path = tmp_path / "checkpoint.run"
    with pytest.raises(training.Interrupted) as stop:
        training.train(course, KEY, checkpoint=path, asked=ASKED, on_chunk=on_chunk)
    assert stop.value.rows[-1].steps == 100 and path.exists()
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == usual
    assert_same(training.train(course, KEY, resume=path, asked=ASKED).run, whole.run)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (ASKED | {"seed": 3}, "begun with seed 2; it cannot go on with 3"),
        (ASKED | {"method": "pole", "seed": 3}, "method cart; it cannot go on with pole"),
        (ASKED | {"plan": {"preset": "large", "layers": [9]}}, "preset small; it cannot go on with large"),
        (ASKED | {"plan": {"preset": "small", "layers": [9]}}, r"layers \[8\]; it cannot go on with \[9\]"),
    ],
)
def test_a_run_goes_on_only_as_it_was_begun(tmp_path, course, asked, said):
    path = tmp_path / "checkpoint.run"
    with pytest.raises(Killed):
        training.train(course, KEY, checkpoint=path, asked=ASKED, every=0.0, on_chunk=killing(20))
    with pytest.raises(ba.InputError, match=said):
        training.train(course, KEY, resume=path, asked=asked)


def test_checkpoints_that_are_none_are_refused(tmp_path, course):
    path = tmp_path / "checkpoint.run"
    with pytest.raises(ba.InputError, match="no such file"):
        training.train(course, KEY, resume=path)
    files.write(path, "policy", {}, jnp.zeros(2))
    with pytest.raises(ba.InputError, match="not a checkpoint"):
        training.train(course, KEY, resume=path)
    files.write(path, "checkpoint", {"asked": {}, "rows": [], "seconds": 0.0, "over": False}, jnp.zeros(2))
    with pytest.raises(ba.InputError, match="arrays"):
        training.train(course, KEY, resume=path)


def test_checkpoints_of_earlier_versions_are_refused(tmp_path, course):
    """Their curves had no names."""
    path = tmp_path / "checkpoint.run"
    notes = {"asked": {}, "rows": [[4, 0, None, None, 1.0]], "seconds": 0.0, "over": False}
    files.write(path, "checkpoint", notes, jnp.zeros(2))
    with pytest.raises(ba.InputError, match="written by an earlier version; its run cannot go on in this one"):
        training.train(course, KEY, resume=path)
    usual = {"return": None, "loss": None, "epsilon": 1.0}
    for strange in ({"return": None, "regret": 1.0}, usual | {"return": [1.0, 2.0]}):
        notes["rows"] = [{"steps": 4, "episodes": 0, "series": series} for series in (usual, strange)]
        files.write(path, "checkpoint", notes, course.trainer.begin(KEY))
        with pytest.raises(ba.InputError, match="its learning curve is of another run"):
            training.train(course, KEY, resume=path)


SERIES = tuple(
    curves.Series(name, over, f"what {name} is")
    for name, over in {"return": "episode", "entropy": "mean", "hypervolume": "last", "updates": "sum"}.items()
)


def counting(step):
    """Every other iteration ends an episode that brings (1, 2); there is no entropy at first."""

    def advance(run, iterations):
        at = run + step * jnp.arange(iterations)
        count = at.astype(float)
        curve = {
            "ended": at % 2, "return": (count % 2)[:, None] * jnp.array([1.0, 2.0]), "hypervolume": 0.5 * count,
            "entropy": jnp.where(at < 3, jnp.nan, count), "updates": jnp.ones_like(at),
        }  # fmt: skip
        return run + step * iterations, curve

    return training.Trainer(lambda key: jnp.int32(0), advance, SERIES)


def test_series_are_what_a_trainer_likes_and_returns_may_be_vectors(tmp_path):
    path = tmp_path / "checkpoint.run"
    course = training.Course(counting(1), 600, 0, 1, lambda run: run, "welfare and safety")
    whole = training.train(course, KEY)
    assert course.chunk == 3 and [row.episodes for row in whole.rows[:3]] == [1, 3, 4]
    first, second = (dict(row.series) for row in whole.rows[:2])  # of iterations 0, 1, 2 and 3, 4, 5
    assert math.isnan(first.pop("entropy")) and first == {"return": [1.0, 2.0], "hypervolume": 1.0, "updates": 3.0}
    assert second == {"return": [1.0, 2.0], "entropy": 4.0, "hypervolume": 2.5, "updates": 3.0}
    with pytest.raises(Killed):
        training.train(course, KEY, checkpoint=path, every=0.0, on_chunk=killing(30))
    assert json.dumps(training.train(course, KEY, resume=path).rows) == json.dumps(whole.rows)

    data = curves.curve(whole.rows, SERIES, course.goal)
    assert data["return"].dims == ("steps", "objective") and data["entropy"].dims == ("steps",)
    asked = {"problem": "x", "method": "pareto", "plan": {"preset": "p"}, "seed": 1}
    result = documents.as_json(asked, data, 2.0, {"policy": "x.policy"})
    assert result["return"] == [1.0, 2.0] and result["hypervolume"] == 299.5
    documents.write(result, asked, data, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert all(f"what {each.name} is" in page for each in SERIES) and page.count("<svg") == 4
    Console(file=io.StringIO()).print(documents.text(result))


def test_trainers_side_by_side_share_a_curve():
    both = training.SideBySide(counting, jnp.array([1, 3]))
    run, curve = both.advance(both.begin(KEY), 4)
    assert run.tolist() == [4, 12] and curve["ended"].tolist() == [0, 2, 0, 2]
    assert curve["return"].tolist() == [[0, 0], [2, 4], [0, 0], [2, 4]] and curve["hypervolume"].tolist() == [
        0,
        1,
        2,
        3,
    ]
    assert both.series == SERIES


def test_a_run_ends_after_the_episodes_asked_for_and_explores_by_them():
    """Epsilon follows whichever is farther: here 10 of 40 episodes are over long before a quarter of the steps."""
    config = dataclasses.replace(CONFIG, steps=8_000, episodes=40, explore=(1.0, 0.0), explore_for=1.0)
    done = training.train(made(config), KEY)
    assert 40 <= done.rows[-1].episodes < 50 and done.rows[-1].steps < 4_000
    before = 0
    for row in done.rows[:-1]:
        assert (
            row.series["epsilon"] <= 1 - before / 40 + 1e-6
        )  # as it was at the beginning of the chunk's last iteration
        assert row.series["epsilon"] >= 1 - row.episodes / 40 - 1e-6
        before = row.episodes
    with pytest.raises(ba.InputError, match="episodes is -1"):
        dataclasses.replace(CONFIG, episodes=-1)


def test_the_bar_says_how_it_goes(course, capsys):
    training.train(course, KEY, progress=True)
    shown = capsys.readouterr().err
    assert "epsilon" in shown and "return" in shown and "/480" in shown
    training.train(course, KEY)
    assert capsys.readouterr() == ("", "")


PRESETS = [(method, preset) for method, of in REGISTRY.methods.items() for preset in of.presets]


@pytest.mark.parametrize(("method", "preset"), PRESETS)
def test_every_preset_goes_on_from_its_checkpoint(tmp_path, method, preset):
    """What it was asked for is the same when a file gives it back: tuples of settings of tuples and all."""
    path, order = tmp_path / "checkpoint.run", orders.order(REGISTRY, method, preset=preset, seed=4)
    files.write(path, "checkpoint", {"asked": order.asked, "rows": [], "seconds": 0.0, "over": False}, jnp.zeros(2))
    again = orders.order(REGISTRY, checkpoint=path)
    assert (again.plan, again.seed, again.method) == (order.plan, 4, method)
    with pytest.raises(ba.InputError, match="arrays"):  # all that is wrong with it
        training.train(again.course, KEY, resume=path, asked=again.asked)
    with pytest.raises(ba.InputError, match="begun with seed 4; it cannot go on with 5"):
        training.train(again.course, KEY, resume=path, asked=again.asked | {"seed": 5})


def small(setting):
    return dataclasses.replace(setting, agents=3, types=2, used=0, tasks=(1,), degree=2)


@pytest.mark.parametrize(("method", "preset"), PRESETS)
def test_every_preset_ends_as_if_it_had_not_been_interrupted(tmp_path, method, preset):
    """The preset's own plan, on fewer agents and for a few episodes."""
    full = REGISTRY.methods[method].presets[preset](None, None)
    config = dataclasses.replace(full.config, steps=64, episodes=0, environments=2, batch=4, capacity=512, warmup=8)
    few = dataclasses.replace(full, config=config, setting=small(full.setting), kinds=tuple(map(small, full.kinds[:3])))
    if method == "dec-rl":
        few = dataclasses.replace(few, protocol=dataclasses.replace(few.protocol, max_hops=1, tasks_per_agent=1))
    path, course = tmp_path / "checkpoint.run", REGISTRY.methods[method].course(few)
    order = orders.Order("srap", method, few, 2, course)
    half = course.iterations * course.steps // 2
    whole = training.train(course, KEY)
    with pytest.raises(Killed):
        training.train(course, KEY, checkpoint=path, asked=order.asked, every=0.0, on_chunk=killing(half))
    again = orders.order(REGISTRY, checkpoint=path)
    done = training.train(course, jax.random.key(9), resume=path, asked=again.asked)
    assert again.plan == few and len(done.rows) == len(whole.rows) >= 8
    assert_same(done.run, whole.run)
    assert json.dumps(done.rows) == json.dumps(whole.rows)


@pytest.mark.parametrize("folder", ["runs/one", "my runs/it's $HOME", "-o"])
def test_the_command_that_goes_on_is_as_a_shell_takes_it(folder):
    *line, run = shlex.split(command._resume("srap", Path(folder)))
    assert line == ["bayesalloc", "train", "srap", "--resume"] and Path(run) == Path(folder)
    assert not run.startswith("-")
