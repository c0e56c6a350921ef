"""Between data and the latents of a trained model, deterministically in both directions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dgmjax.checks import (
    as_context,
    check_integer_event,
    context_rows,
    context_shape_of,
    describe,
    float_event,
    floating_dtype,
    num_levels_of,
    own_dtype,
)
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.rows import map_rows

# A model with ``code_shape`` and ``from_code(code, context)``, and with ``code(x, context)`` if it encodes.
Model = Any


@compiled
def encode(model: Model, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
    """The latents of ``x``, without noise: ``[*batch, *latent]``.

    ====================== ============================================================================================
    model                  latents
    ====================== ============================================================================================
    `dgmjax.Flow`          ``f^{-1}(x)`` in the space of the base: of a flow with levels those of all, learned priors
                           removed, Glow's "eps"
    `dgmjax.Dequantized`   the same of the middle of the bin, ``f^{-1}(x + 0.5)``, whatever the dequantization
    `dgmjax.VAE`, `VLAE`   the mean of ``q(z | x)``; of a flow as posterior, what it makes of the mean of its base
    `HierarchicalVAE`      ``z1`` and ``z2`` side by side: the means of ``q(z1 | x, z2)``, given the latter, and of
                           ``q(z2 | x)``
    `IAFVAE`               the latents of all layers as one vector, the finest first, each without noise
    `SparseAutoencoder`    its code
    ====================== ============================================================================================

    Args:
      model: one of these, or any with ``code_shape``, ``code(x)`` and ``from_code(code)``.
      x: events ``[*batch, *event]``.
      context: ``[*batch, *context_shape]`` or one row, for a conditional model.

    Raises:
      TypeError: a model without latents or without an encoder, integers where floats are needed, or the reverse.
      ValueError: wrong event or context shape.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 6, and its code (``get_eps``).
    """
    latent_shape(model, where="encode")
    if not hasattr(model, "code"):
        raise TypeError(
            f"encode: {type(model).__name__} has latents but no encoder; draw them, and go from latents to events with "
            f"decode or decode_path."
        )
    if num_levels_of(model) is None:
        x, batch = float_event(x, model.event_shape, where="encode", dtype=own_dtype(model))
    else:
        batch = check_integer_event(x, model.event_shape, where="encode")
    context = _as_context(model, context, batch, where="encode")
    return model.code(jnp.asarray(x), *_given(context))


@compiled
def decode(model: Model, eps: jax.Array, context: jax.Array | None = None) -> jax.Array:
    """The event of every latent, without noise: ``[*batch, *latent] -> [*batch, *event]``.

    Of a `dgmjax.Flow` ``f(eps)``, the inverse of `encode`: ``decode(model, encode(model, x))`` is ``x`` to rounding. Of
    a `dgmjax.Dequantized` integers, exactly ``x`` where rounding stays below half a bin. Of models whose latents are
    fewer than the data it is the reconstruction: the mean ``E[x | z]`` of the likelihood, floats in units of the data
    also for integers, of an autoencoder what its decoder gives, of a `dgmjax.GAN` its generator, integers for integers.
    Where the likelihood is itself a model (`dgmjax.VLAE`) it is a draw with fixed noise, the same for all events.

    Args:
      model: as in `encode`; it needs no encoder.
      eps: latents ``[*batch, *latent]``, floating point.
      context: as in `encode`.

    Raises:
      TypeError: a model without latents, or integer latents.
      ValueError: wrong latent or context shape.
    """
    shape, dtype = latent_shape(model, where="decode"), own_dtype(model)
    eps, batch = float_event(eps, shape, where="decode", dtype=dtype)
    context = _as_context(model, context, batch, where="decode")
    return model.from_code(jnp.asarray(eps), *_given(context))


def encode_in_batches(
    model: Model, x: ArrayLike, context: ArrayLike | None = None, *, batch_size: int = 256
) -> np.ndarray:
    """`encode` of a data set on the host, ``[n, *latent]``, with the memory of ``batch_size`` events on the device.

    Args:
      model: as in `encode`.
      x: events ``[n, *event]``.
      context: ``[n, *context_shape]`` or one row, for a conditional model.
      batch_size: events at a time.

    Raises:
      TypeError: as `encode`.
      ValueError: as `encode`, not exactly one batch axis, or a batch size below 1.
    """
    x = np.asarray(x)
    shape = tuple(model.event_shape)
    if x.ndim != len(shape) + 1:
        raise ValueError(
            f"encode_in_batches: expected events {describe(shape).replace('*batch', 'n')}, got {x.shape}; one event is "
            f"x[None]."
        )
    rows = context_rows(model, context, x.shape[:1], where="encode_in_batches")
    return map_rows(
        lambda x, context: np.asarray(encode(model, x, context)), x, rows, batch_size=batch_size
    )


def latent_shape(model: Model, *, where: str) -> tuple[int, ...]:
    """Shape of the latents of one event.

    Raises:
      TypeError: the model has none.
    """
    shape = getattr(model, "code_shape", None)
    if shape is None:
        raise TypeError(
            f"{where}: expected a model with latents, such as a dgmjax.Flow, dgmjax.Dequantized or dgmjax.VAE, or any "
            f"with code_shape and from_code, got {type(model).__name__}; wrap a bijector in dgmjax.Flow(bijector)."
        )
    return tuple(shape)


def spread_context(
    model: Model, context: jax.Array | None, batch: tuple[int, ...]
) -> jax.Array | None:
    """The context of ``[*batch, *event]`` for several versions of every event: rows broadcast to ``[*batch]``."""
    if context is None or context_shape_of(model) is None:
        return context  # `encode` says what is wrong with it, if anything
    rows = _as_context(model, context, None, where="context")
    return jnp.broadcast_to(rows, (*batch, *model.context_shape))


def _as_context(model: Model, context: Any, batch: tuple[int, ...] | None, *, where: str) -> Any:
    shape, dtype = context_shape_of(model), floating_dtype(model)
    return as_context(context, shape, batch, where=where, dtype=dtype)


def _given(context: jax.Array | None) -> tuple[jax.Array, ...]:
    """Second argument of ``code`` and ``from_code``, which a model without contexts need not have."""
    return () if context is None else (context,)
