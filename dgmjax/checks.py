"""Checks at the boundary: what was expected, what came, and the fix. Trace-time only, so free at run time."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Shape = tuple[int, ...]


def describe(shape: Shape) -> str:
    """``[*batch, 3, 4]`` for an event shape ``(3, 4)``."""
    return f"[{', '.join(['*batch', *map(str, shape)])}]"


def batch_shape(value: jax.Array | np.ndarray, event_shape: Shape, *, where: str) -> Shape:
    """The leading axes of ``value`` before ``event_shape``.

    Raises:
      ValueError: the trailing axes of ``value`` are not ``event_shape``.
    """
    shape = np.shape(value)
    split = len(shape) - len(event_shape)
    if split < 0 or shape[split:] != event_shape:
        raise ValueError(
            f"{where}: expected an array of shape {describe(event_shape)}, got {shape}; the last "
            f"{len(event_shape)} axes must be the event."
        )
    return shape[:split]


def is_discrete(value: Any) -> bool:
    """Whether events are integers, whose likelihoods are probabilities and have bits/dim; floats have densities.

    A density changes with the unit of the data, and so would its bits a dimension.
    """
    return not jnp.issubdtype(_dtype(value), jnp.inexact)


def native_array(value: Any, *, where: str) -> Any:
    """``value``, and arrays of NumPy as JAX takes them: without a mask, in the byte order of the machine.

    Raises:
      TypeError: a masked array with hidden values, which would be used.
    """
    if isinstance(value, np.ma.MaskedArray):
        hidden = int(np.ma.count_masked(value))
        if hidden:
            raise TypeError(
                f"{where}: {hidden} values of the masked array {value.shape} are hidden, and what lies under the mask "
                f"would be used; leave those rows out, e.g. np.ma.compress_rows(x) of a matrix, or impute them, "
                f"x.filled(value)."
            )
        value = value.data
    if isinstance(value, np.ndarray) and not value.dtype.isnative:
        return value.astype(value.dtype.newbyteorder("="))
    return value


def float_event(
    value: Any, event_shape: Shape, *, where: str, dtype: Any = None
) -> tuple[jax.Array, Shape]:
    """``value`` as an array that is no narrower than ``dtype``, and its batch axes.

    A model in float32 meets events in float16 or bfloat16 so: it computes in its own dtype.

    Raises:
      TypeError: ``value`` holds integers or booleans.
      ValueError: the trailing axes of ``value`` are not ``event_shape``.
    """
    if not hasattr(value, "dtype"):
        value = jnp.asarray(value)
    batch = check_float_event(value, event_shape, where=where)
    value = jnp.asarray(native_array(value, where=where))
    return value if dtype is None else _no_narrower(value, dtype), batch


def check_float_event(value: jax.Array | np.ndarray, event_shape: Shape, *, where: str) -> Shape:
    """`batch_shape`, for a value that must be floating point.

    Raises:
      TypeError: ``value`` holds integers or booleans.
    """
    dtype = _dtype(value)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"{where}: expected floating-point values, got {dtype}; a density needs continuous data: wrap the "
            f"flow in dgmjax.Dequantized(flow, num_levels) for integers, or cast with .astype(float)."
        )
    return batch_shape(value, event_shape, where=where)


def check_integer_event(value: jax.Array | np.ndarray, event_shape: Shape, *, where: str) -> Shape:
    """`batch_shape`, for a value that must hold integers.

    Raises:
      TypeError: ``value`` is floating point.
    """
    dtype = _dtype(value)
    if not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(
            f"{where}: expected integer levels, got {dtype}; pass the data before any scaling, cast with "
            f".astype(int) if the values are whole, or use the flow itself for continuous data."
        )
    return batch_shape(value, event_shape, where=where)


def as_context(
    context: Any, context_shape: Shape | None, batch: Shape | None, *, where: str, dtype: Any
) -> jax.Array | None:
    """The context as a model takes it: floats that broadcast to ``batch``; classes become one-hot.

    Integers are classes, ``0 .. k - 1`` for a model with ``context_shape=(k,)``, one an event or a single one for all.
    An unknown class whose value cannot be seen while tracing gives NaN; `check_classes` refuses it before.

    Args:
      context: floats ``[*batch, *context_shape]``, integers ``[*batch]``, or one row of either; None for no context.
      context_shape: of the model; None if it takes none.
      batch: the batch axes of the value; None if they follow from the context (`sample_batch`).
      where: named in errors.
      dtype: of the result, at least.

    Raises:
      TypeError: booleans, or integers for contexts that are no vectors.
      ValueError: missing, superfluous or misshapen context.
    """
    if context_shape is None:
        if context is not None:
            raise ValueError(
                f"{where}: got a context of shape {np.shape(context)}, but this model takes none; build it with "
                f"context_shape={tuple(np.shape(context)[-1:])} to make it conditional."
            )
        return None
    if context is None:
        raise ValueError(
            f"{where}: this model is conditional; pass context= of shape {describe(context_shape)}"
            + (
                f", or classes, integers in 0 .. {context_shape[0] - 1}."
                if len(context_shape) == 1
                else "."
            )
        )
    context = jnp.asarray(context)
    if not jnp.issubdtype(context.dtype, jnp.floating):
        context = _one_hot(context, context_shape, where=where, dtype=dtype)
    rows = batch_shape(context, context_shape, where=f"{where} (context)")
    if batch is not None:
        try:
            fits = np.broadcast_shapes(rows, batch) == batch
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"{where}: the batch axes {rows} of the context do not broadcast to the batch axes {batch} of the "
                f"value; pass one context row, or one per value. Integers are classes, one per value: numbers and "
                f"one-hot rows are floats."
            )
    return _no_narrower(context, dtype)


def context_shape_of(model: Any) -> Shape | None:
    """Shape of the contexts of a model, also of a user's that has no such attribute; None if it takes none."""
    return getattr(model, "context_shape", None)


