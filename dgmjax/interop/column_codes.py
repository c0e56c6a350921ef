"""Columns as numbers: their kinds found, their values encoded and decoded, their maps to the real line."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgmjax.bijectors.elementwise import SoftplusTransformer
from dgmjax.interop.columns import Bounded, Categories, Circular, Column, Integers, Real
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain
from dgmjax.layers.elementwise import Elementwise
from dgmjax.layers.fixed_affine import FixedAffine
from dgmjax.layers.preprocess import Logit, Standardize

# float32 tells values in unit bins up to this number apart well enough for noise in between.
_MOST_INTEGERS = 2**16
_MOST_CATEGORIES = 1_000


def found_kind(values: Any) -> Column:
    """The kind of a column by its dtype: floats are real, integers integers, and booleans, strings, ... categories.

    Integers that spread over more than 65,536 numbers are real.

    Args:
      values: array or pandas Series.

    Raises:
      TypeError: dates and other dtypes that are none of these.
    """
    dtype = values.dtype
    if hasattr(dtype, "categories") or dtype.kind in "bOUST":
        return Categories()
    if dtype.kind in "iu":
        low, high = int(values.min()), int(values.max())
        return Integers() if high - low < _MOST_INTEGERS else Real()
    if dtype.kind == "f":
        return Real()
    raise TypeError(
        f"its dtype {dtype} is neither a number nor a category; write dates as numbers, e.g. days since the first."
    )


def completed(kind: Column, values: Any) -> Column:
    """``kind`` with what it leaves to the data: bounds of integers, the categories.

    Raises:
      ValueError: values that the kind excludes, too many categories, or integers that spread too far.
    """
    if isinstance(kind, Categories):
        return Categories(_categories(values) if kind.values is None else tuple(kind.values))
    if isinstance(kind, Integers):
        x = np.asarray(values, np.float64)
        low = int(x.min()) if kind.low is None else kind.low
        high = int(x.max()) if kind.high is None else kind.high
        if high - low >= _MOST_INTEGERS:
            raise ValueError(
                f"integers from {low} to {high} are more than {_MOST_INTEGERS:,}, which float32 cannot tell apart with "
                f"noise between them; declare the column Real()."
            )
        return Integers(low, high)
    return kind


def encoded(kind: Column, values: Any) -> np.ndarray:
    """The values of a column as float64: integers less ``low``, categories as ``0, 1, ...``, angles in their circle.

    Args:
      kind: complete, see `completed`.
      values: array or pandas Series.

    Raises:
      ValueError: values that the kind excludes; the message says how many and which.
    """
    if isinstance(kind, Categories):
        places = {value: place for place, value in enumerate(kind.values or ())}
        listed = np.asarray(values, object).tolist()
        unknown = [value for value in listed if value not in places]
        if unknown:
            raise ValueError(
                f"{len(unknown)} values are none of its {len(places)} categories, e.g. {unknown[0]!r}."
            )
        return np.array([places[value] for value in listed], np.float64)
    x = np.asarray(values, np.float64)
    if not np.isfinite(x).all():
        raise ValueError(
            f"{int((~np.isfinite(x)).sum())} values are NaN or infinite; drop those rows, e.g. table.dropna(), or "
            f"impute them."
        )
    if isinstance(kind, Circular):
        period = kind.high - kind.low
        turned = np.mod(x - kind.low, period)
        return kind.low + np.where(turned >= period, 0.0, turned)
    if isinstance(kind, Integers):
        _refuse(x, x != np.floor(x), "are no integers")
        low, high = int(kind.low or 0), int(kind.high or 0)
        _refuse(x, (x < low) | (x > high), f"lie outside of {low} .. {high}")
        return x - low
    if isinstance(kind, Bounded):
        ends = (
            -math.inf if kind.low is None else kind.low,
            math.inf if kind.high is None else kind.high,
        )
        near = x.astype(np.float32)  # as the model sees them
        beyond = (near <= np.float32(ends[0])) | (near >= np.float32(ends[1]))
        _refuse(x, beyond, f"do not lie between {ends[0]} and {ends[1]}, ends excluded")
    return x


def decoded(kind: Column, x: np.ndarray) -> np.ndarray:
    """The values of encoded ones."""
    if isinstance(kind, Categories):
        values = np.empty(len(kind.values or ()), object)
        values[:] = kind.values
        return values[np.round(x).astype(int)]
    if isinstance(kind, Integers):
        return np.round(x).astype(np.int64) + int(kind.low or 0)
    return x


def map_of(kind: Column, scale: float) -> Bijector:
    """The first layer of a flow for a column of numbers: from the values to the real line, or to ``[-pi, pi]``.

    Args:
      kind: complete, and no `Categories`.
      scale: standard deviation of the column, for bounds on one side.
    """
    shape, standardize = (1,), Standardize((1,))
    if isinstance(kind, Circular):
        turns = (kind.high - kind.low) / (2.0 * math.pi)
        return FixedAffine(shape, shift=0.5 * (kind.low + kind.high), scale=turns)
    if isinstance(kind, Integers):
        width = float((kind.high or 0) - (kind.low or 0) + 1)
        return Chain([Logit(shape, width, alpha=0.0), standardize])
    if not isinstance(kind, Bounded):
        return standardize
    if kind.low is not None and kind.high is not None:
        start = FixedAffine(shape, shift=kind.low)
        return Chain([start, Logit(shape, kind.high - kind.low, alpha=0.0), standardize])
    positive = Elementwise(SoftplusTransformer(), shape)
    if kind.low is not None:
        return Chain([FixedAffine(shape, shift=kind.low, scale=scale), positive, standardize])
    return Chain([FixedAffine(shape, shift=kind.high or 0.0, scale=-scale), positive, standardize])


def kinds_of(
    columns: Mapping[Any, Column] | None, names: Sequence[Any], values: Sequence[Any]
) -> list[Column]:
    """The kind of every column: declared, or found from its dtype; complete.

    Raises:
      ValueError: a declared column that does not exist, or values that a kind excludes; the message names the column.
      TypeError: something else than a kind.
    """
    declared = dict(columns or {})
    unknown = [name for name in declared if name not in names]
    if unknown:
        raise ValueError(f"fit_table: columns: {unknown} are none of the columns {list(names)}.")
    kinds: list[Column] = []
    for name, own in zip(names, values, strict=True):
        kind = declared.get(name)
        if kind is not None and not isinstance(kind, Column):
            raise TypeError(
                f"fit_table: columns: {name!r}: expected Real(), Bounded(...), Circular(...), Integers(...) or "
                f"Categories(...), got {kind!r}."
            )
        try:
            kinds.append(completed(found_kind(own) if kind is None else kind, own))
        except (TypeError, ValueError) as error:
            raise type(error)(f"fit_table: column {name!r}: {error}") from None
    return kinds


def _categories(values: Any) -> tuple[Any, ...]:
    """The categories of a column, those of a pandas categorical in their order."""
    known = getattr(values.dtype, "categories", None)
    listed = list(values) if known is None else list(known)
    missing = sum(value is None or value != value for value in listed)
    if missing:
        raise ValueError(f"{missing} values are missing; drop those rows or give them a category.")
    found = listed if known is not None else sorted(set(listed), key=lambda v: (str(type(v)), v))
    found = [value.item() if isinstance(value, np.generic) else value for value in found]
    if not 2 <= len(found) <= _MOST_CATEGORIES:
        raise ValueError(
            f"{len(found)} categories; expected 2 to {_MOST_CATEGORIES}; drop the column, or declare numbers Real()."
        )
    return tuple(found)


def _refuse(x: np.ndarray, bad: np.ndarray, what: str) -> None:
    if bad.any():
        raise ValueError(f"{int(bad.sum())} values {what}, e.g. {x[bad][0]:.6g}.")
