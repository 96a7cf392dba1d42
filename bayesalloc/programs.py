"""Compiled programs, kept by what they compute: functions that do the same are compiled once in a process.

`jax.jit` keeps programs by the identity of functions. So it compiles anew for every new closure, and runs what a
function once was where it reads something that has changed since. Here a function is traced, which is quick, and what
is kept is the machine code of that very trace: never of a function that would now do something else.
"""

import functools
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

KEPT = 64  # programs

_compiled: dict[bytes, Any] = {}


@contextmanager
def whole_products() -> Iterator[None]:
    """Products of matrices are in single precision on every device, unless the user has said what they are to be in.

    GPUs and TPUs round their factors to 10 or 7 bits by default: shares that sum to 1 then sum to 1.0005.
    """
    said = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]  # made at run time
    with jax.default_matmul_precision("highest" if said is None else said):
        yield


def once(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """The function compiled; like `equinox.filter_jit`, which traces arrays and holds everything else fixed.

    What this function was called with before, by the identity of what isn't an array, is not even traced again: so a
    caller who cannot know that its parts still do the same makes them anew.

    Args:
        function: a pure function of positional arguments.
        options: of `jax.jit`.

    >>> twice = [once(lambda x: 2.0 * x) for _ in range(2)]  # two functions, one program
    >>> [float(each(jnp.float32(3.0))) for each in twice]
    [6.0, 6.0]
    """
    function = whole_products()(function)
    by_identity = eqx.filter_jit(function, **options)
    called: dict[Any, _Program | None] = {}

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        leaves, structure = jax.tree.flatten(args)
        arrays = [leaf for leaf in leaves if eqx.is_array(leaf)]
        if any(isinstance(leaf, Tracer) for leaf in arrays):  # part of a larger program
            return by_identity(*args)
        fixed = tuple(None if eqx.is_array(leaf) else leaf for leaf in leaves)
        call = (structure, fixed, *map(_kind, arrays))
        program = called.get(call)
        if call not in called or (program is not None and program.key not in _compiled):
            program = _program(function, structure, fixed, arrays, options)
            _keep(called, call, program)
        if program is None:
            return by_identity(*args)
        return jax.tree.unflatten(program.result, jax.tree.leaves(_compiled[program.key](arrays)))

    return run


def forget() -> None:
    """Let go of all programs."""
    _compiled.clear()


class _Program(NamedTuple):
    """Where the machine code of a function is kept, and the structure of the function's own result."""

    key: bytes
    result: Any


def _program(
    function: Callable[..., Any], structure: Any, fixed: tuple[Any, ...], arrays: list[Any], options: dict[str, Any]
) -> _Program | None:
    """The program of a function; None where it calls back into Python, which what it computes says nothing about."""

    def flat(arrays: list[Any]) -> Any:
        given = iter(arrays)
        return function(*jax.tree.unflatten(structure, [next(given) if leaf is None else leaf for leaf in fixed]))

    traced = jax.jit(flat, **options).trace(arrays)
    text = str(traced.jaxpr)
    if traced.effects or "callback" in text:
        return None
    digest = hashlib.blake2b(text.encode(), digest_size=32)
    settings = [str(getattr(jax.config, name, None)) for name in jax.config.values if "log" not in name]
    digest.update(repr((options, settings, [*map(_kind, arrays)])).encode())
    for constant in _constants(traced.jaxpr):
        digest.update(repr((constant.dtype, constant.shape)).encode())
        digest.update(np.ascontiguousarray(constant))
    key = digest.digest()
    if key not in _compiled:
        _keep(_compiled, key, traced.lower().compile())
    return _Program(key, jax.tree.structure(traced.out_info))


def _kind(array: Any) -> tuple[Any, ...]:
    """What a program is compiled for, of an argument."""
    aval = jax.typeof(array)
    place = str(array.sharding) if isinstance(array, jax.Array) and array.committed else ""
    return str(aval), aval.weak_type, place


def _constants(jaxpr: Any) -> Iterator[np.ndarray]:
    """All arrays in a program; its text shows no more of them than their shapes."""
    for constant in getattr(jaxpr, "consts", ()):
        yield _numbers(constant)
    for equation in jaxpr.eqns:
        for atom in equation.invars:
            if isinstance(atom, Literal) and np.ndim(atom.val):
                yield _numbers(atom.val)
        for part in jax.tree.leaves(equation.params, is_leaf=_is_jaxpr):
            if _is_jaxpr(part):
                yield from _constants(part)


def _is_jaxpr(part: Any) -> bool:
    return isinstance(part, ClosedJaxpr | Jaxpr)


def _numbers(constant: Any) -> np.ndarray:
    return np.asarray(
        jax.random.key_data(constant) if jnp.issubdtype(constant.dtype, jax.dtypes.prng_key) else constant
    )


def _keep(cache: dict[Any, Any], key: Any, value: Any) -> None:
    """Remember, and forget what was remembered first."""
    cache[key] = value
    while len(cache) > KEPT:
        cache.pop(next(iter(cache)), None)
