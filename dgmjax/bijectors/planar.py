"""The planar flow: one ridge function along one direction."""

import jax
import jax.numpy as jnp

from dgmjax.bijectors.nonlinearity import (
    Nonlinearity,
    NonlinearityName,
    bounded_coefficient,
    nonlinearity,
)
from dgmjax.numerics.compiled import compiled


@compiled
def planar_constrain(
    u: jax.Array, w: jax.Array, h: NonlinearityName | Nonlinearity = "tanh"
) -> jax.Array:
    """``u_hat = u + (m(w.u) - w.u) w / |w|^2``, so that ``w.u_hat = m(w.u) > -1 / sup h'``.

    ``m`` is `bounded_coefficient`. The component of ``u`` across ``w`` is kept, and ``u = 0`` gives ``u_hat = 0``.
    The bound is the reciprocal of the largest *slope* of ``h``: -1 for tanh, -4 for the sigmoid.

    Args:
      u: ``[d]`` or ``[*batch, d]``, any real numbers.
      w: ``[d]`` or ``[*batch, d]``; where it is 0 the flow is a shift and ``u`` is kept.
      h: name in `NONLINEARITIES`, or a `Nonlinearity`.

    Returns:
      ``u_hat``, the shape of ``u`` and ``w`` broadcast together.

    Source: Rezende and Mohamed, 2015, *Variational inference with normalizing flows*, arXiv:1505.05770,
    appendix A.1.
    """
    u, w = jnp.broadcast_arrays(u, w)
    along = (w * u).sum(-1, keepdims=True)
    square = (w * w).sum(-1, keepdims=True)
    moves = bounded_coefficient(along, nonlinearity(h).max_slope) - along
    # The inner where keeps the untaken 0 / 0 out of the gradient.
    safe = jnp.where(square > 0, square, jnp.ones_like(square))
    return u + jnp.where(square > 0, moves / safe, jnp.zeros_like(moves)) * w


@compiled
def planar_forward(
    z: jax.Array,
    u_hat: jax.Array,
    w: jax.Array,
    b: jax.Array,
    h: NonlinearityName | Nonlinearity = "tanh",
) -> tuple[jax.Array, jax.Array]:
    """``x = z + u_hat h(w.z + b)`` with ``log det = log(1 + w.u_hat h'(w.z + b))``, latent to data.

    Args:
      z: latent, ``[*batch, d]``.
      u_hat: ``[d]`` or, amortised, ``[*batch, d]``; must satisfy ``w.u_hat > -1 / sup h'``, see `planar_constrain`.
      w: ``[d]`` or ``[*batch, d]``.
      b: ``[]`` or ``[*batch]``.
      h: name in `NONLINEARITIES`, or a `Nonlinearity`.

    Returns:
      ``x`` of shape ``[*batch, d]`` and the log-determinant of ``dx/dz``, ``[*batch]``, natural log.

    Source: Rezende and Mohamed, 2015, arXiv:1505.05770, equations 10-12.
    """
    u_hat, w, b = _broadcast(z, u_hat, w, b)
    function = nonlinearity(h)
    y = (w * z).sum(-1) + b
    log_det = function.ridge_log_derivative(y, (w * u_hat).sum(-1))
    return z + u_hat * function.fn(y)[..., None], log_det


@compiled
def planar_inverse(
    x: jax.Array,
    u_hat: jax.Array,
    w: jax.Array,
    b: jax.Array,
    h: NonlinearityName | Nonlinearity = "tanh",
) -> tuple[jax.Array, jax.Array]:
    """``z = x - u_hat h(y)`` with ``y + (w.u_hat) h(y) = w.x + b``: the inverse of `planar_forward`.

    ``y = w.z + b`` is the root of an increasing function of one variable (`monotone_root`), so the inverse costs a
    few scalar iterations an event in any dimension, and its gradients are implicit.

    Returns:
      ``z`` of shape ``[*batch, d]`` and the log-determinant of ``dz/dx``, ``[*batch]``, natural log.
    """
    u_hat, w, b = _broadcast(x, u_hat, w, b)
    function = nonlinearity(h)
    c = (w * u_hat).sum(-1)
    y = function.ridge_inverse((w * x).sum(-1) + b, c)
    return x - u_hat * function.fn(y)[..., None], -function.ridge_log_derivative(y, c)


def _broadcast(
    value: jax.Array, u_hat: jax.Array, w: jax.Array, b: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    u_hat, w = jnp.broadcast_to(u_hat, value.shape), jnp.broadcast_to(w, value.shape)
    return u_hat, w, jnp.broadcast_to(b, value.shape[:-1])
