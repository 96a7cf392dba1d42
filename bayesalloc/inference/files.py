"""Posteriors and results as netCDF files: written whole or not at all, and checked before they are believed.

What we write ends in a line with the SHA-256 of all that stands before it, which HDF5 passes over. A file without it
(made by ArviZ, or written anew by anything else) is checked by its structure alone.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import xarray as xr
from jax.core import Tracer
from numpyro import handlers
from numpyro.distributions import constraints

from bayesalloc import limits
from bayesalloc.errors import InputError, listed
from bayesalloc.inference.names import escaped, unescaped

SEAL = b"\nbayesalloc sha256 "
SEALED = len(SEAL) + 65  # bytes: the digest in hexadecimal digits, and a line's end
IN_MEMORY = 2_000_000_000  # bytes up to which a file is made in memory, so that no failed write meets HDF5
LARGEST_FILE = 20_000_000_000  # bytes of values that are loaded
EXPANSION = 1_100  # values of a file may take so many times its size: the most that zlib packs
OBJECTS = 20_000  # groups and variables
TEXTS = (
    "record",
    "record_name",
    "period",
    "mechanism",
    "mechanisms",
    "model",
    "method",
    "arms",
    "sampled",
    "warnings",
    "why",
    "doubts",
    "keywords",
)
LISTS = ("arms", "sampled", "warnings")
NEEDED = {"record": ("record_name", "mechanism"), "usable": ("why",)}
RESULTS = {"interventional": "compare", "counterfactual": "counterfactual"}  # a results file's kind -> its command


def save_tree(tree: xr.DataTree | xr.Dataset, path: str | Path) -> None:
    """Writes a netCDF file with its checksum.

    HDF5 ends the process where a write fails, so that the file is made in memory and written plainly; one too large
    for that is written by HDF5 only after its space has been set aside and found to be there.

    Raises:
        OSError: where it cannot be written, as on a full disk; what is there of it is for the caller to remove.
    """
    path = Path(path)
    if tree.nbytes <= IN_MEMORY:
        with tree.to_netcdf(engine="h5netcdf") as content, path.open("wb") as file:
            file.write(content)
    else:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, tree.nbytes + tree.nbytes // 10)
        path.unlink()
        tree.to_netcdf(path, engine="h5netcdf")
    with path.open("rb+") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, os.SEEK_END)
        file.write(SEAL + digest.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def open_posterior(path: str | Path) -> xr.DataTree:
    """A posterior from `fit`, or any netCDF file of ArviZ; the file's name is among its attributes.

    Raises:
        InputError: where the file is none, or damaged, or cannot be one: see `check_structure`.
    """
    loaded = open_tree(Path(path))
    check_structure(loaded, str(path))
    loaded.attrs["file"] = str(path)
    return loaded


def open_tree(path: Path) -> xr.DataTree:
    """What a netCDF file holds.

    Raises:
        InputError: where the file is none, or damaged.
    """
    if not os.path.isfile(path):
        raise InputError(f"{path}: is not a file" if os.path.exists(path) else f"{path}: no such file")
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(f"{path}: has {path.stat().st_size:,} bytes; at most {LARGEST_FILE:,} are allowed")
    _check_seal(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            _check_objects(path, file)
        with xr.open_datatree(
            path, engine="h5netcdf", driver_kwds={"locking": False}
        ) as tree:  # as above, or HDF5 refuses
            loaded = tree.load()
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path}: does not fit into memory") from None
    except Exception as error:  # whatever HDF5, h5netcdf and xarray make of a file that is none
        raise InputError(f"{path}: not a netCDF file that can be read: {error}") from None
    return loaded


def _check_seal(path: Path) -> None:
    size = path.stat().st_size
    if size < SEALED:
        return
    with path.open("rb") as file:
        file.seek(size - SEALED)
        seal = file.read()
        if not seal.startswith(SEAL):
            return
        file.seek(0)
        digest, left = hashlib.sha256(), size - SEALED
        while left:
            part = file.read(min(left, 1 << 20))
            digest.update(part)
            left -= len(part)
    if digest.hexdigest().encode() != seal[len(SEAL) : -1]:
        raise InputError(f"{path}: is damaged: its content is not what was written")


def _check_objects(path: Path, file: h5py.File) -> None:
    """Refuse what is not plain arrays in plain groups, before any of it is loaded or any link followed."""
    seen, total = set(), 0
    most = min(LARGEST_FILE, EXPANSION * path.stat().st_size)
    waiting: list[tuple[str, Any]] = [("", file)]
    while waiting:
        above, group = waiting.pop()
        for name in group:
            where = f"{above}/{name}"
            if where.count("/") > limits.NESTED:
                raise InputError(f"{path}: has groups in one another more than {limits.NESTED} deep")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise InputError(f"{path}: {where} is a link to another place; links are not followed")
            item = group[name]
            if hash(item.id) in seen or len(seen) >= OBJECTS:
                raise InputError(f"{path}: {where} stands in two places, or is one of more than {OBJECTS:,}")
            seen.add(hash(item.id))
            if isinstance(item, h5py.Group):
                waiting.append((where, item))
                continue
            if not isinstance(item, h5py.Dataset) or not _plain(item.dtype):
                raise InputError(f"{path}: {where} holds neither numbers nor text")
            if item.is_virtual or item.external:
                raise InputError(f"{path}: the values of {where} are in another file, which is not opened")
            total += math.prod(item.shape or ()) * item.dtype.itemsize
            if total > most:
                raise InputError(f"{path}: with {where} it has {total:,} bytes of values; at most {most:,} may be")


def _plain(dtype: Any) -> bool:
    return dtype.kind in "biufSU" or (dtype.kind == "O" and h5py.check_string_dtype(dtype) is not None)


def check_structure(tree: xr.DataTree, file: str) -> None:
    """Refuse a tree that is no posterior: every site by chain and draw, at least one draw, numbers, all finite.

    Raises:
        InputError: naming the file, the site and what is allowed.
    """
    kind = tree.attrs.get("kind")
    if isinstance(kind, str) and kind in RESULTS and "basis" in tree.attrs:
        raise InputError(
            f"{file}: holds the results of `{RESULTS[kind]}`, and no posterior; give the posterior.nc of `fit`"
        )
    if "posterior" not in tree.children:
        raise InputError(f"{file}: has no group 'posterior'; give the posterior.nc of `fit`")
    sites = tree["posterior"].to_dataset().data_vars
    if not sites:
        raise InputError(f"{file}: its group 'posterior' has no site")
    for name, values in sites.items():
        if values.dims[:2] != ("chain", "draw"):
            raise InputError(f"{file}: site '{name}' has dimensions {values.dims}, and not chain and draw first")
        if values.dtype.kind not in "biuf":
            raise InputError(f"{file}: site '{name}' is of type {values.dtype}; it must be numbers")
        if values.sizes["chain"] * values.sizes["draw"] == 0:
            raise InputError(f"{file}: site '{name}' has no draw")
        if not np.isfinite(values.values).all():
            raise InputError(f"{file}: site '{name}' has draws that are not finite numbers")
    first = next(iter(sites.values()))
    stats = tree["sample_stats"].sizes if "sample_stats" in tree.children else {}
    for dim in ("chain", "draw"):
        if stats.get(dim, first.sizes[dim]) != first.sizes[dim]:
            raise InputError(
                f"{file}: has {first.sizes[dim]} in {dim} of 'posterior' and {stats[dim]} of 'sample_stats'"
            )
    _check_attributes(tree.attrs, file)
    sampled = json.loads(tree.attrs.get("sampled", "[]"))
    strange = [name for name in sampled if escaped(name) not in sites]
    if strange or ("sampled" in tree.attrs and not sampled):
        raise InputError(
            f"{file}: its attribute 'sampled' lists the sites '{listed(strange)}'; there are {listed(sites)}"
        )
    if tree.attrs.get("method") == "svi" and "log_ratio" not in tree.children.get("sample_stats", ()):
        raise InputError(f"{file}: its method is svi, and it lacks 'log_ratio' in 'sample_stats'")
    if "keywords" in tree.attrs:
        _check_keywords(tree, file)


class Keywords(msgspec.Struct):
    """The attribute `keywords` of a plain model's posterior: see `trees.described`."""

    arrays: list[str]
    jax: list[str]
    static: dict[str, bool | int | float | str]
    categories: dict[str, list[str]] = {}


