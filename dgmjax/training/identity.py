"""What tells the settings of one run from those of another, in any process."""

import dataclasses
import functools
import hashlib
from typing import Any

import jax
import numpy as np
from flax import nnx

from dgmjax.layers.serialization.recorded import record_of
from dgmjax.training.arrays import Data, is_mapped
from dgmjax.training.workdir import Settings, as_json

# In place of a digest.
UNREAD = "not read"
_MUCH = 10**9


def describe_model(model: Any) -> Any:
    """Class and constructor arguments; the name of the class if it does not record them."""
    try:
        return record_of(model)
    except TypeError:
        return type(model).__name__


def identity_of(value: Any) -> str | None:
    """The place of a function, the settings of an object; no address in memory, which no other process shares."""
    if value is None:
        return None
    if isinstance(value, functools.partial):
        settings = [
            *map(_said, value.args),
            *(f"{k}={_said(v)}" for k, v in value.keywords.items()),
        ]
        return f"{identity_of(value.func)}({', '.join(settings)})"
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if type(value).__repr__ is object.__repr__:
        return identity_of(type(value))
    return _said(value)


def _said(value: Any) -> str:
    """``repr(value)``, with a digest in place of every module, whose summary does not say its numbers."""
    if isinstance(value, nnx.Module):
        return f"{type(value).__qualname__}({digest(value)[:12]})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.repr]
        settings = (f"{name}={_said(getattr(value, name))}" for name in fields)
        return f"{type(value).__qualname__}({', '.join(settings)})"
    if type(value) in (list, tuple):
        return f"{type(value).__name__}({', '.join(map(_said, value))})"
    return repr(value)


def identify(data: Data | None, *, read: bool = True) -> str | None:
    """The digest of arrays; the name and length of records, which say more of themselves by their ``repr``.

    Without ``read``, of arrays on the disk or of more than 1 GB `UNREAD`.
    """
    if data is None:
        return None
    if not isinstance(data, dict):
        return f"{len(data)} rows of {identity_of(data)}"
    if not read and any(is_mapped(a) or a.nbytes > _MUCH for a in data.values()):
        return UNREAD
    return digest(data)


def describe_call(
    model: Any,
    data: dict[str, Data | None],
    opt_state: Any,
    seed: jax.Array,
    *,
    read: bool,
    **settings: Any,
) -> Settings:
    """The settings of a call for ``fit.json``; ``read`` as of `identify`. A setting that is None is as good as none."""
    described = {
        "model": describe_model(model),
        "seed": np.asarray(jax.random.key_data(seed)).tolist(),
        "optimizer": describe_optimizer(opt_state),
    } | {name: identify(split, read=read) for name, split in data.items()}
    return as_json(described | settings)


def describe_optimizer(state: Any) -> str:
    """The parts of an optimizer's first state by name, and a digest: of structure, shapes and single numbers.

    Single numbers, such as those of ``optax.inject_hyperparams``, are in the state, and so restored with it: another
    optimizer that starts from others could not go on with its own.
    """
    parts: list[str] = []

    def is_part(node: Any) -> bool:
        return isinstance(node, tuple) and hasattr(node, "_fields")

    for part in jax.tree.leaves(state, is_leaf=is_part):
        parts.append(type(part).__name__)
    shapes = [f"{leaf.shape}{leaf.dtype}" for leaf in jax.tree.leaves(state)]
    numbers = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim == 0]
    return f"{', '.join(parts)} ({digest([numbers, *map(_bytes, [jax.tree.structure(state), shapes])])[:12]})"


def _bytes(value: Any) -> np.ndarray:
    return np.frombuffer(str(value).encode(), np.uint8)


def digest(tree: Any) -> str:
    """SHA-256 of a pytree of arrays: structure, shapes, dtypes and values."""
    result = hashlib.sha256(str(jax.tree.structure(tree)).encode())
    for leaf in map(np.asarray, jax.tree.leaves(tree)):
        result.update(f"{leaf.shape}{leaf.dtype}".encode())
        result.update(np.ascontiguousarray(leaf).view(np.uint8).data if leaf.size else b"")
    return result.hexdigest()
