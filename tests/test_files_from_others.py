"""Problems, networks, settings, policies and checkpoints from anybody: read, or refused in one sentence, soon."""

import json
import resource
import time
import tomllib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.agents import files, orders, policies, training
from bayesalloc.allocators import read_instance
from bayesalloc.allocators.instances import Setting, read_setting
from bayesalloc.allocators.learned import REGISTRY, cen_rl, dec_rl
from tests import mutations
from tests.test_networks import GEXF, GML, PAJEK, TRIANGLE, graphml

SMALL = Setting(agents=4, tasks=(1, 2), provider_stock=(3, 5))
PROBLEM = {
    "agents": 3, "edges": [[0, 1, 1.0], [1, 2, 2.5]], "resource_types": 2, "resources": [[1, 1], [0, 2], [3, 3]],
    "tasks": [{"agent": 0, "utility": 9, "requires": [2, 2]}], "transfer_cost": {"per_item": 1.0, "package_size": 2},
}  # fmt: skip
NETWORKS = {
    "g.graphml": graphml([("A", "B", 5), ("B", "C", 3)]), "g.gexf": GEXF, "g.gml": GML, "g.net": PAJEK,
    "g.csv": "source,target,weight\nA,B,2\nB,C,15\n", "g.edgelist": "A B {'weight': 5.0}\nB C {'weight': 3.0}\n",
}  # fmt: skip
SETTING = (
    "agents = 6\ntasks = [1, 3]\nnetwork = 'random'\nper_item = 2.5\nutilities = [4, 9, 16]\nlayout = 'shuffled'\n"
)
TRIES = 60  # of each kind; more by hand


def refused(read, *arguments):
    """One sentence that no terminal obeys, soon and without much memory; or nothing was wrong."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read(*arguments)
    except ba.InputError as error:
        said = str(error)
        assert said.isprintable() and 10 < len(said) < 2_000, said
    assert time.perf_counter() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # kB: 1 GB


def written(path, rng, document, data):
    """A document changed in one node, or its bytes changed; NaN and infinity as Python writes them."""
    text = json.dumps(mutations.of_json(rng, document)).encode() if document is not None else data
    path.write_bytes(text if rng.random() < 0.7 and document is not None else mutations.of_bytes(rng, text))
    return path


@pytest.mark.parametrize("seed", range(3))
def test_problems(tmp_path, seed):
    rng = np.random.default_rng(seed)
    for _ in range(TRIES):
        refused(read_instance, written(tmp_path / "problem.json", rng, PROBLEM, None))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(tmp_path, name):
    rng = np.random.default_rng(len(name))
    (tmp_path / "problem.json").write_text(json.dumps(TRIANGLE | {"graph": name}))
    for _ in range(TRIES):
        written(tmp_path / name, rng, None, NETWORKS[name].encode())
        refused(read_instance, tmp_path / "problem.json", rng.choice([None, "weight", "dist", "1"]))


def toml(value):
    """A value as TOML has it, where it has it at all."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf").replace("null", "''")


def test_settings(tmp_path):
    rng, path, document = np.random.default_rng(4), tmp_path / "setting.toml", tomllib.loads(SETTING)
    for _ in range(2 * TRIES):
        changed = mutations.of_json(rng, document)
        text = "\n".join(f"{json.dumps(name)} = {toml(value)}" for name, value in changed.items()).encode()
        path.write_bytes(text if rng.random() < 0.7 else mutations.of_bytes(rng, SETTING.encode()))
        refused(read_setting, path)


PLANS = {"cen-rl": [cen_rl.thesis(SMALL, 10), cen_rl.ours(SMALL, 10)], "dec-rl": [dec_rl.ours(SMALL, 10)]}


def saved(path, method, plan):
    network = REGISTRY.methods[method].network(plan, jax.random.key(3))
    policies.save(path, policies.Policy(method, plan, network, 10, 70, 5))
    return path.read_bytes()


def unsigned(data):
    """The first line as a document without its checksums, and the arrays: what is wrong is found without them."""
    line, arrays = data.split(b"\n", 1)
    header = json.loads(line)
    for name in ("header_crc32", "crc32", "bytes"):
        del header[name]
    return header, arrays


@pytest.mark.parametrize("method", PLANS)
def test_policies(tmp_path, method):
    rng, path = np.random.default_rng(6), tmp_path / "some.policy"
    for plan in PLANS[method]:
        data = saved(path, method, plan)
        header, arrays = unsigned(data)
        path.write_bytes(json.dumps(header).encode() + b"\n" + arrays)
        policies.load(REGISTRY, path)  # by its structure alone
        for _ in range(TRIES):
            kind = rng.random()
            if kind < 0.5:
                path.write_bytes(json.dumps(mutations.of_json(rng, header)).encode() + b"\n" + arrays)
            elif kind < 0.75:
                path.write_bytes(json.dumps(header).encode() + b"\n" + mutations.of_bytes(rng, arrays))
            else:
                path.write_bytes(mutations.of_bytes(rng, data))
            refused(policies.load, REGISTRY, path)


