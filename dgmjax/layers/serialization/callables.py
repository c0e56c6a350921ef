"""Functions, classes and frozen dataclasses by name, ``module:qualname``: how a saved model keeps them.

A name is written only if it finds the same object again, and read only from modules that may be imported: those of
this library and of JAX, those the caller names, and parts of flax.nnx and distrax that are loaded anyway. Classes that
are decorated with ``@dgmjax.recorded`` are found without an import.
"""

import dataclasses
import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

# Classes that are decorated with @recorded, by their short name.
RECORDED: dict[str, Any] = {}

_OWN = ("dgmjax", "jax")
_LOADED = ("flax.nnx", "distrax")
# Where things are looked for first, since names of private modules change.
_PUBLIC = (
    "dgmjax",
    "dgmjax.nets",
    "dgmjax.bijectors",
    "jax.nn",
    "jax.numpy",
    "jax.scipy.special",
    "jax.lax",
)


def name_of(thing: Any) -> str | None:
    """``module:qualname`` of a function or class; None of what its name does not find again, such as a lambda."""
    module, qualname = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str):
        return None
    if RECORDED.get(getattr(thing, "__name__", "")) is thing:
        return f"{module}:{qualname}"
    root = module.partition(".")[0]
    for home in (*(public for public in _PUBLIC if public.partition(".")[0] == root), module):
        if _within(home, qualname) is thing:
            return f"{home}:{qualname}"
    return None


def find(name: str, modules: Sequence[str] = ()) -> Any:
    """The function or class called ``name``, as `name_of` says it.

    Args:
      name: ``module:qualname``.
      modules: modules that may be imported besides those of this library and of JAX, with all inside of them.

    Raises:
      ValueError: its module may not be imported or is not there, or holds nothing of this name.
    """
    module, _, qualname = str(name).partition(":")
    for cls in RECORDED.values():
        if name == f"{cls.__module__}:{cls.__qualname__}":
            return cls
    loaded = module in sys.modules and _is_inside(module, _LOADED)
    if not loaded and not _is_inside(module, (*_OWN, *modules)):
        raise ValueError(
            f"saved model: it holds {qualname!r} of the module {module!r}, which this call may not import; if you "
            f"trust that module, allow it: dgmjax.load(path, modules=[{module!r}])."
        )
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"saved model: it holds {qualname!r} of the module {module!r}, which cannot be imported here: {error}."
        ) from error
    found = _within(module, qualname)
    # Its own name, so that no function is reached through a module that only imports it.
    if found is None or name_of(found) != name:
        raise ValueError(
            f"saved model: the module {module!r} defines no {qualname!r}; it was saved by another version of it."
        )
    return found


def is_record(value: Any) -> bool:
    """Whether ``value`` is a frozen dataclass or a named tuple, which its fields make again."""
    return _makes_records(type(value))


def encode_record(value: Any, inner: Callable[[Any, str], Any], where: str) -> dict[str, Any]:
    """The class of a record by name, and its fields.

    Args:
      value: a frozen dataclass or named tuple.
      inner: ``(field, where) -> JSON``.
      where: what holds it, for messages.

    Raises:
      TypeError: its name does not find the class again.
    """
    name = name_of(type(value))
    if name is None:
        raise _without_a_name(type(value), where)
    if isinstance(value, tuple):
        fields = value._asdict()  # type: ignore[attr-defined]
    else:
        names = [field.name for field in dataclasses.fields(value) if field.init]
        fields = {key: getattr(value, key) for key in names}
    written = {key: inner(item, f"{where}.{key}") for key, item in fields.items()}
    return {"record": name, "fields": written}


def decode_record(
    content: dict[str, Any], inner: Callable[[Any], Any], modules: Sequence[str]
) -> Any:
    """The record that `encode_record` wrote.

    Raises:
      ValueError: its class may not or cannot be found, or makes no records.
    """
    cls = find(content["record"], modules)
    if not isinstance(cls, type) or not _makes_records(cls):
        raise ValueError(f"saved model: {content['record']!r} is no frozen dataclass.")
    return cls(**{key: inner(item) for key, item in content["fields"].items()})


def encode_callable(
    value: Callable[..., Any], inner: Callable[[Any, str], Any], where: str
) -> dict[str, Any]:
    """The name of a function or class; of a ``functools.partial`` the keywords too, but for ``rngs``.

    Args:
      value: the callable.
      inner: ``(keyword argument, where) -> JSON``.
      where: what holds it, for messages.

    Raises:
      TypeError: its name does not find it again, or the partial has positional arguments.
    """
    given = value if isinstance(value, functools.partial) else functools.partial(value)
    name = name_of(given.func)
    if name is None:
        raise _without_a_name(given.func, where)
    if given.args:
        raise TypeError(
            f"{where}: the callable {given.func.__qualname__} with positional arguments cannot be saved as "
            f"configuration; give functools.partial its arguments by keyword."
        )
    keywords = {key: item for key, item in given.keywords.items() if key != "rngs"}
    written = {key: inner(item, f"{where}.{key}") for key, item in keywords.items()}
    return {"callable": name} | ({"keywords": written} if written else {})


def decode_callable(
    content: dict[str, Any], inner: Callable[[Any], Any], modules: Sequence[str], **rngs: Any
) -> Any:
    """The callable that `encode_callable` wrote, with ``rngs=`` if it has such a parameter.

    Raises:
      ValueError: it may not or cannot be found.
    """
    function = find(content["callable"], modules)
    keywords = {key: inner(item) for key, item in content.get("keywords", {}).items()}
    if _takes_rngs(function):
        keywords |= rngs
    return functools.partial(function, **keywords) if keywords else function


def _without_a_name(value: Any, where: str) -> TypeError:
    name = getattr(value, "__qualname__", type(value).__name__)
    return TypeError(
        f"{where}: the callable {name} cannot be saved as configuration, since its name does not find it again; define "
        f"it at the top of a module (no lambda, no function inside of another), as a class decorated with "
        f"@dgmjax.recorded, or as a frozen dataclass."
    )


def _makes_records(cls: type) -> bool:
    frozen = dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    return frozen or (issubclass(cls, tuple) and hasattr(cls, "_fields"))


def _takes_rngs(function: Any) -> bool:
    if isinstance(function, type):  # the metaclass of modules hides their signature
        function = getattr(function, "__init__")  # noqa: B009
    try:
        return "rngs" in inspect.signature(function).parameters
    except ValueError:  # such as builtin functions
        return False


def _is_inside(module: str, roots: Sequence[str]) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in roots)


def _within(module: str, qualname: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found
