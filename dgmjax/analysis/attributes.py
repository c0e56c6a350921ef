"""Directions of the latents that change one attribute of an event."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dgmjax.analysis.latents import Model, decode, encode, latent_shape, spread_context
from dgmjax.numerics.compiled import compiled


def attribute_direction(eps: ArrayLike, labels: ArrayLike) -> jax.Array:
    """``mean(eps | label) - mean(eps | not label)``: ``[*latent]``.

    Args:
      eps: latents ``[n, *latent]`` of labelled events, from `encode` or `encode_in_batches`; 30,000 in the paper.
      labels: booleans ``[n]``: which events have the attribute.

    Raises:
      TypeError: labels that are no booleans, or latents that are no floats.
      ValueError: wrong shapes, or one of the two classes is empty. Under ``jit`` the labels cannot be looked at, and an
        empty class gives NaN.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 6.3.
    """
    if jnp.result_type(labels) != jnp.bool_:
        raise TypeError(
            f"attribute_direction: expected boolean labels, got {jnp.result_type(labels)}; compare classes with the "
            f"one you mean, e.g. labels == 3."
        )
    if not jnp.issubdtype(jnp.result_type(eps), jnp.floating):
        raise TypeError(
            f"attribute_direction: expected latents of a floating dtype, got {jnp.result_type(eps)}; encode the data "
            f"first: encode(model, x)."
        )
    if np.ndim(labels) != 1 or np.shape(eps)[:1] != np.shape(labels):
        raise ValueError(
            f"attribute_direction: expected latents [n, *latent] and labels [n], got {np.shape(eps)} and "
            f"{np.shape(labels)}."
        )
    if not isinstance(labels, jax.core.Tracer):
        count, rows = int(np.sum(labels)), np.shape(labels)[0]
        if count in (0, rows):
            raise ValueError(
                f"attribute_direction: expected events with and without the attribute, got {count} with it of {rows}."
            )
    eps = jnp.asarray(eps)
    has = jnp.asarray(labels).astype(eps.dtype)
    return _mean(eps, has) - _mean(eps, 1 - has)


@compiled
def manipulate(
    model: Model,
    x: jax.Array,
    direction: jax.Array,
    alphas: ArrayLike,
    context: jax.Array | None = None,
) -> jax.Array:
    """``decode(encode(x) + alpha direction)`` for every ``alpha``: ``[num_alphas, *batch, *event]``.

    ``alpha = 0`` gives ``x`` back as far as `decode` inverts `encode`; 1 moves an event without the attribute by the
    whole difference of the means.

    Args:
      model: any that `encode` takes.
      x: events ``[*batch, *event]``.
      direction: ``[*latent]``, from `attribute_direction`.
      alphas: ``[num_alphas]``; in the paper -1 to 1.
      context: ``[*batch, *context_shape]`` or one row, for a conditional model.

    Raises:
      TypeError: as `encode`.
      ValueError: as `encode`, a direction of another shape, or strengths that are no vector.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 6.3.
    """
    shape = latent_shape(model, where="manipulate")
    if np.shape(direction) != shape:
        raise ValueError(
            f"manipulate: expected a direction of shape {shape}, that of one event's latents, got "
            f"{np.shape(direction)}; it comes from attribute_direction."
        )
    if np.ndim(alphas) != 1:
        raise ValueError(
            f"manipulate: expected alphas of shape [num_alphas], got {np.shape(alphas)}; one strength is [alpha]."
        )
    eps = encode(model, x, context)
    ones = (1,) * (eps.ndim - len(shape))
    steps = jnp.asarray(alphas).astype(eps.dtype).reshape(-1, *(1,) * eps.ndim)
    moved = eps[None] + steps * jnp.asarray(direction).astype(eps.dtype).reshape(1, *ones, *shape)
    return decode(model, moved, spread_context(model, context, moved.shape[: 1 + len(ones)]))


def _mean(eps: jax.Array, weights: jax.Array) -> jax.Array:
    return jnp.tensordot(weights, eps, axes=1) / weights.sum()
