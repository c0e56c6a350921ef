"""The latent variable model with everything in closed form: linear, with normal latents and normal noise."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dgmjax.numerics import ends
from dgmjax.numerics.compiled import compiled

_LOG_TWO_PI = math.log(2.0 * math.pi)
_PRECISION = jax.lax.Precision.HIGHEST


@compiled
def linear_gaussian_log_prob(
    x: jax.Array, weight: jax.Array, bias: jax.Array, log_scale: ArrayLike
) -> jax.Array:
    """``log p(x) = log N(x; b, W W^T + s^2 I)`` of ``x = W z + b + s noise``, ``z ~ N(0, I)``, nats.

    With the precision ``M = I + W^T W / s^2`` and the mean ``m`` of the posterior,
    ``log p(x) = -(|x - b - W m|^2 / s^2 + |m|^2 + log det M) / 2 - n log s - n log(2 pi) / 2``: the matrix has the size
    of the latents (lemmas of Woodbury and of the determinant), and the quadratic form is a sum of squares, where the
    usual ``|x - b|^2 / s^2 - u^T M^-1 u`` is a difference of large numbers for small noise.

    Args:
      x: events ``[*batch, n]``.
      weight: ``W``, ``[n, d]``.
      bias: ``b``, ``[n]``.
      log_scale: ``log s``, a number.

    Returns:
      ``[*batch]``.

    Source: Tipping and Bishop, 1999, *Probabilistic principal component analysis*, equations 4 and 5.
    """
    noise, loading, log_scale = _whitened(x, weight, bias, log_scale)
    noise, verdict = ends.within(noise, 1, ends.largest(noise.dtype, 0.5))
    mean, tril = _posterior(noise, loading)
    rest = noise - jnp.matmul(mean, loading.T, precision=_PRECISION)
    square = (rest**2).sum(-1) + (mean**2).sum(-1)
    half_log_det = -jnp.log(jnp.diagonal(tril)).sum()
    constant = half_log_det + x.shape[-1] * (log_scale + 0.5 * _LOG_TWO_PI)
    return ends.judged(-0.5 * square - jnp.broadcast_to(constant, square.shape), verdict)


@compiled
def linear_gaussian_posterior(
    x: jax.Array, weight: jax.Array, bias: jax.Array, log_scale: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    """``p(z | x) = N(M^-1 W^T (x - b) / s^2, M^-1)``, ``M = I + W^T W / s^2``; arguments of `linear_gaussian_log_prob`.

    Returns:
      The mean ``[*batch, d]`` and ``L`` of the covariance ``L L^T``, which is that of all events: ``[d, d]``, lower
      triangular with a positive diagonal.

    Source: Tipping and Bishop, 1999, *Probabilistic principal component analysis*, equation 6.
    """
    noise, loading, _ = _whitened(x, weight, bias, log_scale)
    return _posterior(noise, loading)


def _whitened(
    x: jax.Array, weight: jax.Array, bias: jax.Array, log_scale: ArrayLike
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``(x - b) / s``, ``W / s`` and ``log s``, in the dtype of ``x``."""
    log_scale = jnp.asarray(log_scale, x.dtype)
    inverse = jnp.exp(-log_scale)
    return (x - jnp.broadcast_to(bias, x.shape)) * inverse, weight * inverse, log_scale


def _posterior(noise: jax.Array, loading: jax.Array) -> tuple[jax.Array, jax.Array]:
    identity = jnp.eye(loading.shape[1], dtype=loading.dtype)
    precision = identity + jnp.matmul(loading.T, loading, precision=_PRECISION)
    # With M = U U^T, U upper triangular, the covariance is U^-T U^-1, and U^-T is lower triangular. Cholesky's lower
    # factor of M with rows and columns reversed is U reversed.
    reversed_factor = jax.lax.linalg.cholesky(precision[::-1, ::-1], symmetrize_input=False)
    upper = reversed_factor[::-1, ::-1]
    tril = jax.lax.linalg.triangular_solve(
        upper, identity, left_side=True, lower=False, transpose_a=True
    )
    projected = jnp.matmul(noise, loading, precision=_PRECISION)
    half = jnp.matmul(projected, tril, precision=_PRECISION)
    return jnp.matmul(half, tril.T, precision=_PRECISION), tril
