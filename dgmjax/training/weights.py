"""Weights of rows: what they may be, and the rows they keep."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dgmjax.training.arrays import Data, num_rows


def prepare_weights(weights: ArrayLike | None, rows: int, name: str) -> np.ndarray | None:
    """The weights of ``rows`` rows as float64 with mean 1; their scale has no meaning.

    Args:
      weights: ``[rows]``, zero or more each, or None.
      rows: how many there have to be.
      name: of the argument, for messages.

    Raises:
      ValueError: another shape, negative, NaN or infinite weights, or all of them zero.
    """
    if weights is None:
        return None
    found = np.asarray(weights, np.float64)
    if found.shape != (rows,):
        raise ValueError(
            f"{name}: expected one weight a row, shape ({rows},), got shape {found.shape}."
        )
    bad = np.flatnonzero(~(np.isfinite(found) & (found >= 0.0)))
    if len(bad):
        raise ValueError(
            f"{name}: expected finite weights of at least 0, got {found[bad[0]]} in row {bad[0]} ({len(bad)} of {rows} "
            f"rows are no such)."
        )
    total = (found / max(found.max(initial=0.0), np.finfo(float).tiny)).sum()
    if total == 0.0:
        raise ValueError(f"{name}: all {rows} weights are zero, so no row is left.")
    return found / found.max() * (rows / total)


def with_weights(data: Data, weights: ArrayLike | None, name: str) -> Data:
    """Arrays with their ``weights`` beside them, without the rows whose weight is zero.

    Raises:
      ValueError: as `prepare_weights`, or records.
    """
    prepared = prepare_weights(weights, num_rows(data), name)
    if prepared is None:
        return data
    if not isinstance(data, dict):
        raise ValueError(f"{name}: records have no weights in validation; read them to an array.")
    kept: Any = prepared > 0.0
    return {key: array[kept] for key, array in (data | {"weights": prepared}).items()}
