"""Every figure by its name; each registers itself beside its code."""

import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import experiments.figures

DrawFigure = Callable[..., dict[str, Any]]


class Figure(NamedTuple):
    """A picture and the numbers it shows.

    Attributes:
      name: the name of its module.
      draw: writes the picture (.png) at a path, and the numbers beside it (.json); returns the numbers.
      quick: options of ``draw`` for small sizes, which take seconds.
      help: what it shows, in a line.
    """

    name: str
    draw: DrawFigure
    quick: dict[str, Any]
    help: str

    @property
    def options(self) -> set[str]:
        """Names of the options of ``draw``."""
        return set(inspect.signature(self.draw).parameters)

    def sizes(self, *, quick: bool) -> dict[str, Any]:
        """Options of ``draw``: the small sizes, or none for its defaults."""
        return self.quick if quick else {}


_FIGURES: dict[str, Figure] = {}


def register(*, quick: dict[str, Any]) -> Callable[[DrawFigure], DrawFigure]:
    """Make the decorated function the figure of its module; ``quick`` are its options for small sizes."""

    def keep(draw: DrawFigure) -> DrawFigure:
        name = draw.__module__.rpartition(".")[2]
        doc = sys.modules[draw.__module__].__doc__ or ""
        _FIGURES[name] = Figure(name, draw, quick, doc.splitlines()[0])
        return draw

    return keep


@functools.cache
def figures() -> dict[str, Figure]:
    """All figures by name, in the order of the alphabet."""
    for info in pkgutil.iter_modules(experiments.figures.__path__):
        if not info.name.startswith("_"):
            importlib.import_module(f"{experiments.figures.__name__}.{info.name}")
    return dict(sorted(_FIGURES.items()))
