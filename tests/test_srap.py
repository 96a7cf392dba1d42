"""The srap environment: allocators compared as interventions, refused settings."""

import dataclasses
import re

import jax
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.agents import policies
from bayesalloc.agents.policies import Policy
from bayesalloc.allocators.instances import Setting
from bayesalloc.allocators.learned import cen_rl, dec_rl
from bayesalloc.environment import stack
from bayesalloc.models import srap

KEY = jax.random.key(4)


def test_comparing_allocators_is_comparing_interventions_on_the_same_arrivals():
    env = srap.market(Setting(tasks=(2,), utilities=(9, 16), provider_stock=(5,)), ("cen-grd", "cen-grd+"))
    tree = ba.compare(env, None, KEY, draws=40, horizon=2, futures=2)
    effect = tree["effects"].to_dataset()["social_welfare"]
    assert tree.attrs["control"] == "cen-grd"
    assert float(effect.sel(statistic="ate").squeeze()) > 0
    twice = ba.rollout(env, ba.hold, KEY, arms=stack([np.int32(0), np.int32(0), np.int32(1)]), replicates=10, horizon=2)
    assert np.array_equal(twice.social_welfare[:, 0], twice.social_welfare[:, 1])
    assert (twice.social_welfare[:, 2] >= 0).all()


def test_stocks_can_be_intervened_on():
    env = srap.market(Setting(), ("cen-grd+",))
    arms = stack([np.int32(0)])
    none = ba.rollout(env, ba.hold, KEY, arms=arms, replicates=3, horizon=2, interventions={"provider_stock": 0})
    as_it_is = ba.rollout(env, ba.hold, KEY, arms=arms, replicates=3, horizon=2)
    assert (none.tasks_done < as_it_is.tasks_done).all()
    with pytest.raises(ba.InterventionError, match="provider_stock"):
        ba.rollout(env, ba.hold, KEY, arms=arms, replicates=3, horizon=2, interventions={"provider_stock": -1})


@pytest.fixture(scope="module")
def faulted():
    """Mean welfare of the negotiation, per episode, under an intervention on what may go wrong; and of `cen-grd+`."""
    env = srap.market(methods=("dec-grd", "cen-grd+"), faults=True)
    arms = stack([np.int32(0), np.int32(1)])

    usual = {name: value for name, (value, _) in srap.FAULTS.items()}  # so that all cases are one program

    def run(**sites):
        given = {name: np.float32(value) for name, value in {**usual, **sites}.items()}
        found = ba.rollout(env, ba.hold, KEY, arms=arms, replicates=60, horizon=4, interventions=given)
        return np.asarray(found.social_welfare).mean(0), float(found.messages[:, 0].mean())

    return run


def test_faults_are_interventions(faulted):
    """Loss and stopping stay within the bounds that are asked of them: 0.9 with retries, and 1 - 1.5 f."""
    (calm, central), messages = faulted()
    (lossy, same), more = faulted(message_loss=0.2)
    assert np.array_equal(central, same)  # nobody sends messages there
    assert 0.9 < lossy.mean() / calm.mean() < 1.0 and more > messages
    (delayed, _), _ = faulted(message_delay=1.0)
    assert 0.9 < delayed.mean() / calm.mean() <= 1.0
    (late, same), _ = faulted(stopped_after_confirming=0.25)
    assert np.array_equal(central, same)
    (early, fewer), _ = faulted(stopped_before_offering=0.25)
    assert (fewer < central).all()
    for stopped in (early, late):
        assert 1 - 1.5 * 0.25 < stopped.mean() / calm.mean() < 1.0


def test_lies_cost_and_are_remembered(faulted):
    (calm, _), _ = faulted()
    (believed, _), _ = faulted(liars=0.3, reputation=0.0)
    assert believed.mean() < calm.mean()
    assert np.ptp(believed) == 0.0  # the same episode again and again: nothing was learned
    (doubted, _), _ = faulted(liars=0.3)
    assert doubted[0] == believed[0] and np.ptp(doubted) > 0.0


def test_without_faults_nothing_goes_wrong(faulted):
    env = srap.market(methods=("dec-grd", "cen-grd+"))
    arms = stack([np.int32(0), np.int32(1)])
    plain = ba.rollout(env, ba.hold, KEY, arms=arms, replicates=60, horizon=4)
    np.testing.assert_allclose(np.asarray(plain.social_welfare).mean(0), faulted()[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (Setting(agents=1), "agents is 1"),
        (Setting(used=3), "used is 3; it must be between 0 "),
        (Setting(degree=8), "degree is 8"),
        (Setting(degree=3, agents=10), "even"),
        (Setting(tasks=(5,)), "5 tasks"),
        (Setting(package_size=0), "package_size is 0; it must be between 1 and"),
        (Setting(required=-1), "required is -1; it must be between 0 and 65536"),
        (Setting(tasks=(17,)), "tasks is 17; it must be between 0 and 16"),
        (Setting(agents=65), "may have 64"),
    ],
)
def test_settings_that_cannot_be_are_refused(setting, said):
    with pytest.raises(ba.InputError, match=said):
        srap.market(setting)


def test_allocators_that_are_not_there_are_refused():
    with pytest.raises(ba.InputError, match="no allocator 'best'"):
        srap.market(methods=("best",))
    with pytest.raises(ba.InputError, match="no allocator 'opt'"):
        srap.environment.arms(["opt"])


