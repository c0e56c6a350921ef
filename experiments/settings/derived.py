"""Settings made of constructors: signatures have their names, types and defaults, docstrings their help."""

import collections.abc
import dataclasses
import functools
import inspect
import operator
import re
import types
import typing
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

import tyro

C = TypeVar("C", bound="type[Settings]")

# Arguments that are the same in every run on the same data.
OF_THE_DATA = ("context_shape", "num_classes", "num_levels")


class Settings:
    """Base of all settings that hold the arguments of a constructor."""

    constructor: ClassVar[Any] = None
    arguments: ClassVar[tuple[str, ...]] = ()  # of the constructor, which are fields
    from_data: ClassVar[tuple[str, ...]] = ()  # of the constructor, which are read off the data
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    if TYPE_CHECKING:  # no type checker follows fields that are made of signatures

        def __init__(self, **fields: Any) -> None: ...

        def __getattr__(self, name: str) -> Any: ...

    def given(self) -> dict[str, Any]:
        """The arguments of the constructor that are fields, by name."""
        return {name: getattr(self, name) for name in self.arguments}


def settings_of(
    constructor: Callable[..., Any] | None = None,
    *,
    also: Sequence[Callable[..., Any]] = (),
    leave_out: Sequence[str] = (),
    described_by: Callable[..., Any] | None = None,
) -> Callable[[C], C]:
    """Class decorator: a frozen dataclass with a field for every argument that a command line can give.

    A field that the class declares itself keeps its type and its help. If it has the name of an argument, its default
    is that of the constructor.

    Args:
      constructor: of what the settings describe.
      also: functions of whose arguments there are fields too, such as losses.
      leave_out: arguments without a field.
      described_by: has the docstring of the arguments, if ``constructor`` refers to another.
    """

    def decorate(cls: C) -> C:
        fields = dict(inspect.get_annotations(cls))
        sources = ([] if constructor is None else [constructor]) + list(also)
        for source in sources:
            parameters = parameters_of(source)
            descriptions = described((source is constructor and described_by) or source)
            kinds = {
                name: command_line_type(parameter, descriptions.get(name, ""))
                for name, parameter in parameters.items()
                if name not in (*leave_out, *OF_THE_DATA)
            }
            taken = [name for name, kind in kinds.items() if kind is not None]
            for name in taken:
                if name not in fields:
                    text = sentence(name, descriptions.get(name, ""))
                    fields[name] = Annotated[kinds[name], tyro.conf.arg(help=text)]
                setattr(cls, name, parameters[name].default)
            if source is constructor:
                cls.constructor, cls.arguments = staticmethod(constructor), tuple(taken)
                cls.from_data = tuple(name for name in OF_THE_DATA if name in parameters)
        cls.__annotations__ = fields
        made: Any = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        return made

    return decorate


def parameters_of(source: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters of a class or function, by name."""
    made_by: Any = source.__init__ if inspect.isclass(source) else source
    return dict(inspect.signature(made_by, eval_str=True).parameters)


def command_line_type(parameter: inspect.Parameter, description: str = "") -> Any:
    """The part of an annotation that a command line can give: names, numbers and tuples of them; None if there is none.

    A string is one of the names that the description lists, if it lists some, the default among them.
    """
    if parameter.default is inspect.Parameter.empty:
        return None
    kinds = _kinds(parameter.annotation)
    names = tuple(re.findall(r'``"(\w+)"``', description))
    if str in kinds:
        kinds = [kind for kind in kinds if typing.get_origin(kind) is not tuple]
        if len(names) > 1 and parameter.default in (None, *names):
            kinds[kinds.index(str)] = Literal[names]
    return None if set(kinds) <= {type(None)} else functools.reduce(operator.or_, kinds)


def _kinds(annotation: Any) -> list[Any]:
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in (bool, int, float, str, type(None)) or origin is Literal:
        return [annotation]
    if origin in (typing.Union, types.UnionType):
        return [kind for part in inside for kind in _kinds(part)]
    if origin in (collections.abc.Sequence, list, tuple) and _kinds(inside[0]):
        return [annotation if origin is tuple else types.GenericAlias(tuple, (inside[0], ...))]
    return []


def described(source: Callable[..., Any]) -> dict[str, str]:
    """The descriptions of the arguments in a docstring, by name."""
    found = re.findall(r"^  (\w+): (.*(?:\n    .*)*)", inspect.getdoc(source) or "", re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def sentence(name: str, description: str) -> str:
    """A description without marks of code as a sentence: ``activation: of nets.`` is ``Activation of nets.``."""
    text, words = re.sub(r'``"|"``|`', "", description), name.replace("_", " ")
    if re.match(r"(of|in|after|before) ", text):
        text = f"{words} {text}"
    elif description.startswith("`"):
        text = f"{words}: {text}"
    return text[:1].upper() + text[1:]
