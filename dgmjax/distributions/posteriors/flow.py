"""A posterior pushed through a bijector."""

import jax

from dgmjax.distributions.posteriors.base import Posterior
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics.compiled import compiled


@recorded
class FlowPosterior(Posterior):
    """``z = bijector.forward(z0, context)``, ``z0 ~ base``: ``log q(z) = log q0(z0) - log |det dz/dz0|``.

    The features are those of the base and then the context of the bijector. A bijector without context is one map
    for all examples.

    Args:
      base: posterior of ``z0``, e.g. `DiagonalGaussian`.
      bijector: its latents are events of the base, its events are vectors ``(d,)``; ``context_shape`` is ``(c,)`` or
        None. Its forward direction should be the fast one.

    Raises:
      ValueError: shapes of base and bijector that do not fit.

    Source: Rezende and Mohamed, 2015, *Variational inference with normalizing flows*, arXiv:1505.05770, section 3.
    """

    def __init__(self, base: Posterior, bijector: Bijector):
        if bijector.latent_shape != base.event_shape or len(bijector.event_shape) != 1:
            raise ValueError(
                f"FlowPosterior: expected a bijector from latents {base.event_shape}, the events of the base, to "
                f"vectors, got one from {bijector.latent_shape} to {bijector.event_shape}."
            )
        context_shape = bijector.context_shape
        if context_shape is not None and len(context_shape) != 1:
            raise ValueError(
                f"FlowPosterior: the context is a part of the features, so the bijector must take a vector (c,), "
                f"got context_shape {context_shape}."
            )
        self.base = base
        self.bijector = bijector
        self.event_shape = bijector.event_shape
        self.feature_size = base.feature_size + (0 if context_shape is None else context_shape[0])

    @compiled
    def sample_parts(
        self, features: jax.Array, *, seed: jax.Array, sample_shape: int | tuple[int, ...] = ()
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """The draw before the bijector and what the bijector makes of it, for bounds that use them apart.

        Returns:
          ``z0`` ``[*sample_shape, *batch, d]``, ``log q0(z0)`` ``[*sample_shape, *batch]``, ``z``, and
          ``log |det dz/dz0|`` of the same shapes; ``log q(z)`` is the difference of the second and the fourth.
        """
        self._check_features(features, "sample_parts")
        own, context = self._split(features)
        z0, log_q0 = self.base.sample_and_log_prob(own, seed=seed, sample_shape=sample_shape)
        z, log_det = self.bijector.forward_and_log_det(z0, context)
        return z0, log_q0, z, log_det

    def centre(self, features: jax.Array) -> jax.Array:
        """The centre of the base, moved by the bijector, ``[*batch, d]``; not the mean, which has no formula."""
        self._check_features(features, "centre")
        own, context = self._split(features)
        return self.bijector.forward(self.base.centre(own), context)

    @compiled
    def sample_and_log_prob(
        self, features: jax.Array, *, seed: jax.Array, sample_shape: int | tuple[int, ...] = ()
    ) -> tuple[jax.Array, jax.Array]:
        """Reparametrised draws ``[*sample_shape, *batch, d]`` and log-densities, without inverting the bijector."""
        _, log_q0, z, log_det = self.sample_parts(features, seed=seed, sample_shape=sample_shape)
        return z, log_q0 - log_det

    @compiled
    def log_prob(self, z: jax.Array, features: jax.Array) -> jax.Array:
        """``[*batch, d]`` and features to ``[*batch]``, nats, by the inverse of the bijector."""
        z = self._joined(z, features)
        own, context = self._split(features)
        z0, log_det = self.bijector.inverse_and_log_det(z, context)
        return self.base.log_prob(z0, own) + log_det

    def _split(self, features: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Features of the base, and the context or None."""
        size = self.base.feature_size
        context = None if self.bijector.context_shape is None else features[..., size:]
        return features[..., :size], context
