"""Modules that remember how they were built, so that a saved model needs no pickle.

``@recorded`` keeps the arguments of the constructor as one JSON string, a static attribute. `describe` returns it
as a dict and `build` makes the module again; the arrays are restored separately (see `dgmjax.save`). Modules of this
library whose constructor took something else, such as a function, are described by what they hold (`structure`).
"""

import functools
import inspect
import json
from collections.abc import Sequence
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.layers.structure import assemble, attributes_of, find_class, is_known, name_of

T = TypeVar("T", bound=type[nnx.Module])

_RECORDED: dict[str, type[nnx.Module]] = {}
_ATTRIBUTE = "_constructor"
_MAX_ARRAY_SIZE = 100_000


def recorded(cls: T) -> T:
    """Class decorator: remember the constructor's arguments, under the name of the class.

    Arguments may be None, bool, int, float, str, NumPy arrays, lists, tuples and dicts of those, and recorded modules.
    ``rngs`` is left out. Anything else is accepted by the constructor but makes `describe`, and so `dgmjax.save`,
    raise an error that names the argument.
    """
    init = cls.__init__
    signature = inspect.signature(init)

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if type(self) is not cls:
            return  # a subclass records its own constructor
        bound = signature.bind(self, *args, **kwargs)
        arguments = dict(list(bound.arguments.items())[1:])
        arguments.pop("rngs", None)
        try:
            record = {"class": cls.__name__, "arguments": _encode(arguments, cls.__name__)}
        except TypeError as error:
            record = {"class": cls.__name__, "error": str(error)}
        setattr(self, _ATTRIBUTE, json.dumps(record))

    known = _RECORDED.get(cls.__name__)
    if known is not None and known.__module__ != cls.__module__:
        raise ValueError(
            f"recorded: a class named {cls.__name__!r} is already recorded by {known.__module__}; saved models go by "
            f"this name, so choose another."
        )
    setattr(cls, "__init__", __init__)  # noqa: B010 - mypy refuses to see a method replaced
    _RECORDED[cls.__name__] = cls
    return cls


def describe(module: nnx.Module, *, by_structure: bool = False) -> dict[str, Any]:
    """The class name and constructor arguments of a recorded module, as JSON-compatible values.

    A module of this library without such a record, and a recorded one with an argument that cannot be written, is
    described by what it holds.

    Args:
      module: what to describe.
      by_structure: prefer what it holds, whose shapes are then those of its arrays now, e.g. stacked ones.

    Raises:
      TypeError: the class is not recorded, or one argument and what it holds cannot be written as JSON.
    """
    record = _remembered(module)
    remembered = None if record is None or "error" in record else record
    if remembered is not None and not by_structure:
        return remembered
    if isinstance(module, nnx.Linear):
        return {"linear": [module.in_features, module.out_features], **_linear_options(module)}
    known = is_known(type(module))
    if record is None and not known:
        raise TypeError(
            f"{type(module).__name__} does not remember its constructor, so its configuration cannot be saved; "
            f"decorate the class with @dgmjax.recorded, or build the model from dgmjax.models."
        )
    name = type(module).__name__
    try:
        held = attributes_of(module, lambda inner, _: describe(inner, by_structure=True), name)
    except TypeError as error:
        if remembered is not None:
            return remembered
        raise TypeError(record["error"] if record else str(error)) from error
    return {"class": name_of(type(module)) if known else name, "attributes": held}


def _remembered(module: nnx.Module) -> dict[str, Any] | None:
    return json.loads(getattr(module, _ATTRIBUTE)) if hasattr(module, _ATTRIBUTE) else None


def _linear_options(module: nnx.Linear) -> dict[str, Any]:
    dtype = None if module.dtype is None else np.dtype(module.dtype).name
    shapes = [list(module.kernel.shape), None if module.bias is None else list(module.bias.shape)]
    return {"dtype": dtype, "shapes": shapes, "held": np.dtype(module.kernel.dtype).name}


def _linear(record: dict[str, Any], rngs: nnx.Rngs) -> nnx.Linear:
    kernel, bias = record["shapes"]
    layer = nnx.Linear(
        *record["linear"], use_bias=bias is not None, dtype=record["dtype"], rngs=rngs
    )
    layer.kernel = nnx.Param(jnp.zeros(kernel, record["held"]))
    if bias is not None:
        layer.bias = nnx.Param(jnp.zeros(bias, record["held"]))
    return layer


def build(record: dict[str, Any], *, rngs: nnx.Rngs) -> nnx.Module:
    """Build the module that `describe` described, with fresh parameters.

    Raises:
      ValueError: unknown class.
    """
    if "linear" in record:
        return _linear(record, rngs)
    name = record.get("class")
    if "attributes" in record and name not in _RECORDED:
        cls = find_class(str(name))
        return assemble(cls, record["attributes"], functools.partial(build, rngs=rngs))
    if name not in _RECORDED:
        raise ValueError(
            f"unknown model class {name!r}; known: {sorted(_RECORDED)}. Import the module that defines it (and "
            f"decorates it with @dgmjax.recorded) before loading."
        )
    cls = _RECORDED[name]
    if "attributes" in record:
        return assemble(cls, record["attributes"], functools.partial(build, rngs=rngs))
    arguments = {key: _decode(value, rngs) for key, value in record["arguments"].items()}
    if "rngs" in inspect.signature(cls.__init__).parameters:
        arguments["rngs"] = rngs
    return cls(**arguments)


def _encode(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_encode(item, where) for item in value]
    if isinstance(value, dict):
        return {str(key): _encode(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.size <= _MAX_ARRAY_SIZE:
        return {"array": value.tolist(), "dtype": value.dtype.name}
    if isinstance(value, nnx.Module):
        record = _remembered(value)
        if record is not None and "error" not in record:
            return {"module": record}
    raise TypeError(
        f"{where}: an argument of type {type(value).__name__} cannot be saved as configuration; pass a name, a "
        f"number, a NumPy array or a recorded module."
    )


def _decode(value: Any, rngs: nnx.Rngs) -> Any:
    if isinstance(value, list):
        return [_decode(item, rngs) for item in value]
    if isinstance(value, dict):
        if set(value) == {"array", "dtype"}:
            return np.asarray(value["array"], value["dtype"])
        if set(value) == {"module"}:
            return build(value["module"], rngs=rngs)
        return {key: _decode(item, rngs) for key, item in value.items()}
    return value


def with_argument(
    module: nnx.Module, name: str, value: Any, *, without: Sequence[str] = ()
) -> None:
    """Let ``module``, and all modules among its arguments, remember to be built with another argument.

    Classes whose constructor has no argument ``name`` stay as they are. Of those that have, the arguments ``without``
    go back to their defaults.
    """
    record = _remembered(module)
    if record is None or "error" in record:
        return

    def change(content: Any) -> Any:
        if isinstance(content, list):
            return [change(item) for item in content]
        if not isinstance(content, dict):
            return content
        content = {key: change(item) for key, item in content.items()}
        cls = _RECORDED.get(content.get("class", "")) if "arguments" in content else None
        if cls is not None and name in inspect.signature(cls.__init__).parameters:
            kept = {key: item for key, item in content["arguments"].items() if key not in without}
            content["arguments"] = kept | {name: value}
        return content

    setattr(module, _ATTRIBUTE, json.dumps(change(record)))
