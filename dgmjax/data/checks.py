"""Data are checked once, on the host, where they enter: the values that a traced program cannot look at."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from dgmjax.checks import check_float_event, check_integer_event, native_array

_CHUNK_BYTES = 2**24


def check_data(
    x: ArrayLike, event_shape: tuple[int, ...], *, num_levels: int | None = None, name: str = "x"
) -> np.ndarray:
    """Return ``x`` as a NumPy array ``[n, *event_shape]`` that a model can train on.

    An array is returned as it is, without a copy; a memory-mapped one is read through once, chunk by chunk.

    Args:
      x: the data.
      event_shape: shape of one event of the model.
      num_levels: for integer data, the number of levels; None for continuous data.
      name: what to call ``x`` in messages.

    Raises:
      TypeError: integers where floats are needed, or the reverse, or a masked array with hidden values.
      ValueError: empty, wrong event shape, NaN or infinite values, or integers outside ``0 .. num_levels - 1``.
    """
    array = np.asarray(native_array(x, where=name))
    if array.dtype == object:
        raise TypeError(
            f"{name}: expected a rectangular numeric array, got a ragged or object array."
        )
    check = check_float_event if num_levels is None else check_integer_event
    batch = check(array, event_shape, where=name)
    if len(batch) != 1:
        raise ValueError(
            f"{name}: expected exactly one batch axis, [n, {', '.join(map(str, event_shape))}], got {array.shape}."
        )
    if len(array) == 0:
        raise ValueError(f"{name}: expected at least one event, got an empty array {array.shape}.")
    if num_levels is None:
        _check_finite(array, name)
    else:
        _check_levels(array, num_levels, name)
    return array


def _check_finite(array: np.ndarray, name: str) -> None:
    total = 0
    index: tuple[int, ...] = ()
    for start, part in _chunks(array):
        bad = ~np.isfinite(part)
        if bad.any() and not total:
            row, *rest = (int(i) for i in np.unravel_index(bad.argmax(), bad.shape))
            index = (start + row, *rest)
        total += int(bad.sum())
    if total:
        raise ValueError(
            f"{name}: {total} of {array.size} values are NaN or infinite, the first at index {index} "
            f"({array[index]}); drop or impute those rows, e.g. x[np.isfinite(x).reshape(len(x), -1).all(1)]."
        )


def _check_levels(array: np.ndarray, num_levels: int, name: str) -> None:
    ends = [(int(part.min()), int(part.max())) for _, part in _chunks(array)]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if low < 0 or high >= num_levels:
        raise ValueError(
            f"{name}: values must lie in 0 .. {num_levels - 1} for num_levels={num_levels}, got {low} .. {high}; "
            f"set num_levels={high + 1} if the data are right, or rescale them."
        )


def _chunks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Rows of a few megabytes and the number of the first: masks of all rows would not fit beside a mapped array."""
    rows = max(1, _CHUNK_BYTES // max(1, array[0].nbytes))
    for start in range(0, len(array), rows):
        yield start, array[start : start + rows]
