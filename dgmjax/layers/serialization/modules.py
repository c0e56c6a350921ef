"""Modules described by what they hold: for parts whose constructor took what cannot be written, such as a function.

A module goes by its class, and only classes that are loaded are found: those of this library, of ``flax.nnx`` and of
distrax, and recorded ones. Functions and frozen dataclasses inside go by their names (`names`).
"""

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

import distrax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.layers.distrax_attribute import DistraxContainer
from dgmjax.layers.serialization.callables import (
    decode_callable,
    decode_record,
    encode_callable,
    encode_record,
    is_record,
)
from dgmjax.nets.static import StaticArray

_OWN = ("_pytree__state", "_pytree__nodes")
_PREFIXES = ("dgmjax.", "flax.nnx.", "distrax.")


def attributes_of(module: Any, encode: Callable[[Any, str], Any], where: str) -> dict[str, Any]:
    """The attributes of ``module`` as JSON, by name; ``encode`` writes modules inside.

    Raises:
      TypeError: something that cannot be written; the message names it.
    """
    attributes = {}
    for name, value in vars(module).items():
        if name not in _OWN:
            content = _encode(value, encode, f"{where}.{name}")
            fixed = isinstance(value, np.ndarray) and not nnx.is_data(value)
            content = {"values": value.tolist(), "dtype": value.dtype.name} if fixed else content
            attributes[name] = {"data": content} if _is_data(module, name) else content
    return attributes


def assemble(
    cls: type[nnx.Module], attributes: dict[str, Any], decode: Any, modules: Sequence[str] = ()
) -> Any:
    """A module of class ``cls`` that holds what `attributes_of` described, its arrays zero; no constructor runs."""
    module = _bare(cls)()
    object.__setattr__(module, "__class__", cls)
    for name, value in attributes.items():
        setattr(module, name, _decode(value, decode, modules))
    return module


def _is_data(module: nnx.Module, name: str) -> bool:
    """Whether an attribute is marked as data and does not say so by itself."""
    value = vars(module)[name]
    marked = getattr(module, "_pytree__nodes", {}).get(name, False)
    return marked and not isinstance(value, nnx.Module | nnx.Variable)


def class_name(cls: type) -> str:
    """Where ``cls`` is defined."""
    return f"{cls.__module__}.{cls.__qualname__}"


def is_known(cls: type) -> bool:
    """Whether a class may be found again by its name."""
    return cls.__module__.startswith(_PREFIXES)


def find_class(name: str) -> type:
    """The loaded class called ``name``.

    Raises:
      ValueError: there is none, or it is no module or distrax object of the known libraries.
    """
    module, _, qualname = name.rpartition(".")
    cls = getattr(sys.modules.get(module), qualname, None) if name.startswith(_PREFIXES) else None
    if not inspect.isclass(cls) or class_name(cls) != name or not issubclass(cls, _kinds()):
        raise ValueError(
            f"saved model: {name!r} is no class of this library or of those it is made of."
        )
    return cls


def _kinds() -> tuple[type, ...]:
    return (nnx.Module, nnx.Variable, distrax.Distribution, distrax.Bijector)


@functools.cache
def _bare(cls: Any) -> Any:
    """``cls`` with a constructor that does nothing."""
    bare: Any = type(cls)(cls.__name__, (cls,), {})
    bare.__init__ = lambda self: None  # afterwards, since classes wrap the one they are made with
    return bare


def _encode(value: Any, encode: Callable[[Any, str], Any], where: str) -> Any:
    inner = functools.partial(_encode, encode=encode)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, DistraxContainer):
        return {"held": inner(value.value, where=where)}
    if isinstance(value, nnx.List | nnx.Dict):
        items = dict(value.items()) if isinstance(value, nnx.Dict) else list(value)
        return {type(value).__name__: inner(items, where=where)}
    if isinstance(value, nnx.Module):
        return {"module": encode(value, where)}
    if isinstance(value, nnx.Variable):
        return {"variable": class_name(type(value)), "of": inner(value[...], where=where)}
    if isinstance(value, StaticArray):
        return {"static": value.value.tolist(), "dtype": value.value.dtype.name}
    if isinstance(value, np.dtype) or (inspect.isclass(value) and issubclass(value, np.generic)):
        return {"dtype": np.dtype(value).name}
    if isinstance(value, np.generic):
        return {"scalar": value.item(), "dtype": value.dtype.name}
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return {"zeros": list(value.shape), "dtype": np.dtype(value.dtype).name}
    if is_record(value) and (is_known(type(value)) or _has_hash(value)):  # so no arrays inside
        return encode_record(value, lambda item, where: inner(item, where=where), where)
    if isinstance(value, distrax.Distribution | distrax.Bijector) and is_known(type(value)):
        return {"object": class_name(type(value)), "of": inner(dict(vars(value)), where=where)}
    if isinstance(value, list | tuple):
        items = [inner(item, where=where) for item in value]
        return items if type(value) is list else {"tuple": items}
    if isinstance(value, dict):
        return {
            "dict": {str(key): inner(item, where=f"{where}.{key}") for key, item in value.items()}
        }
    if callable(value):
        return encode_callable(value, lambda item, where: inner(item, where=where), where)
    raise TypeError(
        f"{where}: a {type(value).__name__} cannot be saved as configuration; keep a name, a number, an array or a "
        f"module of this library there, or decorate the class with @dgmjax.recorded."
    )


def _has_hash(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _decode(value: Any, decode: Any, modules: Sequence[str]) -> Any:
    inner = functools.partial(_decode, decode=decode, modules=modules)
    if isinstance(value, list):
        return [inner(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind, content = next(iter(value.items()))
    if kind == "dict":
        return {key: inner(item) for key, item in content.items()}
    if kind == "tuple":
        return tuple(map(inner, content))
    if kind == "List":
        return nnx.List([nnx.data(item) if item is None else item for item in inner(content)])
    if kind == "Dict":
        return nnx.Dict(inner(content))
    if kind == "held":
        return DistraxContainer(inner(content))
    if kind == "module":
        return decode(content)
    if kind == "static":
        return StaticArray(np.asarray(content, value["dtype"]))
    if kind == "data":
        return nnx.data(inner(content))
    if kind in ("scalar", "values"):
        return np.asarray(content, value["dtype"])[()]
    if kind == "zeros":
        return jnp.zeros(content, value["dtype"])
    if kind == "dtype":
        return jnp.dtype(content)
    if kind == "record":
        return decode_record(value, inner, modules)
    if kind == "callable":
        return decode_callable(value, inner, modules)
    cls: Any = find_class(content)
    of = inner(value["of"])
    if kind == "variable":
        return cls(of)
    made = cls.__new__(cls)
    vars(made).update(of)
    return made
