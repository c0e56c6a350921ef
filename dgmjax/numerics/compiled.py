"""Public functions as compiled programs: a second call with the same shapes compiles nothing."""

import collections
import contextlib
import functools
import inspect
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.checks import check_classes, native_array
from dgmjax.numerics.sharding import in_any_sharding

Function = TypeVar("Function", bound=Callable[..., Any])

# Programs that are kept, least recently used ones go first; and shapes of each of them.
_MAX_PROGRAMS = 256
_MAX_SHAPES = 64
# Annotations of parameters whose arguments hold arrays, or may.
_HOLDS_ARRAYS = re.compile(r"Array|Any|dgmjax|flax|Self|Callable")


# The annotations of a parameter that takes an array, and so a list of numbers: ``jax.Array``, ``ArrayLike``, or None.
_IS_ARRAY = re.compile(r"(typing\.Union\[)?[^\[]*Array[^\[]*")


class _Tracing(threading.local):
    """Whether this thread traces a program of its own, of which public functions become a part."""

    active = False


_tracing = _Tracing()
# None where some part has to see values, so that there is no program.
_programs: collections.OrderedDict[Any, "_Program | None"] = collections.OrderedDict()


def compiled(function: Function) -> Function:
    """Decorator: run ``function`` as one compiled program, kept for calls with the same shapes and settings.

    A scan or a loop that is called outside `jax.jit` is compiled anew at every call. With this decorator the call is
    one program, in which modules and arrays are arguments and everything else (sizes, names, functions) is fixed. What
    a parameter takes is read from its annotation: ``int``, ``str``, ``tuple`` and the like are fixed, ``ArrayLike``
    takes Python numbers as arguments, so that another temperature is no other program. Under the transformations of
    JAX the function is part of what is traced, as without the decorator.

    Arrays that come in are checked while their values are known: see `dgmjax.checks.native_array` and
    `dgmjax.checks.check_classes`. In a user's own sharding it runs as `dgmjax.numerics.sharding.in_any_sharding` says.

    At most 256 programs are kept, each for at most 64 shapes; the least recently used go first.

    Args:
      function: takes pytrees of arrays and hashable settings, returns a pytree of arrays. Its results depend on its
        arguments only.
    """
    parameters = _parameters(function)
    names = tuple(parameters)
    fixed_names = frozenset(
        name
        for name, parameter in parameters.items()
        if parameter.annotation is not inspect.Parameter.empty
        and not _HOLDS_ARRAYS.search(str(parameter.annotation))
    )

    array_names = frozenset(
        name for name, p in parameters.items() if _IS_ARRAY.fullmatch(str(p.annotation))
    )

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _tracing.active or len(args) > len(names):
            return function(*args, **kwargs)
        arguments = dict(zip(names, args, strict=False))
        if arguments.keys() & kwargs.keys():
            return function(*args, **kwargs)  # which says what is wrong
        arguments |= kwargs
        fixed = tuple(
            (name, type(value), value)
            for name in fixed_names & arguments.keys()
            for value in [_setting(arguments.pop(name))]
        )
        for name in array_names & arguments.keys():
            if isinstance(arguments[name], list | tuple):  # of numbers, for an array
                arguments[name] = jnp.asarray(arguments[name])
        leaves, structure = jax.tree.flatten(arguments)
        method = bool(args) and hasattr(args[0], function.__name__)
        where = f"{type(args[0]).__name__}.{function.__name__}" if method else function.__name__
        leaves = [native_array(leaf, where=where) for leaf in leaves]
        check_classes(args[0] if args else None, arguments.get("context"), where=where)
        is_array = [_is_array(leaf) for leaf in leaves]
        others = tuple(
            (type(leaf), leaf) for leaf, array in zip(leaves, is_array, strict=True) if not array
        )
        arrays = [leaf for leaf, array in zip(leaves, is_array, strict=True) if array]
        key = (function, structure, tuple(is_array), others, fixed)
        try:
            program = _programs.get(key)
        except TypeError:  # settings that have no hash
            return function(*args, **kwargs)
        if program is None:
            program = None if _has_eager_part(arguments) else _Program(*key)
            _keep(key, program)
        if program is None:
            return function(*args, **kwargs)
        _programs.move_to_end(key)
        return program(arrays)

    return call  # type: ignore[return-value]


@contextlib.contextmanager
def inlined() -> Iterator[None]:
    """Public functions that are called in this block become part of the program that is being traced."""
    before, _tracing.active = _tracing.active, True
    try:
        yield
    finally:
        _tracing.active = before


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters of ``function``, or of the function it wraps if it passes everything on."""
    own = inspect.signature(function, follow_wrapped=False).parameters
    passes_on = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in own.values())
    return inspect.signature(function).parameters if passes_on else own


def _is_array(leaf: Any) -> bool:
    number = isinstance(leaf, int | float | complex) and not isinstance(leaf, bool)
    return number or isinstance(leaf, jax.Array | np.ndarray | np.generic)


def _setting(value: Any) -> Any:
    """``value`` with a hash: NumPy's numbers as Python's, lists as tuples."""
    if isinstance(value, np.ndarray | np.generic | jax.Array) and not isinstance(
        value, jax.core.Tracer
    ):
        value = np.asarray(value).tolist()
    return tuple(map(_setting, value)) if isinstance(value, list | tuple) else value


def _has_eager_part(arguments: dict[str, Any]) -> bool:
    """Whether some module in the arguments has to see values, as one that asserts something of them."""

    def is_eager(node: Any) -> bool:
        return getattr(type(node), "runs_eagerly", False)

    return any(map(is_eager, jax.tree.leaves(arguments, is_leaf=is_eager)))


def _keep(key: Any, program: "_Program | None") -> None:
    _programs[key] = program
    while len(_programs) > _MAX_PROGRAMS:
        _programs.popitem(last=False)


class _Program:
    """``function`` with everything fixed but its arrays."""

    def __init__(
        self,
        function: Callable[..., Any],
        structure: Any,
        is_array: tuple[bool, ...],
        others: tuple[tuple[type, Any], ...],
        fixed: tuple[tuple[str, type, Any], ...],
    ):
        settings = {name: value for name, _, value in fixed}
        names = list(_parameters(function))[:1]
        self._shapes = 0

        def run(arrays: list[Any]) -> Any:
            self._shapes += 1  # tracing happens once for each combination of shapes
            sources = {True: iter(arrays), False: iter([leaf for _, leaf in others])}
            leaves = [next(sources[array]) for array in is_array]
            arguments = jax.tree.unflatten(structure, leaves) | settings
            first = [arguments.pop(name) for name in names if name in arguments]
            with inlined():
                return in_any_sharding(function)(*first, **arguments)

        run.__name__ = function.__name__
        self._run: Any = jax.jit(run)

    def __call__(self, arrays: list[Any]) -> Any:
        if self._shapes >= _MAX_SHAPES:
            self._run.clear_cache()
            self._shapes = 0
        return self._run(arrays)
