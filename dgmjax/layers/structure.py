"""Modules described by what they hold: for parts whose constructor took what cannot be written, such as a function.

A class is named by where it is defined, and only classes that are loaded are found: modules and frozen dataclasses of
this library, of ``flax.nnx`` and of distrax, and recorded ones. Nothing is imported or called by name.
"""

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import distrax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.layers.held import Held
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


def assemble(cls: type[nnx.Module], attributes: dict[str, Any], decode: Any) -> Any:
    """A module of class ``cls`` that holds what `attributes_of` described, its arrays zero; no constructor runs."""
    module = _bare(cls)()
    object.__setattr__(module, "__class__", cls)
    for name, value in attributes.items():
        setattr(module, name, _decode(value, decode))
    return module


def _is_data(module: nnx.Module, name: str) -> bool:
    """Whether an attribute is marked as data and does not say so by itself."""
    value = vars(module)[name]
    marked = getattr(module, "_pytree__nodes", {}).get(name, False)
    return marked and not isinstance(value, nnx.Module | nnx.Variable)


def name_of(cls: type) -> str:
    """Where ``cls`` is defined."""
    return f"{cls.__module__}.{cls.__qualname__}"


def is_known(cls: type) -> bool:
    """Whether a class may be found again by its name."""
    return cls.__module__.startswith(_PREFIXES)


def find_class(name: str) -> type:
    """The loaded class called ``name``.

    Raises:
      ValueError: there is none, or it is no module, frozen dataclass or distrax object of the known libraries.
    """
    module, _, qualname = name.rpartition(".")
    cls = getattr(sys.modules.get(module), qualname, None) if name.startswith(_PREFIXES) else None
    if (
        not inspect.isclass(cls)
        or name_of(cls) != name
        or not issubclass(cls, _kinds())
        and not _is_record(cls)
    ):
        raise ValueError(
            f"saved model: {name!r} is no class of this library or of those it is made of."
        )
    return cls


def _kinds() -> tuple[type, ...]:
    return (nnx.Module, nnx.Variable, distrax.Distribution, distrax.Bijector)


def _is_record(cls: type) -> bool:
    frozen = dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    return frozen or (issubclass(cls, tuple) and hasattr(cls, "_fields"))


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
    if isinstance(value, Held):
        return {"held": inner(value.value, where=where)}
    if isinstance(value, nnx.List | nnx.Dict):
        items = dict(value.items()) if isinstance(value, nnx.Dict) else list(value)
        return {type(value).__name__: inner(items, where=where)}
    if isinstance(value, nnx.Module):
        return {"module": encode(value, where)}
    if isinstance(value, nnx.Variable):
        return {"variable": name_of(type(value)), "of": inner(value[...], where=where)}
    if isinstance(value, StaticArray):
        return {"static": value.value.tolist(), "dtype": value.value.dtype.name}
    if isinstance(value, np.dtype) or (inspect.isclass(value) and issubclass(value, np.generic)):
        return {"dtype": np.dtype(value).name}
    if isinstance(value, np.generic):
        return {"scalar": value.item(), "dtype": value.dtype.name}
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return {"zeros": list(value.shape), "dtype": np.dtype(value.dtype).name}
    if is_known(type(value)) and _is_record(type(value)):
        fields = value._asdict() if hasattr(value, "_asdict") else vars(value)
        return {"record": name_of(type(value)), "of": inner(dict(fields), where=where)}
    if isinstance(value, distrax.Distribution | distrax.Bijector) and is_known(type(value)):
        return {"object": name_of(type(value)), "of": inner(dict(vars(value)), where=where)}
    if isinstance(value, list | tuple):
        items = [inner(item, where=where) for item in value]
        return items if type(value) is list else {"tuple": items}
    if isinstance(value, dict):
        return {
            "dict": {str(key): inner(item, where=f"{where}.{key}") for key, item in value.items()}
        }
    raise TypeError(
        f"{where}: a {type(value).__name__} cannot be saved as configuration; keep a name, a number, an array or a "
        f"module of this library there, or decorate the class with @dgmjax.recorded."
    )


def _decode(value: Any, decode: Any) -> Any:
    inner = functools.partial(_decode, decode=decode)
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
        return Held(inner(content))
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
    cls: Any = find_class(content)
    of = inner(value["of"])
    if kind == "variable":
        return cls(of)
    if kind == "record":
        return cls(**of)
    made = cls.__new__(cls)
    vars(made).update(of)
    return made