def _check_keywords(tree: xr.DataTree, file: str) -> None:
    try:
        found = msgspec.convert(json.loads(tree.attrs["keywords"]), Keywords)
    except (ValueError, RecursionError) as error:  # msgspec's errors are among them
        why = error if isinstance(error, msgspec.ValidationError) else "it is no JSON"
        raise InputError(f"{file}: its attribute 'keywords' does not describe a model's keywords: {why}") from None
    groups = [tree[name].data_vars for name in ("observed_data", "constant_data") if name in tree.children]
    there = {unescaped(str(name)) for group in groups for name in group}
    if missing := set(found.jax) - set(found.arrays):
        raise InputError(f"{file}: its attribute 'keywords' lists '{listed(missing)}' under jax and not under arrays")
    if missing := set(found.arrays) - there:
        raise InputError(
            f"{file}: its attribute 'keywords' names the arrays '{listed(missing)}', which are not in its groups of"
            f" data; there are {listed(there)}"
        )


def _check_attributes(attributes: Mapping[Any, Any], file: str) -> None:
    for name in TEXTS:
        if not isinstance(attributes.get(name, ""), str):
            raise InputError(f"{file}: its attribute '{name}' is not text")
    for name in LISTS:
        try:
            found = json.loads(attributes.get(name, "[]"))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise InputError(f"{file}: its attribute '{name}' is not a JSON list of texts")
    if not isinstance(attributes.get("usable", 1), int | np.integer):
        raise InputError(f"{file}: its attribute 'usable' is not 0 or 1")
    if not isinstance(attributes.get("information", 1.0), int | float | np.integer | np.floating):
        raise InputError(f"{file}: its attribute 'information' is not a number")
    for name, others in NEEDED.items():
        missing = [other for other in others if name in attributes and other not in attributes]
        if missing:
            raise InputError(f"{file}: has the attribute '{name}' and lacks '{listed(missing)}'")


