"""Kinds of columns of a table: what values they may take."""

import dataclasses
import math
from typing import Any


@dataclasses.dataclass(frozen=True)
class Real:
    """A column of real numbers without bounds."""


@dataclasses.dataclass(frozen=True)
class Bounded:
    """A column of real numbers between bounds, which samples never leave.

    Attributes:
      low: lower end, None for none.
      high: upper end, None for none.

    Raises:
      ValueError: no bound, or an interval without length.
    """

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        """Reject what bounds nothing."""
        if self.low is None and self.high is None:
            raise ValueError("Bounded: expected low, high or both; Real() has no bounds.")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"Bounded: expected low < high, got {self.low} and {self.high}.")


@dataclasses.dataclass(frozen=True)
class Circular:
    """A column of angles, times of the day or anything else that comes round.

    Attributes:
      low: where the circle is cut.
      high: where it comes round to ``low``.

    Raises:
      ValueError: an interval without length.
    """

    low: float = -math.pi
    high: float = math.pi

    def __post_init__(self) -> None:
        """Reject an empty circle."""
        if not self.low < self.high:
            raise ValueError(f"Circular: expected low < high, got {self.low} and {self.high}.")


@dataclasses.dataclass(frozen=True)
class Integers:
    """A column of integers, of which samples are some too.

    Attributes:
      low: smallest, None for that of the data.
      high: largest, None for that of the data.
    """

    low: int | None = None
    high: int | None = None


@dataclasses.dataclass(frozen=True)
class Categories:
    """A column of categories without an order that matters: strings, booleans, codes.

    Attributes:
      values: all categories, None for those of the data.
    """

    values: tuple[Any, ...] | None = None


Column = Real | Bounded | Circular | Integers | Categories
