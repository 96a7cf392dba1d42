"""The causal risk of an office's moves in `budget.py`, from the joint effects that books tell.

    CausalRisk(s, a) = sum over protected v of  w_v  mean over draws m of  max(0, h_v tau^m_v . (f'(b) a) - c_v) / sd_v

with a the changes that the hard limits leave, in %, and f'(b) the slope of what budgets at b % from plan do: small
changes in the past do not tell it, so it is the world's own, f(b) = 15 tanh(b / 15). For the rest see
`bayesalloc.discovery.risk`.
"""

import dataclasses
import hashlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayesalloc.budgets.proposal import held_fixed
from bayesalloc.budgets.question import question
from bayesalloc.discovery.books import Books, read_books
from bayesalloc.discovery.effects import evidence
from bayesalloc.discovery.joint import joint_effects
from bayesalloc.discovery.knowledge import Office, read_office
from bayesalloc.discovery.risk import Risk, risk_of
from bayesalloc.errors import InputError, listed
from bayesalloc.models.budget import SATURATION, Quarter, State
from bayesalloc.models.budgets.world import DEPARTMENTS, PLACE

DRAWS = 100  # of the joint effects
_BUDGETS = slice(PLACE[DEPARTMENTS[0]], PLACE[DEPARTMENTS[-1]] + 1)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Averse:
    """Whose books say what is at risk, as a plan of training remembers it.

    Attributes:
        books: SHA-256 of the books and of what the office knows beside them.
        protected: the columns that harm is counted in.
    """

    books: str
    protected: tuple[str, ...]

    @property
    def empty(self) -> Risk:
        """The form of the risk: arrays of nothing."""
        n = len(self.protected)
        shapes = (DRAWS, n, len(DEPARTMENTS)), (n,), (n,)
        return Risk(*(np.zeros(shape, np.float32) for shape in shapes))


def felt(risk: Risk, before: Float[Array, " department"], change: Float[Array, " department"]) -> Array:
    """The causal risk of changing budgets.

    Args:
        risk: of changes at the plan.
        before: % that budgets are from plan.
        change: % by which they change.
    """
    return risk.parts((1.0 - jnp.tanh(before / SATURATION) ** 2) * change).sum()


def of_quarter(state: State, quarter: Quarter, risk: Risk) -> Array:
    """The causal risk of what was done in a quarter that began in a state; what learners take from their rewards."""
    return felt(risk, state.level[_BUDGETS], quarter.surprise[_BUDGETS])


def over_quarters(risk: Risk, quarters: Quarter) -> Float[Array, " quarter"]:
    """The causal risk of what was done in each of some quarters, whose outcomes have a leading axis."""
    change = quarters.surprise[:, _BUDGETS]
    return jax.vmap(lambda before, change: felt(risk, before, change))(quarters.level[:, _BUDGETS] - change, change)


def risk_in(books: Books, office: Office, where: str | Path = "knowledge") -> Risk:
    """What is at risk by percent changes of the 20 departments, from books and what an office knows beside them.

    Args:
        books: the table.
        office: what it knows.
        where: the office's file, in messages.

    Raises:
        InputError: where the question cannot be, its decisions are not the departments, or nothing is protected.
    """
    asked = question(books, office, where)
    if missing := [name for name in DEPARTMENTS if name not in asked.decisions]:
        raise InputError(f"{where}: decisions: {listed(missing)} are missing; an office learns with all 20 departments")
    if strange := [name for name in asked.decisions if name not in DEPARTMENTS]:
        raise InputError(f"{where}: decisions: {listed(strange)} are no departments; there are {listed(DEPARTMENTS)}")
    if missing := [name for name in DEPARTMENTS if name not in books.names]:
        why = books.left_out.get(missing[0], "there is no such column")
        raise InputError(f"{where}: decisions: '{missing[0]}' cannot be learned with: {why}")
    if asked.balanced:
        raise InputError(f"{where}: decisions add up to a constant in the books, which tell no risk of a single change")
    if not asked.protected:
        raise InputError(f"{where}: protects nothing; say what must not be harmed: protected = [...]")
    given, rng = evidence(books, DRAWS), np.random.default_rng(0)
    joint = joint_effects(given, asked.decisions, held_fixed(books, office, asked, where), rng, DRAWS)
    order = [asked.decisions.index(name) for name in DEPARTMENTS]
    draws = (joint.draws * asked.per_percent)[..., order]
    found = risk_of(joint._replace(draws=draws, decisions=DEPARTMENTS), asked.protected, given.spread)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), found)


def read_risk(books: Path, knowledge: Path) -> tuple[Averse, Risk]:
    """The same from files.

    Args:
        books: a CSV file, as `bayesalloc budget` takes it.
        knowledge: a TOML file, likewise.
    """
    office, table = read_office(knowledge), read_books(books)
    risk = risk_in(table, office, knowledge)
    digest = hashlib.sha256(books.read_bytes() + knowledge.read_bytes()).hexdigest()
    return Averse(digest, tuple(each.variable for each in question(table, office, knowledge).protected)), risk