def check_sites(tree: xr.DataTree, labels: Mapping[str, Sequence[Any]], sites: Mapping[str, "Site"]) -> None:
    """Refuse draws that a model cannot have made.

    Args:
        tree: the posterior.
        labels: dimension -> its labels in the model, in the model's order.
        sites: the model's unobserved random sites.

    Raises:
        InputError: naming the file, the site or dimension, and what is allowed.
    """
    file, group = tree.attrs.get("file", "the posterior"), tree["posterior"].to_dataset()
    for dim, wanted in labels.items():
        found = group.coords[dim].values.tolist() if dim in group.coords else None
        if found is not None and found != list(wanted):
            raise InputError(f"{file}: its labels of '{dim}' are not those of the model, in order: {shown(wanted)}")
    for name, (shape, support) in sites.items():
        if escaped(name) not in group:
            continue
        values = group[escaped(name)].values
        if values.shape[2:] != shape:
            raise InputError(f"{file}: site '{name}' has shape {values.shape[2:]}; the model's has {shape}")
        inside = True if support is None else _inside(support, values)
        if not np.all(inside):
            raise InputError(f"{file}: site '{name}' has a draw {values[~inside].ravel()[0]:g}, outside {support}")


class Site(NamedTuple):
    """A random site: its shape, and its support where that is the same whatever the other sites are."""

    shape: tuple[int, ...]
    support: Any


def latent_sites(model: Callable[..., Any], **keywords: Any) -> dict[str, Site]:
    """The unobserved random sites of a model, which must be seeded; it is traced and not run."""
    found: dict[str, Site] = {}

    def look() -> None:
        for name, site in handlers.trace(model).get_trace(**keywords).items():
            if site["type"] == "sample" and not site["is_observed"]:
                support = site["fn"].support
                fixed = not any(isinstance(bound, Tracer) for bound in jax.tree.leaves(support))
                found[name] = Site(np.shape(site["value"]), support if fixed else None)

    jax.eval_shape(look)
    return found


def _inside(support: Any, values: np.ndarray) -> np.ndarray:
    """Which draws are in a support. Of vectors only shares are checked, to what single precision can add up."""
    if isinstance(support, type(constraints.simplex)):
        return (values >= 0).all(-1) & (np.abs(values.sum(-1, dtype=float) - 1.0) < 1e-3)
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return np.ones(values.shape, bool) if support.event_dim else np.asarray(support(jnp.asarray(values)))


def shown(labels: Sequence[Any]) -> str:
    """Labels in a sentence: all of a few, else the ends."""
    few = [str(label) for label in labels]
    return ", ".join(few) if len(few) <= 8 else f"{few[0]}, {few[1]} to {few[-1]}"