def test_checkpoints(tmp_path):
    rng, path = np.random.default_rng(7), tmp_path / "checkpoint.run"
    order = orders.order(REGISTRY, "cen-rl", preset="thesis", episodes=1)
    notes = {
        "asked": order.asked,
        "rows": [{"steps": 1, "episodes": 1, "series": {"return": 0.5, "loss": None, "epsilon": 1.0}}],
        "seconds": 1.0,
        "over": False,
    }
    files.write(path, "checkpoint", notes, {"run": jnp.zeros(3)})
    header, arrays = unsigned(path.read_bytes())

    def go_on():
        training.unfinished(path)
        orders.order(REGISTRY, checkpoint=path)
        training.train(order.course, jax.random.key(0), resume=path, asked=order.asked)

    for _ in range(TRIES // 2):
        path.write_bytes(json.dumps(mutations.of_json(rng, header)).encode() + b"\n" + arrays)
        refused(go_on)


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "some.policy"
    return path, saved(path, "cen-rl", PLANS["cen-rl"][1])


def test_every_turned_bit_is_found(policy):
    """Of the first line and of the arrays, where both have their checksums; but for those of the checksum's name."""
    path, data = policy
    rng, end = np.random.default_rng(8), data.index(b"\n")
    name = data.index(b', "header_crc32"')
    for place in [*rng.integers(0, name, 150), *rng.integers(end, len(data), 100)]:
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :])
        with pytest.raises(ba.InputError):
            policies.load(REGISTRY, path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": ["cen-rl"]}, "the method"),
        ({"layers": []}, "layers is"),
        ({"layers": [-32]}, "layers is"),
        ({"layers": [4097]}, "layers is"),
        ({"layers": [4096]}, "smaller than"),
        ({"layers": [16]}, "not those"),
        ({"layers": ["32"]}, "layers"),
        ({"margin": "high"}, "margin"),
        ({"kinds": [{"agents": 10**9}]}, "kinds|agents"),
        ({"seed": -1}, "seed"),
        ({"steps": 1e300}, "steps"),
    ],
)
def test_policies_of_odd_sizes_are_refused(policy, changes, said):
    path, data = policy
    header, arrays = unsigned(data)
    for name, value in changes.items():
        (header if name in header else header["plan"])[name] = value
    path.write_bytes(json.dumps(header).encode() + b"\n" + arrays)
    with pytest.raises(ba.InputError, match=said):
        policies.load(REGISTRY, path)


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    plan = PLANS["cen-rl"][1]
    network = jax.tree.map(lambda leaf: leaf * jnp.nan, REGISTRY.methods["cen-rl"].network(plan, jax.random.key(3)))
    policies.save(tmp_path / "some.policy", policies.Policy("cen-rl", plan, network))
    with pytest.raises(ba.InputError, match="not finite"):
        policies.load(REGISTRY, tmp_path / "some.policy")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("agents = 1000000000", "agents is 1000000000; a network needs at least 2, and may have 64"),
        ("per_item = inf", r"per_item is inf; it must be 0, or in \[1e-09, 16777216\)"),
        ("per_item = nan", "per_item is nan"),
        ("required = 99999999999", "required is 99999999999; it must be between 0 and 65536"),
        ("tasks = [0]", r"tasks is \[0\]; some agent"),
        ("tasks = [-1, 2]", "tasks is -1"),
        ("utilities = [1, 1e300]", "utilities"),
        (f"agents = {'9' * 5000}", "is not TOML"),
        ("a." * 3000 + "b = 1", "setting.toml"),
        ("x = " + "[" * 5000, "setting.toml"),
        (f"tasks = {[1] * 100}", "tasks has 100 numbers"),
        ('"\\u001b[2J" = 1', r"unknown fields \\x1b"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, text, said):
    path = tmp_path / "setting.toml"
    path.write_text(text)
    with pytest.raises(ba.InputError, match=said) as error:
        read_setting(path)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"agents": 10**8, "resources": []}, "100000000 agents.*at most 1000000"),
        ({"agents": 10**6, "resources": []}, "resources has 0 rows"),
        ({"resource_types": 10**6}, "at most .* 1000 types"),
        ({"agents": 10**30}, "problem.json"),
        ({"tasks": [{"agent": 0, "utility": 1e300, "requires": [2, 2]}]}, "utility is 1e"),
        ({"tasks": [{"agent": 0, "utility": 1e-300, "requires": [2, 2]}]}, "utility is 1e-300; it must be 0, or in"),
        ({"transfer_cost": {"per_item": 1e-40}}, "per_item is 1e-40"),
        ({"edges": [[0, 1, 1e300], [1, 2, 1]]}, "weight 1e"),
        ({"edges": [[0, 1e308], [1, 2]]}, "edges"),
        ({"tasks": [{"agent": 0, "utility": 1, "requires": [0, 2**24 - 1]}] * 200}, "requires of type 1 are 3355"),
        ({"\x1b[2J": 1}, r"\\x1b"),
        ({"edges": None, "graph": "\x1b[2J.txt"}, r"'graph' is '\\x1b\[2J"),
    ],
)
def test_problems_of_odd_sizes_are_refused(tmp_path, changes, said):
    path = tmp_path / "problem.json"
    path.write_text(json.dumps({k: v for k, v in (PROBLEM | changes).items() if v is not None}))
    with pytest.raises(ba.InputError, match=said) as error:
        read_instance(path)
    assert str(error.value).isprintable()


def test_a_byte_order_mark_is_no_character(tmp_path):
    path = tmp_path / "problem.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(PROBLEM).encode())
    assert len(read_instance(path)[0].owner) == 1
