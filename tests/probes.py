"""Small environments with known values: the usual probes of a learner, of memory, of many, and the cart with a pole."""

from typing import NamedTuple

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array

from bayesalloc.environment import Environment, Observation


class Step(NamedTuple):
    reward: Array


def probe(observe, step, ended, actions: int = 1, first=None) -> Environment:
    """An environment of which the state is one number; `step(state, action) -> (state, reward)`, all floats."""

    def initial(params):
        if first is not None:
            return jnp.float32(first)
        return jnp.where(numpyro.sample("coin", dist.Uniform()) < 0.5, 1.0, -1.0)

    def move(state, action, params):
        state, reward = step(state, action.astype(float))
        return jnp.asarray(state, jnp.float32), Step(jnp.asarray(reward, jnp.float32))

    return Environment(
        name="probe",
        prior=lambda: (),
        initial=initial,
        step=move,
        arms=lambda names: {str(k): jnp.int32(k) for k in range(actions)},
        outcomes={},
        observe=lambda state, params: observe(state),
        reward=lambda outcome: outcome.reward,
        ended=lambda state, params: ended(state),
    )


def seen(value, mask=(True,)) -> Observation:
    return Observation(jnp.reshape(value, 1).astype(jnp.float32), jnp.asarray(mask))


class Cue(NamedTuple):
    cue: Array
    period: Array


def recalling(delay: int) -> Environment:
    """A cue, -1 or 1, is shown in the first period only; `delay` periods later action 0 or 1 pays 1 by it, else -1.

    What is seen at the choice is the same whatever the cue: without a memory no policy does better than 0.
    """

    def initial(params):
        return Cue(jnp.where(numpyro.sample("coin", dist.Uniform()) < 0.5, 1.0, -1.0), jnp.int32(0))

    def step(state, action, params):
        right = state.cue * (2.0 * action.astype(float) - 1.0)
        return Cue(state.cue, state.period + 1), Step(jnp.where(state.period == delay, right, 0.0))

    def observe(state, params):
        shown = jnp.where(state.period == 0, state.cue, 0.0)
        return Observation(jnp.stack([shown, (state.period == delay).astype(float)]), jnp.ones(2, bool))

    return Environment(
        name="recalling",
        prior=lambda: (),
        initial=initial,
        step=step,
        arms=lambda names: {str(k): jnp.int32(k) for k in range(2)},
        outcomes={},
        observe=observe,
        reward=lambda outcome: outcome.reward,
        ended=lambda state, params: state.period > delay,
    )


def crowd(agents: int, strength: float = 1.0, *, shown: bool = True, differ: bool = False) -> Environment:
    """A ring in which an agent's reward is -(a - b)^2 with b = -strength times its two neighbours' mean last action.

    At first these are drawn from U(-1, 1), so that b has the mean 0 and the variance strength^2 / 6.

    Args:
        agents: in the ring.
        strength: see above.
        shown: whether each agent sees that mean; else the best that can be done at first is 0, worth -strength^2 / 6.
        differ: whether every other agent's b has the other sign.
    """
    sign = jnp.where(jnp.arange(agents) % 2 == 1, -1.0, 1.0) if differ else jnp.ones(agents)

    def mean_field(last):
        return 0.5 * (jnp.roll(last, 1) + jnp.roll(last, -1))

    def step(state, action, params):
        action = action[:, 0]
        return action, Step(-jnp.square(action + strength * sign * mean_field(state)))

    def observe(state, params):
        return Observation(mean_field(state)[:, None] * float(shown), jnp.ones(agents, bool))

    return Environment(
        name="crowd",
        prior=lambda: (),
        initial=lambda params: jnp.asarray(
            numpyro.sample("first", dist.Uniform(-1.0, 1.0).expand([agents]).to_event(1))
        ),
        step=step,
        arms=lambda names: {},
        outcomes={},
        observe=observe,
        reward=lambda outcome: outcome.reward,
    )


class Cart(NamedTuple):
    position: Array
    velocity: Array
    angle: Array
    spin: Array


def _push(state: Cart, action: Array, params: tuple[()]) -> tuple[Cart, Step]:
    """One Euler step of 0.02 s of a pole on a cart (Barto, Sutton & Anderson 1983, IEEE SMC 13:834)."""
    gravity, cart, pole, half_length, tau = 9.8, 1.0, 0.1, 0.5, 0.02
    force = jnp.where(action == 1, 10.0, -10.0)
    cos, sin = jnp.cos(state.angle), jnp.sin(state.angle)
    drive = (force + pole * half_length * state.spin**2 * sin) / (cart + pole)
    spin_up = (gravity * sin - cos * drive) / (half_length * (4 / 3 - pole * cos**2 / (cart + pole)))
    speed_up = drive - pole * half_length * spin_up * cos / (cart + pole)
    after = Cart(
        state.position + tau * state.velocity, state.velocity + tau * speed_up,
        state.angle + tau * state.spin, state.spin + tau * spin_up,
    )  # fmt: skip
    return after, Step(jnp.float32(1))


def _begin(params: tuple[()]) -> Cart:
    start = numpyro.sample("start", dist.Uniform(-0.05, 0.05).expand([4]).to_event(1))
    return Cart(*jnp.asarray(start))


CART_POLE = Environment(
    name="cart_pole",
    prior=lambda: (),
    initial=_begin,
    step=_push,
    arms=lambda names: {"left": jnp.int32(0), "right": jnp.int32(1)},
    outcomes={},
    observe=lambda state, params: Observation(jnp.stack(state), jnp.ones(2, bool)),
    reward=lambda outcome: outcome.reward,
    ended=lambda state, params: (jnp.abs(state.position) > 2.4) | (jnp.abs(state.angle) > 12 * jnp.pi / 180),
)
