"""Between data and the latents of a trained flow, deterministically in both directions."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dgmjax.checks import (
    as_context,
    check_integer_event,
    describe,
    float_event,
    floating_dtype,
    level_dtype,
    own_dtype,
)
from dgmjax.layers.dequantize import Dequantized
from dgmjax.layers.flow import Flow

Model = Flow | Dequantized


def encode(model: Model, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
    """``eps = f^{-1}(x)``: the latents of ``x`` in the space of the base, ``[*batch, *latent]``.

    Of a flow with levels these are the latents of all levels, learned priors removed: Glow's "eps". Integers are
    encoded at the middle of their bin, ``f^{-1}(x + 0.5)``, whatever the dequantization: no noise, and `decode` gives
    them back.

    Args:
      model: a `dgmjax.Flow`, or `dgmjax.Dequantized` for integers.
      x: events ``[*batch, *event]``.
      context: ``[*batch, *context_shape]`` or one row, for a conditional model.

    Raises:
      TypeError: another kind of model, integers for a flow, or floats for a dequantized one.
      ValueError: wrong event or context shape.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 6, and its code (``get_eps``).
    """
    flow = flow_of(model, where="encode")
    if isinstance(model, Dequantized):
        batch = check_integer_event(x, model.event_shape, where="encode")
        x = model.dequantization.centre(x, floating_dtype(model))
    else:
        x, batch = float_event(x, model.event_shape, where="encode", dtype=own_dtype(model))
    context = as_context(context, model.context_shape, batch, where="encode", dtype=x.dtype)
    return flow.bijector.inverse_and_log_det(jnp.asarray(x), context)[0]


def decode(model: Model, eps: jax.Array, context: jax.Array | None = None) -> jax.Array:
    """``x = f(eps)``, the inverse of `encode`: events ``[*batch, *event]``, integers of a dequantized model.

    ``decode(model, encode(model, x))`` is ``x`` to rounding, and exactly ``x`` for integers where rounding stays below
    half a bin.

    Args:
      model: as in `encode`.
      eps: latents ``[*batch, *latent]``, floating point.
      context: as in `encode`.

    Raises:
      TypeError: another kind of model, or integer latents.
      ValueError: wrong latent or context shape.
    """
    flow = flow_of(model, where="decode")
    eps, batch = float_event(
        eps, flow.bijector.latent_shape, where="decode", dtype=own_dtype(model)
    )
    context = as_context(context, model.context_shape, batch, where="decode", dtype=eps.dtype)
    x, _ = flow.bijector.forward_and_log_det(jnp.asarray(eps), context)
    if isinstance(model, Dequantized):
        levels = model.dequantization.quantize(x, model.num_levels)
        return levels.astype(level_dtype(model.num_levels))
    return x


def encode_in_batches(
    model: Model, x: ArrayLike, context: ArrayLike | None = None, *, batch_size: int = 256
) -> np.ndarray:
    """`encode` of a data set on the host, ``[n, *latent]``, with the memory of ``batch_size`` events on the device.

    One program serves all batches: the last one is filled up with rows that are thrown away.

    Args:
      model: as in `encode`.
      x: events ``[n, *event]``.
      context: ``[n, *context_shape]`` or one row, for a conditional model.
      batch_size: events a call.

    Raises:
      TypeError: as `encode`.
      ValueError: as `encode`, not exactly one batch axis, no rows, or a batch size below 1.
    """
    x = np.asarray(x)
    if batch_size < 1:
        raise ValueError(f"encode_in_batches: batch_size must be at least 1, got {batch_size}.")
    shape = tuple(model.event_shape)
    if x.ndim != len(shape) + 1 or not len(x):
        raise ValueError(
            f"encode_in_batches: expected events {describe(shape).replace('*batch', 'n')} with n > 0, got {x.shape}; "
            f"one event is x[None]."
        )
    rows = None
    if context is not None:
        dtype = floating_dtype(model)
        found = as_context(
            context, model.context_shape, x.shape[:1], where="encode_in_batches", dtype=dtype
        )
        rows = np.broadcast_to(np.asarray(found), (len(x), *(model.context_shape or ())))
    size = min(batch_size, len(x))
    parts = []
    for start in range(0, len(x), size):
        index = np.minimum(np.arange(start, start + size), len(x) - 1)
        eps = _encode(model, x[index], None if rows is None else rows[index])
        parts.append(np.asarray(eps)[: len(x) - start])
    return np.concatenate(parts)


_encode = jax.jit(encode)


def flow_of(model: Model, *, where: str) -> Flow:
    """The flow of a model, which has the bijector.

    Raises:
      TypeError: the model is none of this library's flows.
    """
    flow = model.density if isinstance(model, Dequantized) else model
    if not isinstance(flow, Flow):
        raise TypeError(
            f"{where}: expected a dgmjax.Flow or dgmjax.Dequantized, got {type(model).__name__}; wrap a bijector in "
            f"dgmjax.Flow(bijector)."
        )
    return flow


def spread_context(
    model: Model, context: jax.Array | None, batch: tuple[int, ...]
) -> jax.Array | None:
    """The context of ``[*batch, *event]`` for several versions of every event: rows broadcast to ``[*batch]``."""
    if context is None or model.context_shape is None:
        return context
    return jnp.broadcast_to(context, (*batch, *model.context_shape))
