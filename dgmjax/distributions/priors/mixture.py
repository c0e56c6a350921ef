"""A learned mixture of Gaussians."""

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.checks import as_shape, check_float_event, widened
from dgmjax.densities.normal import normal_log_prob
from dgmjax.distributions.base import Density
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled


@recorded
class GaussianMixture(Density):
    """``p(z) = sum_k pi_k N(z; mean_k, diag(sigma_k^2))``, ``pi = softmax(logits)``; all parameters are learned.

    The log-density of a component is the sum over its dimensions, and the log-sum-exp runs over components,
    ``log p(z) = logsumexp_k (log pi_k + sum_i log N(z_i; mean_ki, sigma_ki^2))``; in the other order it would be the
    product of the marginals, whose modes are all combinations of those of the mixture.

    It starts with equal weights, unit scales and means drawn from the standard normal.

    Args:
      dim: number of latents ``d``.
      num_components: ``K``.
      rngs: ``nnx.Rngs`` for the initial means.

    Raises:
      ValueError: no latents or no components.
    """

    def __init__(self, dim: int, num_components: int, *, rngs: nnx.Rngs):
        if dim < 1 or num_components < 1:
            raise ValueError(
                f"GaussianMixture: dim and num_components must be at least 1, got {dim} and {num_components}."
            )
        self.event_shape = (dim,)
        shape = (num_components, dim)
        self.logits = nnx.Param(jnp.zeros(num_components, jnp.float32))
        self.means = nnx.Param(jax.random.normal(rngs.params(), shape, jnp.float32))
        self.log_scales = nnx.Param(jnp.zeros(shape, jnp.float32))

    @compiled
    def log_prob(self, z: jax.Array) -> jax.Array:
        """``[*batch, d] -> [*batch]``, nats."""
        check_float_event(z, self.event_shape, where="GaussianMixture.log_prob")
        parts = normal_log_prob(z[..., None, :], self.means[...], self.log_scales[...])
        components = widened(parts).sum(-1)
        weights = jax.nn.log_softmax(widened(self.logits[...]))
        return jax.nn.logsumexp(jnp.broadcast_to(weights, components.shape) + components, axis=-1)

    @compiled
    def sample(self, *, seed: jax.Array, sample_shape: int | tuple[int, ...] = ()) -> jax.Array:
        """Draw ``[*sample_shape, d]``: a component, and a latent from it.

        Args:
          seed: typed key; or keys, one for each of the first axes of ``sample_shape``.
          sample_shape: int or tuple.
        """
        key, seed = prng.split(seed)
        logits, means, log_scales = self.logits[...], self.means[...], self.log_scales[...]
        shape = as_shape(sample_shape)
        index = prng.draw(
            lambda one, rest: jax.random.categorical(one, logits, shape=rest), key, shape
        )
        noise = prng.draw(
            lambda one, rest: jax.random.normal(one, rest, means.dtype),
            seed,
            (*shape, *self.event_shape),
        )
        return means[index] + jnp.exp(log_scales[index]) * noise
