"""Modules that remember how they were built, so that a saved model needs no pickle.

``@recorded`` keeps the arguments of the constructor as one JSON string, a static attribute (`arguments`). `record_of`
returns it as a dict and `build` makes the module again; the arrays are restored separately (see `dgmjax.save`). Modules
of this library whose constructor took something else, such as a lambda, are described by what they hold (`structure`).
"""

import functools
import inspect
import json
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.layers.serialization.arguments import ATTRIBUTE, from_json, plain, remembered, to_json
from dgmjax.layers.serialization.callables import RECORDED
from dgmjax.layers.serialization.modules import (
    assemble,
    attributes_of,
    class_name,
    find_class,
    is_known,
)

T = TypeVar("T", bound=type[nnx.Module])


def recorded(cls: T) -> T:
    """Class decorator: remember the constructor's arguments, under the name of the class.

    Arguments may be None, bool, int, float, str, arrays, lists, tuples and dicts of those, and recorded modules; also
    frozen dataclasses, and functions and classes that their name finds again, ``functools.partial`` of them with
    keyword arguments too (`dgmjax.layers.serialization.callables`). ``rngs`` is left out. Anything else is accepted by
    the constructor but makes `record_of`, and so `dgmjax.save`, raise an error that names the argument.
    """
    init = cls.__init__
    signature = inspect.signature(init)
    numbers = {name for name, p in signature.parameters.items() if _is_number(p.annotation)}

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError:
            init(self, *args, **kwargs)  # which says it by its own name
            raise
        for name, value in bound.arguments.items():
            if isinstance(value, np.generic) or name in numbers:
                bound.arguments[name] = plain(value)
            elif type(value) in (list, tuple):  # such as shapes
                items = [plain(item) if isinstance(item, np.generic) else item for item in value]
                bound.arguments[name] = type(value)(items)
        init(*bound.args, **bound.kwargs)
        if type(self) is not cls:
            return  # a subclass records its own constructor
        arguments = dict(list(bound.arguments.items())[1:])
        arguments.pop("rngs", None)
        try:
            record = {"class": cls.__name__, "arguments": to_json(arguments, cls.__name__)}
        except TypeError as error:
            record = {"class": cls.__name__, "error": str(error)}
        setattr(self, ATTRIBUTE, json.dumps(record))

    known = RECORDED.get(cls.__name__)
    if known is not None and known.__module__ != cls.__module__:
        raise ValueError(
            f"recorded: a class named {cls.__name__!r} is already recorded by {known.__module__}; saved models go by "
            f"this name, so choose another."
        )
    setattr(cls, "__init__", __init__)  # noqa: B010 - mypy refuses to see a method replaced
    RECORDED[cls.__name__] = cls
    return cls


def _is_number(annotation: Any) -> bool:
    """Whether an argument is declared a number, or None: one in an array would become data of the module."""
    kinds = set(typing.get_args(annotation)) or {annotation}
    return kinds <= {bool, int, float, type(None)}


def record_of(module: nnx.Module, *, by_structure: bool = False) -> dict[str, Any]:
    """The class name and constructor arguments of a recorded module, as JSON-compatible values.

    A module of this library without such a record, and a recorded one with an argument that cannot be written, is
    described by what it holds.

    Args:
      module: what to describe.
      by_structure: prefer what it holds, whose shapes are then those of its arrays now, e.g. stacked ones.

    Raises:
      TypeError: the class is not recorded, or one argument and what it holds cannot be written as JSON.
    """
    record = remembered(module)
    arguments = None if record is None or "error" in record else record
    if arguments is not None and not by_structure:
        return arguments
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
        held = attributes_of(module, lambda inner, _: record_of(inner, by_structure=True), name)
    except TypeError as error:
        if arguments is not None:
            return arguments
        raise TypeError(record["error"] if record else str(error)) from error
    return {"class": class_name(type(module)) if known else name, "attributes": held}


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


def build(record: dict[str, Any], *, rngs: nnx.Rngs, modules: Sequence[str] = ()) -> nnx.Module:
    """Build the module that `record_of` described, with fresh parameters.

    Args:
      record: from `record_of`.
      rngs: for the parameters.
      modules: modules that may be imported for functions and dataclasses, see `dgmjax.load`.

    Raises:
      ValueError: unknown class, one with other arguments, or a function of another module.
    """
    if "linear" in record:
        return _linear(record, rngs)
    inner = functools.partial(build, rngs=rngs, modules=modules)
    name = record.get("class")
    if "attributes" in record:
        cls = RECORDED[name] if name in RECORDED else find_class(str(name))
        return assemble(cls, record["attributes"], inner, modules)
    if name not in RECORDED:
        raise ValueError(
            f"unknown model class {name!r}; known: {sorted(RECORDED)}. Import the module that defines it (and "
            f"decorates it with @dgmjax.recorded) before loading."
        )
    cls = RECORDED[name]
    arguments = {
        key: from_json(value, inner, rngs, modules) for key, value in record["arguments"].items()
    }
    parameters = inspect.signature(cls.__init__).parameters
    passes_on = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    unknown = sorted(set(arguments) - set(parameters))
    if unknown and not passes_on:
        raise ValueError(
            f"saved model: {name} has no argument {', '.join(unknown)}; it was saved by another version of this "
            f"library, which can load it."
        )
    if "rngs" in parameters:
        arguments["rngs"] = rngs
    return cls(**arguments)


def with_argument(
    module: nnx.Module, name: str, value: Any, *, without: Sequence[str] = ()
) -> None:
    """Let ``module``, and all modules among its arguments, remember to be built with another argument.

    Classes whose constructor has no argument ``name`` stay as they are. Of those that have, the arguments ``without``
    go back to their defaults.
    """
    record = remembered(module)
    if record is None or "error" in record:
        return

    def change(content: Any) -> Any:
        if isinstance(content, list):
            return [change(item) for item in content]
        if not isinstance(content, dict):
            return content
        content = {key: change(item) for key, item in content.items()}
        cls = RECORDED.get(content.get("class", "")) if "arguments" in content else None
        if cls is not None and name in inspect.signature(cls.__init__).parameters:
            kept = {key: item for key, item in content["arguments"].items() if key not in without}
            content["arguments"] = kept | {name: value}
        return content

    setattr(module, ATTRIBUTE, json.dumps(change(record)))
