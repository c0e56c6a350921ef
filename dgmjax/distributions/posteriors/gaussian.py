"""Gaussian posteriors, with a diagonal and with a full covariance."""

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.checks import as_shape, widened
from dgmjax.densities.normal import (
    bounded_log_scale,
    normal_kl_standard,
    normal_log_prob,
    tril_normal_kl_standard,
    tril_normal_log_prob,
)
from dgmjax.distributions.posteriors.base import Posterior, check_dim
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled

_PRECISION = jax.lax.Precision.HIGHEST


@recorded
class DiagonalGaussian(Posterior):
    """``q(z | features) = N(mean, diag(sigma^2))``, drawn as ``z = mean + sigma * noise``, ``noise ~ N(0, I)``.

    The features are the mean and then the raw log-standard-deviation, ``log sigma = 7 tanh(raw / 7)``: the identity
    near 0, and bounded, so that no encoder can overflow the density. Features of zero are the standard normal.

    Args:
      dim: number of latents ``d``; the features have ``2 d`` numbers.

    Raises:
      ValueError: no latents.

    Source: Kingma and Welling, 2014, *Auto-encoding variational Bayes*, arXiv:1312.6114, section 3.
    """

    centre_is_mean = True

    def __init__(self, dim: int):
        check_dim(dim, where="DiagonalGaussian")
        self.event_shape = (dim,)
        self.feature_size = 2 * dim

    @compiled
    def moments(self, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean and log-standard-deviation, each ``[*batch, d]``."""
        self._check_features(features, "moments")
        mean, raw = jnp.split(features, 2, axis=-1)
        return mean, bounded_log_scale(raw)

    def centre(self, features: jax.Array) -> jax.Array:
        """The mean, ``[*batch, d]``."""
        return self.moments(features)[0]

    @compiled
    def sample_and_log_prob(
        self, features: jax.Array, *, seed: jax.Array, sample_shape: int | tuple[int, ...] = ()
    ) -> tuple[jax.Array, jax.Array]:
        """Reparametrised draws ``[*sample_shape, *batch, d]`` and log-densities ``[*sample_shape, *batch]``."""
        mean, log_std = self.moments(features)
        noise = _noise(seed, (*as_shape(sample_shape), *mean.shape), mean.dtype)
        log_std = jnp.broadcast_to(log_std, noise.shape)
        z = jnp.broadcast_to(mean, noise.shape) + jnp.exp(log_std) * noise
        return z, widened(normal_log_prob(noise, 0.0, 0.0) - log_std).sum(-1)

    @compiled
    def log_prob(self, z: jax.Array, features: jax.Array) -> jax.Array:
        """``[*batch, d]`` and features to ``[*batch]``, nats."""
        z = self._joined(z, features)
        return widened(normal_log_prob(z, *self.moments(features))).sum(-1)

    @compiled
    def kl_standard_normal(self, features: jax.Array) -> jax.Array:
        """``[*batch, d]``: ``(sigma^2 - 1 - 2 log sigma + mean^2) / 2`` of every dimension, nats."""
        return widened(normal_kl_standard(*self.moments(features)))

    @compiled
    def pairwise_log_prob(self, z: jax.Array, features: jax.Array) -> jax.Array:
        """``[m, d]`` and ``[n, 2 d]`` to ``[m, n]``, nats, by two products of matrices.

        ``sum (z - mean)^2 / sigma^2 = z^2 @ (1 / sigma^2) - 2 z @ (mean / sigma^2) + sum mean^2 / sigma^2`` about the
        centre of the means. The terms cancel where a mean is many sigmas from that centre: with a sum of ``t`` squared
        sigmas the rounding is about ``t eps``, 1e-3 nats in float32 at ``t = 10^4``.
        """
        mean, log_std = self.moments(features)
        # The sum does not depend on the centre, so its gradient is rounding only.
        centre = jax.lax.stop_gradient(mean.mean(0, keepdims=True))
        z, mean = (value - jnp.broadcast_to(centre, value.shape) for value in (z, mean))
        precision = jnp.exp(-2.0 * log_std)
        square = jnp.matmul(z**2, precision.T, precision=_PRECISION)
        square = square - 2.0 * jnp.matmul(z, (mean * precision).T, precision=_PRECISION)
        at_mean = normal_log_prob(mean, mean, log_std).sum(-1)
        rest = at_mean - 0.5 * (mean**2 * precision).sum(-1)
        return widened(jnp.broadcast_to(rest, square.shape) - 0.5 * square)


@recorded
class FullCovarianceGaussian(Posterior):
    """``q(z | features) = N(mean, L L^T)``, drawn as ``z = mean + L noise``, ``noise ~ N(0, I)``.

    ``L`` is lower triangular. The features are the mean, the raw logarithms of the diagonal of ``L``,
    ``log L_ii = 7 tanh(raw / 7)``, and the ``d (d - 1) / 2`` numbers below it, row after row. Features of zero are the
    standard normal.

    Args:
      dim: number of latents ``d``; the features have ``d + d (d + 1) / 2`` numbers.

    Raises:
      ValueError: no latents.

    Source: Kingma and Welling, 2019, *An introduction to variational autoencoders*, arXiv:1906.02691, section 2.5.1.
    """

    centre_is_mean = True

    def __init__(self, dim: int):
        check_dim(dim, where="FullCovarianceGaussian")
        self.event_shape = (dim,)
        self.feature_size = 2 * dim + dim * (dim - 1) // 2

    @compiled
    def moments(self, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean ``[*batch, d]`` and factor ``L`` of the covariance, ``[*batch, d, d]``."""
        self._check_features(features, "moments")
        (size,) = self.event_shape
        mean, raw, below = jnp.split(features, (size, 2 * size), axis=-1)
        rows, columns = np.tril_indices(size, -1)
        diagonal = np.arange(size)
        tril = jnp.zeros((*mean.shape, size), features.dtype).at[..., rows, columns].set(below)
        return mean, tril.at[..., diagonal, diagonal].set(jnp.exp(bounded_log_scale(raw)))

    def centre(self, features: jax.Array) -> jax.Array:
        """The mean, ``[*batch, d]``."""
        return self.moments(features)[0]

    @compiled
    def sample_and_log_prob(
        self, features: jax.Array, *, seed: jax.Array, sample_shape: int | tuple[int, ...] = ()
    ) -> tuple[jax.Array, jax.Array]:
        """Reparametrised draws ``[*sample_shape, *batch, d]`` and log-densities ``[*sample_shape, *batch]``."""
        mean, tril = self.moments(features)
        noise = _noise(seed, (*as_shape(sample_shape), *mean.shape), mean.dtype)
        moved = jnp.einsum("...ij,...j->...i", tril, noise, precision=_PRECISION)
        log_scale = jnp.log(jnp.diagonal(tril, axis1=-2, axis2=-1))
        log_q = normal_log_prob(noise, 0.0, 0.0) - jnp.broadcast_to(log_scale, noise.shape)
        return jnp.broadcast_to(mean, noise.shape) + moved, widened(log_q).sum(-1)

    @compiled
    def log_prob(self, z: jax.Array, features: jax.Array) -> jax.Array:
        """``[*batch, d]`` and features to ``[*batch]``, nats."""
        z = self._joined(z, features)
        return widened(tril_normal_log_prob(z, *self.moments(features)))

    @compiled
    def kl_standard_normal(self, features: jax.Array) -> jax.Array:
        """``[*batch, 1]``: ``(tr Sigma + |mean|^2 - d - log det Sigma) / 2``, nats."""
        return widened(tril_normal_kl_standard(*self.moments(features)))[..., None]

    @compiled
    def pairwise_log_prob(self, z: jax.Array, features: jax.Array) -> jax.Array:
        """``[m, d]`` and ``[n, feature_size]`` to ``[m, n]``, nats: one triangular system with ``m`` columns each."""
        mean, tril = self.moments(features)
        shape = (len(mean), *self.event_shape, len(z))
        offset = jnp.broadcast_to(z.T, shape) - jnp.broadcast_to(mean[..., None], shape)
        noise = jax.lax.linalg.triangular_solve(tril, offset, left_side=True, lower=True)
        log_scale = jnp.log(jnp.diagonal(tril, axis1=-2, axis2=-1)).sum(-1)
        log_q = normal_log_prob(noise, 0.0, 0.0).sum(-2)
        return widened(log_q - jnp.broadcast_to(log_scale[:, None], log_q.shape)).T


def _noise(seed: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    return prng.draw(lambda key, rest: jax.random.normal(key, rest, dtype), seed, shape)