@pytest.mark.parametrize("fault", srap.FAULTS)
@pytest.mark.parametrize("method", srap.METHODS)
def test_faults_that_a_method_cannot_suffer_are_refused(fault, method):
    """They would be reported as an effect of zero; none of these two can be suffered by none."""
    sites = {fault: 0.5}
    if method == "dec-grd" and fault in srap.NEED_LIARS:
        with pytest.raises(ba.InputError, match=f"{fault} is about agents that lie"):
            srap.environment.check(srap.METHODS.index(method), sites)
        sites["liars"] = 0.5
    if method == "dec-grd" or fault in srap.REACHING_ALL:
        srap.environment.check(srap.METHODS.index(method), sites)
    else:
        with pytest.raises(ba.InputError, match=f"{fault} cannot change what {re.escape(method)} does.*only.*dec-grd"):
            srap.environment.check(srap.METHODS.index(method), sites)


def test_comparing_asks_what_an_arm_can_suffer():
    arms = {"a": {"mechanism": "dec-price"}, "b": {"mechanism": "dec-price", "message_loss": 0.9}}
    with pytest.raises(ba.InputError, match="message_loss cannot change what dec-price does"):
        ba.compare(srap.environment, arms, KEY, draws=2, horizon=2)
    usual = {"mechanism": "dec-price", "message_loss": 0.0, "exaggeration": 2.0}
    srap.environment.check(srap.METHODS.index(usual.pop("mechanism")), usual)


TINY = Setting(agents=3, types=1, tasks=(1, 2), provider_stock=(2, 3), shuffled_utilities=True)


def timid(method):
    """A policy that nothing promises enough to be followed: it does what the greedy rule of its kind does."""
    of = {"cen-rl": cen_rl, "dec-rl": dec_rl}[method]
    plan = dataclasses.replace(of.ours(TINY, 1), margin=1e9, layers=(4,))
    if method == "dec-rl":
        protocol = dataclasses.replace(plan.protocol, max_hops=1, cycles=1, parts=0)
        plan = dataclasses.replace(plan, protocol=protocol, slots=2)
    return Policy(method, plan, of.network(plan, KEY))


@pytest.fixture(scope="module")
def with_policies():
    negotiator = timid("dec-rl")
    return srap.market(
        TINY, ("cen-grd+", "dec-grd"), policies={"timid": negotiator}, protocol=negotiator.plan.protocol, faults=True
    )


def test_policies_are_arms_and_learned_negotiations_suffer_what_greedy_ones_do(tmp_path, with_policies):
    """By a file beside the greedy order, and by name beside the greedy negotiation, where messages are lost."""
    path, wrong = str(tmp_path / "of_a_file.policy"), {"message_loss": 0.5, "liars": 0.4}
    policies.save(path, timid("cen-rl"))
    assert list(with_policies.arms(["cen-grd+", path, "timid"])) == ["cen-grd+", "of_a_file", "timid"]
    arms = {"order": {"mechanism": "cen-grd+"}, "learned order": {"mechanism": path}}
    arms |= {"talk": {"mechanism": "dec-grd", **wrong}, "learned talk": {"mechanism": "timid", **wrong}}
    values = ba.compare(with_policies, arms, KEY, draws=4, horizon=2, futures=2)["values"].to_dataset()
    for greedy, same in (("order", "learned order"), ("talk", "learned talk")):
        assert float(values["social_welfare"].sel(arm=greedy).mean()) > 0
        for outcome in values.data_vars:
            np.testing.assert_array_equal(*(values[outcome].sel(arm=arm) for arm in (greedy, same)))
    assert float(values["messages"].sel(arm="learned talk").mean()) > 0


@pytest.mark.parametrize("name", ["cen-rl", "dec-rl"])
def test_shipped_policies_are_known_by_the_names_of_their_methods(name):
    action = srap.environment.arms(["cen-grd", name])[name]
    assert [one.name for one in action.among] == ["cen-grd", name] and int(action.number) == 1
    assert name not in srap.environment.arms(None)


def test_policies_that_cannot_be_arms_are_refused(tmp_path, with_policies):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        policies.save(tmp_path / folder / "same.policy", timid("cen-rl"))
    with pytest.raises(ba.InputError, match="two arms are called 'same'"):
        with_policies.arms([str(tmp_path / folder / "same.policy") for folder in ("a", "b")])
    with pytest.raises(ba.InputError, match=r"none.policy: no such file"):
        with_policies.arms(["none.policy"])
    (tmp_path / "text.policy").write_text("no policy")
    with pytest.raises(ba.InputError, match=r"text.policy: is not a policy"):
        with_policies.arms([str(tmp_path / "text.policy")])
    plan = cen_rl.thesis(Setting(agents=4), 1)
    with pytest.raises(ba.InputError, match="was trained on 4 agents .* the problem has 3 agents"):
        srap.market(TINY, ("mine",), policies={"mine": Policy("cen-rl", plan, cen_rl.network(plan, KEY))})
    with pytest.raises(ba.InputError, match="message_loss cannot change what cen-rl does in this model"):
        with_policies.check(with_policies.arms(["cen-rl"])["cen-rl"], {"message_loss": 0.5})
