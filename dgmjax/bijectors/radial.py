"""The radial flow: expansion or contraction around a centre."""

import jax
import jax.numpy as jnp

from dgmjax.bijectors.nonlinearity import bounded_coefficient
from dgmjax.numerics.compiled import compiled


@compiled
def radial_constrain(raw_alpha: jax.Array, raw_beta: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``alpha = softplus(raw_alpha)`` and ``beta = alpha m(raw_beta)``, so that ``alpha > 0, beta > -alpha``.

    ``m`` is `bounded_coefficient`, above -1; ``raw_beta = 0`` gives ``beta = 0``, the identity. Elementwise.

    Source: Rezende and Mohamed, 2015, arXiv:1505.05770, appendix A.2, with ``beta`` relative to ``alpha``.
    """
    alpha = jax.nn.softplus(raw_alpha)
    return alpha, alpha * bounded_coefficient(raw_beta)


@compiled
def radial_forward(
    z: jax.Array, center: jax.Array, alpha: jax.Array, beta: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """``x = z + beta (z - center) / (alpha + r)`` with ``r = |z - center|``, latent to data.

    ``log det = (d - 1) log(1 + beta / (alpha + r)) + log(1 + alpha beta / (alpha + r)^2)``.

    Args:
      z: latent, ``[*batch, d]``.
      center: ``[d]`` or, amortised, ``[*batch, d]``.
      alpha: positive, ``[]`` or ``[*batch]``.
      beta: above ``-alpha``, ``[]`` or ``[*batch]``; see `radial_constrain`.

    Returns:
      ``x`` of shape ``[*batch, d]`` and the log-determinant of ``dx/dz``, ``[*batch]``, natural log.

    Source: Rezende and Mohamed, 2015, *Variational inference with normalizing flows*, arXiv:1505.05770,
    equation 14; the last term is the paper's ``1 + beta h + beta h' r`` simplified.
    """
    offset, alpha, beta = _broadcast(z, center, alpha, beta)
    r = _norm(offset)
    stretch = beta / (alpha + r)
    return z + stretch[..., None] * offset, _log_det(r, alpha, beta, z.shape[-1])


@compiled
def radial_inverse(
    x: jax.Array, center: jax.Array, alpha: jax.Array, beta: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """``z = center + (x - center) (alpha + r) / (alpha + beta + r)``: the inverse of `radial_forward`.

    ``r`` is the positive root of ``r^2 + (alpha + beta - R) r - alpha R = 0`` with ``R = |x - center|``.

    Returns:
      ``z`` of shape ``[*batch, d]`` and the log-determinant of ``dz/dx``, ``[*batch]``, natural log.
    """
    offset, alpha, beta = _broadcast(x, center, alpha, beta)
    distance = _norm(offset)
    linear = alpha + beta - distance
    falling = linear > 0
    # Of the two forms of the root, the one that adds numbers of the same sign.
    total = jnp.where(falling, linear, -linear) + jnp.sqrt(linear**2 + 4.0 * alpha * distance)
    r = jnp.where(falling, 2.0 * alpha * distance / total, 0.5 * total)
    stretch = beta / (alpha + beta + r)
    return x - stretch[..., None] * offset, -_log_det(r, alpha, beta, x.shape[-1])


def _log_det(r: jax.Array, alpha: jax.Array, beta: jax.Array, size: int) -> jax.Array:
    across = jnp.log1p(beta / (alpha + r))
    return (size - 1) * across + jnp.log1p(alpha * beta / (alpha + r) ** 2)


def _norm(offset: jax.Array) -> jax.Array:
    """Euclidean norm whose gradient at 0 is 0: there the flow is linear in the offset."""
    # In units of the largest element: its square may overflow or vanish.
    unit = jax.lax.stop_gradient(jnp.abs(offset)).max(-1)
    unit = jnp.where(unit > 0, unit, jnp.ones_like(unit))
    square = ((offset / jnp.broadcast_to(unit[..., None], offset.shape)) ** 2).sum(-1)
    at_centre = square == 0
    safe = jnp.where(at_centre, jnp.ones_like(square), square)
    return jnp.where(at_centre, jnp.zeros_like(square), unit * jnp.sqrt(safe))


def _broadcast(
    value: jax.Array, center: jax.Array, alpha: jax.Array, beta: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    batch = value.shape[:-1]
    offset = value - jnp.broadcast_to(center, value.shape)
    return offset, jnp.broadcast_to(alpha, batch), jnp.broadcast_to(beta, batch)
