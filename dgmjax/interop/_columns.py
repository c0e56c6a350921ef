"""Tables as matrices of numbers, and back; pandas is imported only where a DataFrame is made."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from dgmjax.checks import native_array

Labels = list[str | int]


def is_frame(table: Any) -> bool:
    """Whether ``table`` is a pandas DataFrame; without pandas loaded nothing is."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(table, pandas.DataFrame)


def labels_of(table: Any) -> Labels | None:
    """The column names of a DataFrame, None for an array.

    Raises:
      TypeError: names that are neither strings nor integers, so that they could not be saved.
      ValueError: a name twice.
    """
    if not is_frame(table):
        return None
    labels = [label.item() if isinstance(label, np.generic) else label for label in table.columns]
    for label in labels:
        if not isinstance(label, str | int):
            raise TypeError(
                f"fit_table: column names must be strings or integers, got {label!r} of type {type(label).__name__}; "
                f"rename with table.columns = [...]."
            )
    twice = sorted({str(label) for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(f"fit_table: the column names {twice} occur more than once; rename them.")
    return labels


def matrix_of(table: Any, columns: Sequence[str | int] | None, *, where: str) -> np.ndarray:
    """The numbers of a table, float64 ``[n, d]``, in the order of ``columns``.

    Raises:
      TypeError: a DataFrame where an array is expected or the reverse, or columns that are not numbers.
      ValueError: missing or superfluous columns, not two axes, NaN or infinite values.
    """
    if columns is None:
        if is_frame(table):
            raise TypeError(
                f"{where}: the density was fitted on an array without column names, got a DataFrame; pass "
                f"table[columns].to_numpy() with the columns in the order of the fit."
            )
        x = np.asarray(native_array(table, where=where))
        if not (np.issubdtype(x.dtype, np.floating) or np.issubdtype(x.dtype, np.integer)):
            raise TypeError(
                f"{where}: expected an array of numbers or a pandas DataFrame, got {type(table).__name__} of dtype "
                f"{x.dtype}."
            )
        names: Labels = [f"number {i}" for i in range(x.shape[1])] if x.ndim == 2 else []
    else:
        x, names = _of_frame(table, columns, where), list(columns)
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(
            f"{where}: expected a table of rows and columns, [n, d], got shape {x.shape}."
        )
    x = x.astype(np.float64)
    bad = ~np.isfinite(x)
    if bad.any():
        counts = {name: int(n) for name, n in zip(names, bad.sum(0), strict=True) if n}
        raise ValueError(
            f"{where}: values that are NaN or infinite, by column: {counts}; drop those rows, e.g. table.dropna(), or "
            f"impute them."
        )
    return x


def table_of(values: np.ndarray, columns: Sequence[str | int] | None, index: Any = None) -> Any:
    """A DataFrame with ``columns``; without them a Series named ``log_prob``."""
    import pandas

    if columns is None:
        return pandas.Series(values, index=index, name="log_prob")
    return pandas.DataFrame(values, columns=list(columns), index=index)


def _of_frame(table: Any, columns: Sequence[str | int], where: str) -> np.ndarray:
    if not is_frame(table):
        raise TypeError(
            f"{where}: expected a DataFrame with the columns {list(columns)}, got {type(table).__name__}; "
            f"pandas.DataFrame(x, columns=density.columns) makes one of an array in their order."
        )
    missing = [name for name in columns if name not in table.columns]
    others = [name for name in table.columns if name not in columns]
    if missing or others:
        raise ValueError(
            f"{where}: expected the columns {list(columns)} in any order; missing: {missing}, not known: {others}; "
            f"select with table[density.columns]."
        )
    table = table[list(columns)]
    odd = {name: str(dtype) for name, dtype in table.dtypes.items() if dtype.kind not in "iuf"}
    if odd:
        raise TypeError(
            f"{where}: columns that are not numbers: {odd}; drop them or encode them as continuous numbers, e.g. "
            f"dates as days since the first."
        )
    return np.stack([table[name].to_numpy(np.float64, na_value=np.nan) for name in columns], axis=1)
