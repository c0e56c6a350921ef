"""What tells the settings of one run from those of another, in any process."""

import functools
import hashlib
from typing import Any

import jax
import numpy as np

from dgmjax.layers.constructor import describe
from dgmjax.training.arrays import Data


def describe_model(model: Any) -> Any:
    """Class and constructor arguments; the name of the class if it does not record them."""
    try:
        return describe(model)
    except TypeError:
        return type(model).__name__


def name_of(value: Any) -> str | None:
    """The place of a function, the settings of an object; no address in memory, which no other process shares."""
    if value is None:
        return None
    if isinstance(value, functools.partial):
        settings = [*map(repr, value.args), *(f"{k}={v!r}" for k, v in value.keywords.items())]
        return f"{name_of(value.func)}({', '.join(settings)})"
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if type(value).__repr__ is object.__repr__:
        return name_of(type(value))
    return repr(value)


def identify(data: Data | None) -> str | None:
    """The digest of arrays; the name and length of records, which say more of themselves by their ``repr``."""
    if data is None:
        return None
    return digest(data) if isinstance(data, dict) else f"{len(data)} rows of {name_of(data)}"


def digest(tree: Any) -> str:
    """SHA-256 of a pytree of arrays: structure, shapes, dtypes and values."""
    result = hashlib.sha256(str(jax.tree.structure(tree)).encode())
    for leaf in map(np.asarray, jax.tree.leaves(tree)):
        result.update(f"{leaf.shape}{leaf.dtype}".encode())
        result.update(np.ascontiguousarray(leaf).view(np.uint8).data if leaf.size else b"")
    return result.hexdigest()
