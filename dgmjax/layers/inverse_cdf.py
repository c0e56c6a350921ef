"""Layers that map uniform noise to a given distribution: inverse CDF and Rosenblatt transform."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.bijectors.inverse_cdf import Family, inverse_cdf_forward, inverse_cdf_inverse
from dgmjax.bijectors.rosenblatt import (
    NORMAL_MIXTURES,
    gaussian_mixture_conditional,
    rosenblatt_forward,
    rosenblatt_inverse,
)
from dgmjax.layers.bijector import Bijector, event_axes
from dgmjax.layers.distrax_attribute import distrax_attribute
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics.tails import log_tails, over_batch


@recorded
class InverseCDF(Bijector):
    """``x = F^-1(u)``, elementwise: ``U(0, 1)`` latents to the distribution ``dist``; ``log_det = -log p(x)``.

    Uses ``dist.icdf`` or ``dist.quantile`` if there is one (distrax has none) and otherwise solves ``F(x) = u`` by a
    bracketed Newton iteration with implicit gradients. ``F`` comes from ``log_cdf`` and ``log_survival_function``, or,
    for mixtures of scalars (``distrax.MixtureSameFamily``), from those of the components.

    Args:
      dist: distribution of scalars, a pytree, with ``log_prob``; its batch shape is ``()`` or ``event_shape``.
      event_shape: shape of one event.
      support: ends of the interval where the density is positive, e.g. ``(0.0, math.inf)`` for a gamma distribution.

    Raises:
      ValueError: ``dist`` has an event shape, or another batch shape than the event.

    Accuracy: see `dgmjax.bijectors.inverse_cdf_forward`; far in the upper tail ``u`` rounds to 1.
    """

    reach = "finite"
    dist = distrax_attribute()

    def __init__(
        self,
        dist: Any,
        event_shape: Sequence[int],
        *,
        support: tuple[float, float] = (-math.inf, math.inf),
    ):
        self.event_shape = tuple(event_shape)
        batch = tuple(getattr(dist, "batch_shape", ()))
        if tuple(getattr(dist, "event_shape", ())) or batch not in ((), self.event_shape):
            raise ValueError(
                f"InverseCDF: expected a distribution of scalars with batch_shape () or {self.event_shape}, got "
                f"event_shape {dist.event_shape} and batch_shape {batch}; for vectors see GaussianMixtureRosenblatt."
            )
        self.dist = nnx.data(dist)
        self.support = (float(support[0]), float(support[1]))

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent (in the unit cube) to data."""
        x, log_derivative = inverse_cdf_forward(z, self._family(), self.dist)
        return x, log_derivative.sum(event_axes(self.event_shape))

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent (in the unit cube)."""
        z, log_derivative = inverse_cdf_inverse(x, self._family(), self.dist)
        return z, log_derivative.sum(event_axes(self.event_shape))

    def _family(self) -> Family:
        names = [name for name in ("icdf", "quantile") if hasattr(self.dist, name)]
        return Family(_log_tails, _log_prob, _ICDF[names[0]] if names else None, self.support)


def _over_dist(method: Any, x: jax.Array, dist: Any) -> Any:
    # One call of exactly its batch shape: then objects that broadcast loosely meet no new axes.
    return over_batch(method, x, tuple(getattr(dist, "batch_shape", ())))


def _log_tails(x: jax.Array, dist: Any) -> tuple[jax.Array, jax.Array]:
    return _over_dist(lambda x: log_tails(dist, x), x, dist)


def _log_prob(x: jax.Array, dist: Any) -> jax.Array:
    return _over_dist(dist.log_prob, x, dist)


def _icdf(u: jax.Array, dist: Any) -> jax.Array:
    return _over_dist(dist.icdf, u, dist)


def _quantile(u: jax.Array, dist: Any) -> jax.Array:
    return _over_dist(dist.quantile, u, dist)


_ICDF = {"icdf": _icdf, "quantile": _quantile}


@recorded
class GaussianMixtureRosenblatt(Bijector):
    """``x_i = F_i^-1(u_i | x_<i)`` of a Gaussian mixture: ``U(0, 1)^D`` latents to the mixture, exactly.

    Over a uniform base the flow's density is that of the mixture: ``inverse_log_det`` is its ``log p(x)``. Weights,
    means and Cholesky factors ``L_k`` (strict lower part and log-diagonal) are parameters.

    Args:
      weights: ``[K]``, positive; normalized here. Pass NumPy arrays or lists, so that the layer can be saved.
      means: ``[K, D]``.
      covariances: ``[K, D, D]``, positive definite, or variances ``[K, D]`` of components with diagonal covariance,
        which then stay diagonal.

    Raises:
      ValueError: shapes that do not fit, weights that are not positive, or covariances that are not positive definite.

    Source: see `dgmjax.bijectors.rosenblatt`.
    """

    def __init__(self, weights: Any, means: Any, covariances: Any):
        weights, means, covariances = (np.asarray(a, float) for a in (weights, means, covariances))
        if means.ndim != 2 or weights.shape != means.shape[:1] or not (weights > 0).all():
            raise ValueError(
                f"GaussianMixtureRosenblatt: expected positive weights [K] and means [K, D], got shapes "
                f"{weights.shape} and {means.shape}, smallest weight {weights.min(initial=0.0)}."
            )
        count, size = means.shape
        self.event_shape = (size,)
        full = covariances.shape == (count, size, size)
        if not full and covariances.shape != means.shape:
            raise ValueError(
                f"GaussianMixtureRosenblatt: expected covariances {(count, size, size)} or variances {means.shape}, "
                f"got {covariances.shape}."
            )
        try:
            scales = np.linalg.cholesky(covariances) if full else _positive_sqrt(covariances)
        except np.linalg.LinAlgError as error:
            raise ValueError(
                "GaussianMixtureRosenblatt: a covariance is not positive definite; add a multiple of the identity."
            ) from error
        diagonal = np.diagonal(scales, axis1=-2, axis2=-1) if full else scales
        self.logits = nnx.Param(jnp.asarray(np.log(weights / weights.sum()), jnp.float32))
        self.means = nnx.Param(jnp.asarray(means, jnp.float32))
        self.log_diagonal = nnx.Param(jnp.asarray(np.log(diagonal), jnp.float32))
        rows, columns = np.tril_indices(size, -1)
        self.lower = (
            nnx.Param(jnp.asarray(scales[:, rows, columns], jnp.float32))
            if full and size > 1
            else None
        )

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent (in the unit cube) to data."""
        return rosenblatt_forward(z, NORMAL_MIXTURES, self._conditional())

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent (in the unit cube)."""
        return rosenblatt_inverse(x, NORMAL_MIXTURES, self._conditional())

    def _conditional(self) -> Any:
        (size,) = self.event_shape
        diagonal = jnp.exp(self.log_diagonal[...])
        scale_trils = jax.vmap(jnp.diag)(diagonal)
        if self.lower is not None:
            rows, columns = np.tril_indices(size, -1)
            scale_trils = scale_trils.at[:, rows, columns].set(self.lower[...])
        return functools.partial(
            gaussian_mixture_conditional,
            logits=self.logits[...],
            means=self.means[...],
            scale_trils=scale_trils,
        )


def _positive_sqrt(variances: np.ndarray) -> np.ndarray:
    if not (variances > 0).all():
        raise np.linalg.LinAlgError("variances must be positive")
    return np.sqrt(variances)
