"""Replicates stepped from outside JAX: the outcomes of `rollout`, on its random numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.effects.arms import Arm
from bayesalloc.environment import stack
from bayesalloc.simulate import Remembering
from bayesalloc.stepping import Deciding, Hosted, advance, begin, seen

KEY, YEARS = jax.random.key(4), 4


def each(action, n):
    return jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * n), action)


@pytest.mark.parametrize("old_key", [False, True])
@pytest.mark.parametrize("futures", [1, 2])
def test_the_outcomes_of_rollout(watershed, futures, old_key):
    """To the rounding of float32: `rollout` hashes in a form of its own, and its program adds in another order."""
    key = jax.random.PRNGKey(4) if old_key else KEY
    arm = watershed.arms(["credit_trading"])["credit_trading"]
    whole = ba.rollout(watershed, ba.hold, key, arms=stack([arm]), replicates=6, futures=futures, horizon=YEARS)
    standing = begin(watershed, key, replicates=6, futures=futures)
    for year in range(YEARS):
        assert int(standing.period) == year
        standing, stepped = advance(watershed, standing, each(arm, 6))
        for rolled, here in zip(jax.tree.leaves(whole), jax.tree.leaves(stepped), strict=True):
            np.testing.assert_allclose(here, rolled[:, 0, year], rtol=2e-5, atol=1e-3)


def test_given_parameters_and_what_is_seen(watershed):
    drawn = begin(watershed, KEY, replicates=4, futures=2)
    two = jax.tree.map(lambda leaf: leaf[::2], drawn.params)
    given = begin(watershed, KEY, replicates=4, futures=2, params=two)
    for a, b in zip(
        jax.tree.leaves((drawn.params, drawn.state)), jax.tree.leaves((given.params, given.state)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    observation = seen(watershed, given)
    assert (observation.values[:, 0] == given.state.forest_health).all() and observation.mask.shape == (4, 3)


def test_another_action_can_be_tried_from_the_same_place(watershed):
    terms = watershed.arms(["cost_sharing", "credit_trading"])
    standing = begin(watershed, KEY, replicates=3)
    tried = [advance(watershed, standing, each(action, 3))[1] for action in (*terms.values(), terms["cost_sharing"])]
    assert (tried[0].forest_health == tried[2].forest_health).all()
    assert (tried[0].forest_health != tried[1].forest_health).all()


def test_refusals(watershed):
    for counts, says in (({"replicates": 0}, "replicates is 0"), ({"replicates": 2, "futures": 0}, "futures is 0")):
        with pytest.raises(ba.InputError, match=says):
            begin(watershed, KEY, **counts)
    blind = watershed._replace(observe=None)
    with pytest.raises(ba.InputError, match="nothing is seen"):
        seen(blind, begin(blind, KEY, replicates=1))


def holding(arm, replicates):
    """A hosted policy that always does the same."""
    return Hosted(
        lambda standing: 0, lambda memory, standing: (each(arm, replicates), memory), lambda memory, _: memory
    )


def test_a_hosted_policy_and_one_that_remembers_are_arms_of_a_comparison(watershed):
    """Whoever always does the same has the effects of what they do, whatever way they decide."""
    trading, sharing = watershed.arms(["credit_trading", "cost_sharing"]).values()
    keeps = Remembering(lambda *_: 0, lambda arm, memory, *_: (arm, memory))
    arms = {
        "cost_sharing": Arm(sharing),
        "credit_trading": Arm(trading),
        "hosted": Arm(Deciding(holding(trading, 6))),
        "remembering": Arm(Deciding(keeps, trading)),
    }
    tree = ba.compare(watershed, arms, KEY, draws=3, futures=2, horizon=YEARS)
    for group in ("arms", "effects"):
        for values in tree[group].data_vars.values():
            axis = "arm" if "arm" in values.dims else "treatment"
            for name in ("hosted", "remembering"):
                same = values.sel({axis: "credit_trading"})
                np.testing.assert_allclose(values.sel({axis: name}), same, rtol=1e-4, atol=1e-3)
    assert tree["outcomes"]["payoff"].sel(arm="hosted").shape == (3, YEARS, 5)
    assert ba.compare(watershed, arms, KEY, draws=6, horizon=2).attrs["futures"] == 1
    with pytest.raises(ba.InputError, match="no site can be set under it"):
        ba.compare(watershed, {**arms, "hosted": Arm(Deciding(holding(trading, 6)), {"a": 1.0})}, KEY, draws=3)
