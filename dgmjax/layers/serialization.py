"""Modules that remember how they were built, so that a saved model needs no pickle.

``@recorded`` keeps the arguments of the constructor as one JSON string, a static attribute. `describe` returns it
as a dict and `build` makes the module again; the arrays are restored separately (see `dgmjax.save`). Modules of this
library whose constructor took something else, such as a function, are described by what they hold (`structure`).
"""

import functools
import inspect
import json
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax.nets as nets
from dgmjax.layers.structure import assemble, attributes_of, find_class, is_known, name_of

T = TypeVar("T", bound=type[nnx.Module])

_RECORDED: dict[str, type[nnx.Module]] = {}
_ATTRIBUTE = "_constructor"
_MAX_ARRAY_SIZE = 100_000


def recorded(cls: T) -> T:
    """Class decorator: remember the constructor's arguments, under the name of the class.

    Arguments may be None, bool, int, float, str, arrays, lists, tuples and dicts of those, and recorded modules;
    factories too: recorded classes, those of `dgmjax.nets`, and ``functools.partial`` of them with keyword arguments.
    ``rngs`` is left out. Anything else is accepted by the constructor but makes `describe`, and so `dgmjax.save`,
    raise an error that names the argument.
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


def _is_number(annotation: Any) -> bool:
    """Whether an argument is declared a number, or None: one in an array would become data of the module."""
    kinds = set(typing.get_args(annotation)) or {annotation}
    return kinds <= {bool, int, float, type(None)}


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
      ValueError: unknown class, or one with other arguments.
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


def _encode(value: Any, where: str) -> Any:
    value = plain(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_encode(item, where) for item in value]
    if isinstance(value, dict):
        return {str(key): _encode(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.size <= _MAX_ARRAY_SIZE:
        return {"array": value.tolist(), "dtype": value.dtype.name}
    if isinstance(value, nnx.Module):
        record = _remembered(value)
        if record is not None and "error" not in record:
            return {"module": record}
    if callable(value):
        return _encode_factory(value, where)
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
        if set(value) == {"factory", "arguments"}:
            return _decode_factory(value["factory"], _decode(value["arguments"], rngs), rngs)
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


def _encode_factory(value: Any, where: str) -> dict[str, Any]:
    """The name of a class that makes networks, with the keyword arguments of a partial of it but for ``rngs``."""
    partial = value if isinstance(value, functools.partial) else functools.partial(value)
    if partial.args or not isinstance(partial.func, type) or _named(partial.func) is None:
        name = getattr(partial.func, "__qualname__", type(partial.func).__name__)
        what = f"{name} with positional arguments" if partial.args else name
        raise TypeError(
            f"{where}: the callable {what} cannot be saved as configuration; pass a class that is decorated with "
            f"@dgmjax.recorded or one of dgmjax.nets, or functools.partial of such a class with keyword arguments."
        )
    arguments = {key: item for key, item in partial.keywords.items() if key != "rngs"}
    return {"factory": partial.func.__name__, "arguments": _encode(arguments, where)}


def _decode_factory(name: str, arguments: dict[str, Any], rngs: nnx.Rngs) -> Any:
    cls = _RECORDED.get(name, getattr(nets, name, None))
    if cls is None:
        raise ValueError(
            f"unknown class of networks {name!r}. Import the module that defines it (and decorates it with "
            f"@dgmjax.recorded) before loading."
        )
    if "rngs" in inspect.signature(cls.__init__).parameters:
        arguments = arguments | {"rngs": rngs}
    return functools.partial(cls, **arguments) if arguments else cls


def _named(cls: type) -> type | None:
    """The class, if its name is enough to find it again."""
    name = cls.__name__
    return cls if cls in (_RECORDED.get(name), getattr(nets, name, None)) else None
