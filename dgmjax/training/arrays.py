"""The user's data on the host: checked, cast, read by rows, told apart."""

import mmap
from collections.abc import Mapping
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dgmjax.checks import (
    check_class_range,
    context_shape_of,
    floating_dtype,
    native_array,
    num_levels_of,
)
from dgmjax.data.checks import check_data
from dgmjax.data.order import resampled_rows
from dgmjax.data.stream import Records
from dgmjax.training.inputs import Transform

_LOOKED_AT = 64
_FIRST_RECORDS = 4_096
Data = dict[str, np.ndarray] | Records


def prepare_data(
    model: Any,
    x: ArrayLike | Records,
    context: ArrayLike | None,
    name: str,
    transform: Transform | None = None,
) -> Data:
    """Check one split and give floats the dtype of the model; of records only the first rows can be looked at."""
    if isinstance(x, Mapping):
        raise TypeError(
            f"fit: {name} must be an array or records, got a mapping; pass {name}=data['x'], context=...."
        )
    if is_records(x):
        if context is not None:
            raise ValueError(
                f"fit: {name} are records, which bring their own context (ImageRecords(..., context=...)); got another."
            )
        first = x[np.arange(min(len(x), _LOOKED_AT))]
        if context_shape_of(model) is not None and "context" not in first:
            raise ValueError(
                f"fit: the model is conditional, but the records {name} have no 'context'; read them with one, e.g. "
                f"ImageRecords(..., context='label')."
            )
        prepare_data(model, first["x"], first.get("context"), name, transform)
        return x
    x = np.asarray(native_array(x, where=f"fit: {name}"))
    levels = num_levels_of(model)
    shape = tuple(model.event_shape)
    if transform is None:
        arrays = {"x": check_data(x, shape, num_levels=levels, name=name)}
    else:
        arrays = {"x": x}
        keys = jax.random.split(jax.random.key(0), min(len(arrays["x"]), _LOOKED_AT))
        seen = np.asarray(transform(jnp.asarray(arrays["x"][: len(keys)]), keys))
        check_data(seen, shape, num_levels=levels, name=f"{name} after transform")
    expected = context_shape_of(model)
    option = "context" if name == "x" else f"{name}_context"
    if context is None and expected is not None:
        raise ValueError(
            f"fit: the model is conditional; pass {option}=..., of shape [n, *{expected}]."
        )
    if context is not None:
        if expected is None:
            raise ValueError(f"fit: a context was given for {name}, but the model takes none.")
        arrays["context"] = _check_context(context, tuple(expected), option)
        if len(arrays["context"]) != len(arrays["x"]):
            raise ValueError(
                f"fit: {len(arrays['x'])} events in {name} but {len(arrays['context'])} contexts."
            )
    dtype = floating_dtype(model)
    return {
        key: _narrowed(array, dtype, name if key == "x" else option)
        if np.issubdtype(array.dtype, np.floating)
        else array
        for key, array in arrays.items()
    }


def _narrowed(array: np.ndarray, dtype: Any, name: str) -> np.ndarray:
    """The array in the dtype of the model, which must hold what varies in it.

    Raises:
      ValueError: numbers that overflow, or an element of the events that varies in the wider dtype only.
    """
    if array.dtype == dtype or not array.size:
        return array
    with np.errstate(over="ignore"):
        narrow = array.astype(dtype)
    if np.isfinite(array).all() and not np.isfinite(narrow).all():
        raise ValueError(
            f"fit: {name} hold {np.abs(array).max():.3g}, which is infinite in {np.dtype(dtype)}; divide them by "
            f"their scale."
        )
    lost = (array.max(0) > array.min(0)) & (narrow.max(0) == narrow.min(0))
    if lost.any():
        where = tuple(int(i) for i in np.argwhere(lost)[0])
        low, high = array.min(0)[where], array.max(0)[where]
        raise ValueError(
            f"fit: element {where} of {name} varies from {low:.9g} to {high:.9g}, which is one number in "
            f"{np.dtype(dtype)}; subtract its mean and divide by its standard deviation."
        )
    return narrow


def is_records(x: Any) -> TypeGuard[Records]:
    """Whether ``x`` has rows to read, rather than being an array or a list of numbers."""
    readable = hasattr(x, "__len__") and hasattr(x, "__getitem__")
    return readable and not hasattr(x, "shape") and not isinstance(x, (list, tuple))


def _check_context(context: ArrayLike, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Floats ``[n, *shape]``, or classes, integers ``[n]``; what they mean is said by `dgmjax.checks.as_context`."""
    array = np.asarray(native_array(context, where=name))
    if not np.issubdtype(array.dtype, np.integer):
        return check_data(array, shape, name=name)
    if not array.ndim == len(shape) == 1:
        raise TypeError(
            f"{name}: integers are classes, one an event, for a model of vector contexts; got {array.dtype} of shape "
            f"{array.shape} for context_shape {shape}. Numbers and one-hot rows are floats: cast with .astype(float)."
        )
    check_class_range(array, shape[0], where=name)
    return array


def num_rows(data: Data) -> int:
    """Rows of arrays or of records."""
    return len(data["x"]) if isinstance(data, dict) else len(data)


def some_rows(
    data: Data, number: int | None, weights: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """``number`` rows chosen once for all runs, in their order; None for all, or 4,096 of what lies on the disk.

    With ``weights`` (see `dgmjax.data.Order`) a row may come several times, or not at all.
    """
    if number is None:
        in_memory = isinstance(data, dict) and not is_mapped(data["x"])
        number = num_rows(data) if in_memory else _FIRST_RECORDS
    total = num_rows(data)
    if weights is None and number >= total and isinstance(data, dict):
        return data
    random = np.random.RandomState(0)
    order = random.permutation(total)
    rows = np.arange(total) if weights is None else resampled_rows(weights, random)
    return read_rows(data, rows[np.sort(order[:number])])


def is_mapped(array: np.ndarray) -> bool:
    """Whether it is a view of a file, whose rows are read as they are needed."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return isinstance(owner, mmap.mmap)


def read_rows(data: Data, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of arrays or of records."""
    if isinstance(data, dict):
        return {name: array[rows] for name, array in data.items()}
    return data[rows]
