"""The contract of posteriors: densities whose parameters are the output of an encoder."""

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.checks import Shape, batch_shape, check_float_event
from dgmjax.nets.summary import Module
from dgmjax.numerics.compiled import compiled


class Posterior(Module):
    """``q(z | features)``: the output of an encoder, a vector an example, holds the parameters of the density.

    A subclass sets the first two attributes and implements `sample_and_log_prob` and `log_prob`; where the
    divergence from the standard normal has a closed form, `kl_standard_normal` too.

    Attributes:
      event_shape: ``(d,)``, shape of one latent.
      feature_size: length of the features of one example.
      centre_is_mean: whether `centre` is the mean of the density, as a Gaussian's is.
    """

    event_shape: tuple[int, ...]
    feature_size: int
    centre_is_mean: bool = False

    def sample_and_log_prob(
        self, features: jax.Array, *, seed: jax.Array, sample_shape: int | tuple[int, ...] = ()
    ) -> tuple[jax.Array, jax.Array]:
        """Reparametrised draws and their log-densities: gradients reach the features through both.

        Args:
          features: ``[*batch, feature_size]``.
          seed: typed key; or keys, one for each of the first axes of what is drawn.
          sample_shape: int or tuple.

        Returns:
          ``z`` of shape ``[*sample_shape, *batch, d]`` and ``log q(z | features)``, ``[*sample_shape, *batch]``, nats.
        """
        raise NotImplementedError(f"{type(self).__name__} has no sample_and_log_prob.")

    def log_prob(self, z: jax.Array, features: jax.Array) -> jax.Array:
        """``log q(z | features)`` in nats.

        Args:
          z: ``[*batch, d]``.
          features: ``[*batch, feature_size]``; the batch axes of both broadcast against each other.

        Returns:
          ``[*batch]``, of the shape to which the batch axes broadcast.
        """
        raise NotImplementedError(f"{type(self).__name__} has no log_prob.")

    @compiled
    def sample(
        self, features: jax.Array, *, seed: jax.Array, sample_shape: int | tuple[int, ...] = ()
    ) -> jax.Array:
        """The draws of `sample_and_log_prob` alone."""
        return self.sample_and_log_prob(features, seed=seed, sample_shape=sample_shape)[0]

    def centre(self, features: jax.Array) -> jax.Array:
        """The point that stands for the density, ``[*batch, d]``: a Gaussian's mean, of a flow the image of its base's.

        Raises:
          NotImplementedError: the posterior has no such point.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no centre, so a model with it has no codes; write centre(features), the point "
            f"that stands for the density."
        )

    @compiled
    def kl_standard_normal(self, features: jax.Array) -> jax.Array | None:
        """``KL(q(. | features) || N(0, I))`` in nats, ``[*batch, groups]``, or None where it has no closed form.

        The groups add up to the divergence: one a dimension where it decomposes, else a single one.
        """
        del features
        return None

    @compiled
    def pairwise_log_prob(self, z: jax.Array, features: jax.Array) -> jax.Array:
        """``log q(z_j | features_i)`` for all pairs: ``z [m, d]``, ``features [n, feature_size]`` to ``[m, n]``."""
        return self.log_prob(z[:, None], features[None])

    def _check_features(self, features: jax.Array, method: str) -> Shape:
        """The batch axes of the features."""
        where = f"{type(self).__name__}.{method} (features)"
        return batch_shape(features, (self.feature_size,), where=where)

    def _joined(self, z: jax.Array, features: jax.Array) -> jax.Array:
        """``z``, with the batch axes of the features broadcast into its own.

        Raises:
          ValueError: wrong event, wrong feature size, or batch axes that do not broadcast.
          TypeError: integer latents.
        """
        where = f"{type(self).__name__}.log_prob"
        batch = check_float_event(z, self.event_shape, where=where)
        rows = self._check_features(features, "log_prob")
        try:
            joint = np.broadcast_shapes(batch, rows)
        except ValueError:
            raise ValueError(
                f"{where}: the batch axes {batch} of z and {rows} of the features do not broadcast; pass one row of "
                f"features for every z, or use pairwise_log_prob for all pairs."
            ) from None
        return jnp.broadcast_to(z, (*joint, *self.event_shape))


def check_dim(dim: int, *, where: str) -> None:
    """Reject an empty latent.

    Raises:
      ValueError: ``dim`` is below 1.
    """
    if dim < 1:
        raise ValueError(f"{where}: expected at least one latent dimension, got dim={dim}.")
