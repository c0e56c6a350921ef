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


def check_context(
    context: jax.Array | None, context_shape: Shape | None, batch: Shape, *, where: str
) -> None:
    """A context must be given exactly when the model is conditional, and broadcast to the batch.

    Raises:
      ValueError: missing, superfluous or misshapen context.
    """
    if context_shape is None:
        if context is not None:
            raise ValueError(
                f"{where}: got a context of shape {np.shape(context)}, but this model takes none; build it with "
                f"context_shape={tuple(np.shape(context)[-1:])} to make it conditional."
            )
        return
    if context is None:
        raise ValueError(
            f"{where}: this model is conditional; pass context= of shape {describe(context_shape)}."
        )
    rows = batch_shape(context, context_shape, where=f"{where} (context)")
    try:
        fits = np.broadcast_shapes(rows, batch) == batch
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{where}: the batch axes {rows} of the context do not broadcast to the batch axes {batch} of the "
            f"value; pass one context row, or one per value."
        )


def _dtype(value: jax.Array | np.ndarray) -> np.dtype:
    """The dtype as the caller sees it: JAX would report NumPy's int64 as int32."""
    return value.dtype if hasattr(value, "dtype") else jnp.result_type(value)


def as_shape(sample_shape: int | Sequence[int]) -> Shape:
    """``sample_shape`` may be an int, as in distrax."""
    return (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)


def floating_dtype(tree: Any) -> Any:
    """The dtype in which a module or pytree computes: that of its first floating-point array, JAX's default without."""
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")]
    floating = (dtype for dtype in dtypes if jnp.issubdtype(dtype, jnp.floating))
    return next(floating, jnp.result_type(float))


def widened(log_values: jax.Array) -> jax.Array:
    """Log-dets and log-probs of 16-bit computations as float32: sums of many would lose whole nats."""
    return log_values.astype(jnp.float32) if log_values.dtype.itemsize < 4 else log_values
