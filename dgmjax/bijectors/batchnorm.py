"""Batch normalization as an elementwise map with given statistics, and the statistics of a batch."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.bijectors.affine import affine_forward, affine_inverse
from dgmjax.checks import widened
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.moments import moments


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


@compiled
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


@compiled
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


def feature_rows(x: jax.Array, *, where: str) -> jax.Array:
    """``[..., c] -> [n, c]``, in float32 at least.

    Raises:
      ValueError: a single value a feature, which has no variance.
    """
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    if len(rows) < 2:
        raise ValueError(
            f"{where}: expected at least 2 values a feature, got {len(rows)} (x of shape {x.shape}); "
            f"a variance needs a batch."
        )
    return widened(rows)


def batch_statistics(x: jax.Array, *, where: str) -> tuple[jax.Array, jax.Array]:
    """Mean and variance of every feature, the last axis, over all other axes, each ``[c]``; in float32 at least.

    The variance is divided by the number of values; one that float32 does not hold is its largest number.

    Args:
      x: ``[..., c]``.
      where: who asks, for the error.

    Raises:
      ValueError: a single value a feature, which has no variance; or, outside of transformations, one whose variance
        overflows or vanishes.
    """
    mean, log_std = moments(feature_rows(x, where=where))
    _check_scale(log_std, where)
    # Log by log, since derivatives at the ends of exp are infinity times zero.
    longest = math.log(float(jnp.finfo(log_std.dtype).max)) - 1e-2
    varies = log_std > -0.5 * longest
    log_variance = jnp.minimum(2.0 * jnp.where(varies, log_std, 0.0), longest)
    return mean, jnp.where(varies, jnp.exp(log_variance), 0.0)


def _check_scale(log_std: jax.Array, where: str) -> None:
    if isinstance(log_std, jax.core.Tracer):
        return
    limits = jnp.finfo(log_std.dtype)
    low, high = 0.5 * math.log(float(limits.tiny)), 0.5 * math.log(float(limits.max))
    bad = ((log_std > high) | ((log_std < low) & (log_std > -jnp.inf))).nonzero()[0]
    if bad.size:
        raise ValueError(
            f"{where}: feature {int(bad[0])} has a standard deviation of {math.exp(float(log_std[bad[0]])):.3g}, whose "
            f"square {log_std.dtype} does not hold; put dgmjax.Standardize in front of this layer, or change the unit."
        )


def check_batch_norm(momentum: float, epsilon: float) -> None:
    """Reject settings out of range.

    Raises:
      ValueError: ``momentum`` not in ``[0, 1)``, or ``epsilon`` not positive.
    """
    if not 0 <= momentum < 1 or epsilon <= 0:
        raise ValueError(
            f"BatchNorm: expected 0 <= momentum < 1 and epsilon > 0, got {momentum} and {epsilon}."
        )


def _log_scale(params: BatchNormParams, epsilon: float) -> jax.Array:
    return 0.5 * jnp.log(params.variance + epsilon) - params.log_gain
