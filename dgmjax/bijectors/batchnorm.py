"""Batch normalization as an elementwise map with given statistics."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.bijectors.affine import affine_forward, affine_inverse


class BatchNormParams(NamedTuple):
    """What the map depends on, each ``[c]`` for features along the last axis.

    Attributes:
      mean: ``m``, the mean of the data.
      variance: ``v``, the variance of the data.
      offset: ``beta``, the mean of the latents.
      log_gain: ``gamma``, log of the standard deviation of the latents.
    """

    mean: jax.Array
    variance: jax.Array
    offset: jax.Array
    log_gain: jax.Array


def batch_norm_forward(
    z: jax.Array, params: BatchNormParams, *, epsilon: float
) -> tuple[jax.Array, jax.Array]:
    """``x = (z - beta) exp(-gamma) sqrt(v + epsilon) + m``, latent to data.

    Args:
      z: latent, ``[..., c]``.
      params: statistics and learned values.
      epsilon: added to the variance, so that constant features keep a finite scale.

    Returns:
      ``x`` and the elementwise log-derivative ``log(v + epsilon) / 2 - gamma``, both with the shape of ``z``.

    Source: Papamakarios et al., 2017, *Masked autoregressive flow*, arXiv:1705.07057, appendix "Batch normalization".
    """
    centred = z - jnp.broadcast_to(params.offset, z.shape)
    return affine_forward(centred, params.mean, _log_scale(params, epsilon))


def batch_norm_inverse(
    x: jax.Array, params: BatchNormParams, *, epsilon: float
) -> tuple[jax.Array, jax.Array]:
    """``z = (x - m) exp(gamma) / sqrt(v + epsilon) + beta``, data to latent: the inverse of `batch_norm_forward`.

    Returns:
      ``z`` and the elementwise log-derivative ``gamma - log(v + epsilon) / 2``, both with the shape of ``x``.

    Source: Papamakarios et al., 2017, arXiv:1705.07057, appendix "Batch normalization"; with
      ``beta = gamma = 0`` Dinh et al., 2017, arXiv:1605.08803, appendix E.
    """
    centred, log_derivative = affine_inverse(x, params.mean, _log_scale(params, epsilon))
    return centred + jnp.broadcast_to(params.offset, x.shape), log_derivative


def _log_scale(params: BatchNormParams, epsilon: float) -> jax.Array:
    return 0.5 * jnp.log(params.variance + epsilon) - params.log_gain
