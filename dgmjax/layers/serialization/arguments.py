"""Arguments of constructors as JSON: values, modules, and callables and frozen dataclasses by name."""

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from dgmjax.layers.serialization.callables import (
    decode_callable,
    decode_record,
    encode_callable,
    encode_record,
    is_record,
)

ATTRIBUTE = "_constructor"
_MAX_ARRAY_SIZE = 100_000


def remembered(module: nnx.Module) -> dict[str, Any] | None:
    """The constructor that a recorded module keeps, None for others."""
    return json.loads(getattr(module, ATTRIBUTE)) if hasattr(module, ATTRIBUTE) else None


def plain(value: Any) -> Any:
    """A number of NumPy, or a single one in an array of NumPy or JAX, as a number of Python; else ``value`` itself."""
    single = isinstance(value, np.ndarray | jax.Array) and np.ndim(value) == 0
    if not isinstance(value, np.generic) and not single:
        return value
    if isinstance(value, jax.core.Tracer) or jax.dtypes.issubdtype(
        value.dtype, jax.dtypes.extended
    ):
        return value
    return np.asarray(value).item()


def to_json(value: Any, where: str) -> Any:
    """``value`` as JSON.

    Args:
      value: an argument of a constructor, or all of them by name.
      where: the constructor and the argument, for messages.

    Raises:
      TypeError: it holds something that cannot be written; the message names it.
    """
    value = plain(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if is_record(value):
        return encode_record(value, to_json, where)
    if isinstance(value, list | tuple):
        return [to_json(item, where) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.size <= _MAX_ARRAY_SIZE:
        return {"array": value.tolist(), "dtype": value.dtype.name}
    if isinstance(value, nnx.Module):
        record = remembered(value)
        if record is not None and "error" not in record:
            return {"module": record}
    elif callable(value):
        return encode_callable(value, to_json, where)
    raise TypeError(
        f"{where}: an argument of type {type(value).__name__} cannot be saved as configuration; pass a name, a "
        f"number, a NumPy array, a frozen dataclass or a recorded module."
    )


def from_json(
    value: Any,
    build: Callable[[dict[str, Any]], nnx.Module],
    rngs: nnx.Rngs,
    modules: Sequence[str] = (),
) -> Any:
    """The argument that `to_json` wrote.

    Args:
      value: JSON.
      build: makes modules of their records.
      rngs: for factories of networks that take one.
      modules: modules that may be imported, see `dgmjax.layers.serialization.callables.find`.

    Raises:
      ValueError: a name that may not or cannot be found.
    """
    inner = functools.partial(from_json, build=build, rngs=rngs, modules=modules)
    if isinstance(value, list):
        return [inner(item) for item in value]
    if not isinstance(value, dict):
        return value
    kinds = set(value)
    if kinds == {"array", "dtype"}:
        return np.asarray(value["array"], value["dtype"])
    if kinds == {"module"}:
        return build(value["module"])
    if kinds == {"record", "fields"}:
        return decode_record(value, inner, modules)
    if kinds in ({"callable"}, {"callable", "keywords"}):
        return decode_callable(value, inner, modules, rngs=rngs)
    return {key: inner(item) for key, item in value.items()}