def num_levels_of(model: Any) -> int | None:
    """Levels of the integers that a model is a model of, also of a user's; None for real numbers."""
    return getattr(model, "num_levels", None)


def context_rows(model: Any, context: Any, batch: Shape, *, where: str) -> jax.Array | None:
    """The context of every event of ``model``, ``[*batch, *context_shape]``; None of a model that takes none.

    Raises:
      TypeError: as `as_context`.
      ValueError: as `as_context` and `check_classes`.
    """
    shape = context_shape_of(model)
    check_classes(model, context, where=where)
    rows = as_context(context, shape, batch, where=where, dtype=floating_dtype(model))
    return None if rows is None else jnp.broadcast_to(rows, (*batch, *model.context_shape))


def _no_narrower(value: jax.Array, dtype: Any) -> jax.Array:
    """``value`` itself if it is wider than ``dtype``, else in ``dtype``."""
    return value if jnp.finfo(value.dtype).bits > jnp.finfo(dtype).bits else value.astype(dtype)


def _one_hot(classes: jax.Array, context_shape: Shape, *, where: str, dtype: Any) -> jax.Array:
    if not jnp.issubdtype(classes.dtype, jnp.integer) or len(context_shape) != 1:
        raise TypeError(
            f"{where}: got a context of {classes.dtype}, expected floats of shape {describe(context_shape)}; cast it "
            f"with .astype(float)."
        )
    known = (classes >= 0) & (classes < context_shape[0])
    one_hot = jax.nn.one_hot(classes, context_shape[0], dtype=dtype)
    return jnp.where(known[..., None], one_hot, jnp.asarray(jnp.nan, dtype))


def check_classes(model: Any, context: Any, *, where: str) -> None:
    """Classes that ``model`` does not know are refused where their values are known, outside of programs.

    Raises:
      ValueError: an integer outside ``0 .. k - 1`` for a model with ``context_shape=(k,)``.
    """
    shape = context_shape_of(model)
    if context is None or shape is None or len(shape) != 1 or isinstance(context, jax.core.Tracer):
        return
    if jnp.issubdtype(_dtype(context), jnp.integer):
        check_class_range(np.asarray(context), shape[0], where=where)


def check_class_range(classes: np.ndarray, num_classes: int, *, where: str) -> None:
    """Raises ValueError unless all ``classes`` lie in ``0 .. num_classes - 1``."""
    if classes.size and not 0 <= classes.min() <= classes.max() < num_classes:
        raise ValueError(
            f"{where}: classes must lie in 0 .. {num_classes - 1} for a model with context_shape ({num_classes},), got "
            f"{classes.min()} .. {classes.max()}; integers are classes: cast other numbers with .astype(float)."
        )


def sample_batch(
    sample_shape: int | Sequence[int], context: jax.Array | None, context_shape: Shape | None
) -> Shape:
    """The batch axes of samples, ``[*sample_shape, *c]`` with a context (see `as_context`) of batch ``[*c]``."""
    rows = () if context is None else context.shape[: context.ndim - len(context_shape or ())]
    return (*as_shape(sample_shape), *rows)


def _dtype(value: jax.Array | np.ndarray) -> np.dtype:
    """The dtype as the caller sees it: JAX would report NumPy's int64 as int32."""
    return value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype


def as_shape(sample_shape: int | Sequence[int]) -> Shape:
    """``sample_shape`` may be an int, as in distrax."""
    return tuple(sample_shape) if isinstance(sample_shape, Sequence) else (int(sample_shape),)


def floating_dtype(tree: Any) -> Any:
    """The dtype in which a module or pytree computes: that of its first floating-point array, JAX's default without."""
    dtype = own_dtype(tree)
    return jnp.result_type(float) if dtype is None else dtype


def own_dtype(tree: Any) -> Any | None:
    """The dtype of the first floating-point array of a module or pytree; None without one."""
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")]
    return next((dtype for dtype in dtypes if jnp.issubdtype(dtype, jnp.floating)), None)


def widened(log_values: jax.Array) -> jax.Array:
    """Log-dets and log-probs of 16-bit computations as float32: sums of many would lose whole nats."""
    return log_values.astype(jnp.float32) if log_values.dtype.itemsize < 4 else log_values


def level_dtype(num_levels: int) -> Any:
    """The dtype of samples of ``num_levels`` grey values: ``uint8``, as images are elsewhere, if they fit."""
    return jnp.uint8 if num_levels <= 256 else jnp.int32
