"""Learned policies: their files, and what is refused; on those of CEN-RL."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc import replacing
from bayesalloc.agents import files, policies
from bayesalloc.allocators import evaluate, learned
from bayesalloc.allocators.learned import REGISTRY
from bayesalloc.errors import NotWritten
from tests.test_cen_rl import KEY, PLANS, instance, policy


@pytest.mark.parametrize("preset", PLANS)
def test_a_policy_comes_back_from_its_file(tmp_path, preset):
    made, path = policy(preset), tmp_path / "some.policy"
    policies.save(path, made)
    assert [file.name for file in tmp_path.iterdir()] == ["some.policy"]
    back = policies.load(REGISTRY, path, "cen-rl")
    assert back._replace(network=None) == made._replace(network=None)
    for one, other in zip(jax.tree.leaves(made.network), jax.tree.leaves(back.network), strict=True):
        assert one.dtype == other.dtype and np.array_equal(one, other)
    problem = instance()
    pair = [jax.jit(learned.allocator(each))(problem, KEY) for each in (made, back)]
    assert np.array_equal(pair[0].quantity, pair[1].quantity)
    assert evaluate(problem, pair[0]).feasible


def changed(path, old, new):
    """And the first line without its checksum, so that it is judged by what it says."""
    data = re.sub(rb', "header_crc32": \d+', b"", path.read_bytes(), count=1)
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


DAMAGED = {
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-3]), "is damaged"),
    "a bit turned": (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\xff"), "is damaged"),
    "a word turned": (lambda path: path.write_bytes(path.read_bytes().replace(b"thesis", b"theses")), "is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "is not a policy"),
    "not a policy": (lambda path: path.write_bytes(b"\x89PNG\r\n"), "is not a policy"),
    "not there": (lambda path: path.unlink(), "no such file"),
    "a checkpoint": (lambda path: files.write(path, "checkpoint", {}, jnp.zeros(2)), "is not a policy"),
    "of another method": (lambda path: changed(path, b'"cen-rl"', b'"dec-xx"'), "dec-xx"),
    "of a later format": (lambda path: changed(path, b'"format": 1', b'"format": 9'), "format 9"),
    "without a plan": (lambda path: changed(path, b'"plan"', b'"plam"'), "describes no policy"),
    "a rule that is not there": (lambda path: changed(path, b'"rule": "thesis"', b'"rule": "theses"'), "describes no"),
    "other sizes": (lambda path: changed(path, b'"layers": [100', b'"layers": [101'), "its arrays"),
    "fewer layers": (lambda path: changed(path, b"[100, 50, 25]", b"[100, 50]"), "arrays"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_files_that_are_no_such_policy_are_refused_in_one_sentence(tmp_path, case):
    path = tmp_path / "some.policy"
    policies.save(path, policy("thesis"))
    damage, said = DAMAGED[case]
    damage(path)
    with pytest.raises(ba.InputError, match=said) as refused:
        policies.load(REGISTRY, path, "cen-rl")
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_failed_write_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "some.policy"
    policies.save(path, policy("thesis"))
    before = path.read_bytes()

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(replacing.os, "fsync", full)
    with pytest.raises(NotWritten, match="No space left"):
        policies.save(path, policy("ours"))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_random_keys_are_kept(tmp_path):
    tree = {"key": jax.random.key(7), "keys": jax.random.split(jax.random.key(8), 3), "old": jax.random.PRNGKey(1)}
    files.write(tmp_path / "file", "test", {"note": 1}, tree)
    stored = files.read(tmp_path / "file", "test")
    back = stored.tree(jax.eval_shape(lambda: tree))
    assert stored.header["note"] == 1
    for name in tree:
        assert back[name].dtype == tree[name].dtype
        assert np.array_equal(jax.random.key_data(back[name]), jax.random.key_data(tree[name]))


@pytest.mark.parametrize("name", REGISTRY.methods)
def test_shipped_policies_are_what_the_default_preset_makes(name):
    assert policies.shipped(REGISTRY, name).plan == next(iter(REGISTRY.methods[name].presets.values()))(None, None)


def test_methods_that_are_not_there_are_refused():
    """And what each does that there is is said."""
    with pytest.raises(
        ba.InputError, match="no learned method 'best' for srap.*cen-rl, a master that.*; dec-rl, agents"
    ):
        REGISTRY.method("best")
