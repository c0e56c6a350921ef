"""Tables as matrices of numbers, and back; pandas is imported only where a DataFrame is made."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from dgmjax.checks import native_array
from dgmjax.interop.column_codes import encoded
from dgmjax.interop.columns import Categories, Column

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


def columns_of(
    table: Any, columns: Sequence[str | int] | None, *, where: str
) -> tuple[Labels, list[Any]]:
    """Names and values of the columns of a table, in the order of ``columns``: Series, or arrays ``[n]``.

    The columns of an array are called ``0, 1, ...``.

    Raises:
      TypeError: a DataFrame where an array is expected or the reverse, or an array that is not of numbers.
      ValueError: missing or superfluous columns, or not two axes.
    """
    if columns is not None:
        return list(columns), _of_frame(table, columns, where)
    if is_frame(table):
        raise TypeError(
            f"{where}: the density was fitted on an array without column names, got a DataFrame; pass "
            f"table[columns].to_numpy() with the columns in the order of the fit."
        )
    x = np.asarray(native_array(table, where=where))
    if x.dtype.kind not in "iuf":
        raise TypeError(
            f"{where}: expected an array of numbers or a pandas DataFrame, got {type(table).__name__} of dtype "
            f"{x.dtype}."
        )
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(
            f"{where}: expected a table of rows and columns, [n, d], got shape {x.shape}."
        )
    return list(range(x.shape[1])), list(x.T)


def matrix_of(
    names: Labels, values: Sequence[Any], kinds: Sequence[Column], *, where: str
) -> np.ndarray:
    """The columns as numbers, float64 ``[n, d]``, see `dgmjax.interop.column_codes.encoded`.

    Raises:
      TypeError: columns that should be numbers and are not.
      ValueError: NaN, infinite values, or such as the kind of their column excludes.
    """
    pairs = list(zip(names, values, kinds, strict=True))
    numbers = {name: own for name, own, kind in pairs if not isinstance(kind, Categories)}
    odd = {name: str(own.dtype) for name, own in numbers.items() if own.dtype.kind not in "iufb"}
    if odd:
        raise TypeError(
            f"{where}: columns that are not numbers: {odd}; drop them or encode them as continuous numbers, e.g. "
            f"dates as days since the first."
        )
    numbers = {name: _floats(own) for name, own in numbers.items()}
    counts = {name: int((~np.isfinite(own)).sum()) for name, own in numbers.items()}
    bad = {name: count for name, count in counts.items() if count}
    if bad:
        raise ValueError(
            f"{where}: values that are NaN or infinite, by column: {bad}; drop those rows, "
            f" e.g. table.dropna(), or impute them."
        )
    columns = []
    for name, own, kind in pairs:
        try:
            columns.append(encoded(kind, numbers.get(name, own)))
        except ValueError as error:
            raise ValueError(f"{where}: column {name!r}: {error}") from None
    return np.stack(columns, axis=1)


def _floats(values: Any) -> np.ndarray:
    """Also of nullable columns of pandas."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float64)
    return np.asarray(values.to_numpy(np.float64, na_value=np.nan))


def series_of(values: np.ndarray, index: Any) -> Any:
    """A Series named ``log_prob``."""
    import pandas

    return pandas.Series(values, index=index, name="log_prob")


def frame_of(
    names: Sequence[str | int], values: Sequence[np.ndarray], dtypes: Sequence[Any]
) -> Any:
    """A DataFrame with the dtypes of the one that was fitted; one of categories is a list of them and their order."""
    import pandas

    def column(own: np.ndarray, dtype: Any) -> Any:
        if not isinstance(dtype, str):
            categories, ordered = dtype
            return pandas.Categorical(own, categories=list(categories), ordered=ordered)
        return pandas.Series(own).astype(dtype)

    made = [column(*pair) for pair in zip(values, dtypes, strict=True)]
    frame = pandas.DataFrame(dict(enumerate(made)))
    frame.columns = pandas.Index(list(names))
    return frame


def dtype_of(values: Any) -> Any:
    """The dtype of a column as plain values: its name, or the categories and whether they are ordered."""
    categories = getattr(values.dtype, "categories", None)
    if categories is None:
        return str(values.dtype)
    plain = [item.item() if isinstance(item, np.generic) else item for item in categories]
    return [plain, bool(values.dtype.ordered)]


def _of_frame(table: Any, columns: Sequence[str | int], where: str) -> list[Any]:
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
    return [table[name] for name in columns]
