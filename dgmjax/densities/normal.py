"""Normal densities and divergences: elementwise, and with a Cholesky factor of the covariance."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dgmjax.densities._arguments import broadcast_arguments
from dgmjax.numerics import ends
from dgmjax.numerics.compiled import compiled

_LOG_SCALE_BOUND = 7.0
_LOG_SQRT_TWO_PI = 0.5 * math.log(2.0 * math.pi)
# Of expm1(v) - v below a half: after 17 terms the rest is below the rounding of float64.
_SERIES = [1.0 / math.factorial(k) for k in range(2, 18)]


@compiled
def normal_log_prob(x: jax.Array, mean: ArrayLike, log_scale: ArrayLike) -> jax.Array:
    """``log N(x; mean, s^2) = -((x - mean) / s)^2 / 2 - log s - log(2 pi) / 2``, ``s = exp(log_scale)``, nats.

    Elementwise; the arguments broadcast against each other. Where the square overflows, infinite ``x`` included, it is
    ``-inf`` with zero gradients.
    """
    x, mean, log_scale = broadcast_arguments(x, mean, log_scale)
    noise = jax.lax.stop_gradient((x - mean) * jnp.exp(-log_scale))
    far = jnp.abs(noise) > math.sqrt(float(jnp.finfo(x.dtype).max))
    noise = (jnp.where(far, mean, x) - mean) * jnp.exp(-log_scale)
    return ends.outside(far, -0.5 * noise**2 - log_scale - _LOG_SQRT_TWO_PI)


def bounded_log_scale(raw: jax.Array) -> jax.Array:
    """``7 tanh(raw / 7)``, elementwise: the identity near 0, and scales within [1e-3, 1e3] for any output."""
    return _LOG_SCALE_BOUND * jnp.tanh(raw / _LOG_SCALE_BOUND)


@compiled
def normal_kl_standard(mean: jax.Array, log_scale: ArrayLike) -> jax.Array:
    """``KL(N(mean, s^2) || N(0, 1)) = (s^2 - 1 - 2 log s + mean^2) / 2``, ``s = exp(log_scale)``, nats; elementwise.

    Relative precision is kept near the minimum: at ``s = 1 + 1e-5, mean = 1e-5``, where the divergence is
    1.4999966667e-10, the printed formula gives 5e-11 in float32.

    Source: Kingma and Welling, 2014, *Auto-encoding variational Bayes*, arXiv:1312.6114, appendix B.
    """
    mean, log_scale = broadcast_arguments(mean, log_scale)
    return 0.5 * (_expm1_minus(2.0 * log_scale) + mean**2)


@compiled
def normal_kl(
    mean_q: jax.Array, log_scale_q: ArrayLike, mean_p: ArrayLike, log_scale_p: ArrayLike
) -> jax.Array:
    """``KL(N(mean_q, s_q^2) || N(mean_p, s_p^2))``, nats; elementwise.

    It is `normal_kl_standard` of ``(mean_q - mean_p) / s_p`` and ``s_q / s_p``.
    """
    mean_q, log_scale_q, mean_p, log_scale_p = broadcast_arguments(
        mean_q, log_scale_q, mean_p, log_scale_p
    )
    return normal_kl_standard((mean_q - mean_p) * jnp.exp(-log_scale_p), log_scale_q - log_scale_p)


@compiled
def tril_normal_log_prob(x: jax.Array, mean: jax.Array, tril: jax.Array) -> jax.Array:
    """``log N(x; mean, L L^T) = -|L^-1 (x - mean)|^2 / 2 - sum_i log L_ii - d log(2 pi) / 2``, nats.

    Args:
      x: ``[*batch, d]``.
      mean: ``[*batch, d]``; batch axes broadcast.
      tril: ``L``, lower triangular with a positive diagonal, ``[*batch, d, d]``; batch axes broadcast.

    Returns:
      ``[*batch]``.
    """
    batch = jnp.broadcast_shapes(x.shape[:-1], mean.shape[:-1], tril.shape[:-2])
    size = x.shape[-1]
    shape = (*batch, size)
    offset = jnp.broadcast_to(x, shape) - jnp.broadcast_to(mean, shape)
    offset, verdict = ends.within(offset, 1, ends.largest(offset.dtype, 0.5))
    factor = jnp.broadcast_to(tril, (*shape, size))
    noise = jax.lax.linalg.triangular_solve(factor, offset[..., None], left_side=True, lower=True)[
        ..., 0
    ]
    log_prob = (normal_log_prob(noise, 0.0, 0.0) - _log_diagonal(factor)).sum(-1)
    return ends.judged(log_prob, verdict)


@compiled
def tril_normal_kl_standard(mean: jax.Array, tril: jax.Array) -> jax.Array:
    """``KL(N(mean, Sigma) || N(0, I)) = (tr Sigma + |mean|^2 - d - log det Sigma) / 2``, ``Sigma = L L^T``, nats.

    It is the trace of ``Sigma``; some texts print that of its inverse, with which the expression is no divergence.

    Args:
      mean: ``[*batch, d]``.
      tril: ``L``, lower triangular with a positive diagonal, ``[*batch, d, d]``; batch axes broadcast.

    Returns:
      ``[*batch]``, to the relative precision of `normal_kl_standard`.
    """
    diagonal = normal_kl_standard(mean, _log_diagonal(tril)).sum(-1)
    below = 0.5 * (jnp.tril(tril, -1) ** 2).sum((-2, -1))
    return diagonal + jnp.broadcast_to(below, diagonal.shape)


def _log_diagonal(tril: jax.Array) -> jax.Array:
    return jnp.log(jnp.diagonal(tril, axis1=-2, axis2=-1))


def _expm1_minus(v: jax.Array) -> jax.Array:
    """``exp(v) - 1 - v``, which is ``v^2 / 2`` near 0: by its series there, since the difference cancels."""
    near = jnp.abs(v) < 0.5
    # The inner where keeps powers of a large v, which overflow, out of the gradient.
    small = jnp.where(near, v, jnp.zeros_like(v))
    series = jnp.full_like(v, _SERIES[-1])
    for coefficient in _SERIES[-2::-1]:
        series = series * small + coefficient
    return jnp.where(near, series * small**2, jnp.expm1(v) - v)
