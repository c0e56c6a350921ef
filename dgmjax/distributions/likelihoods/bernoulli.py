"""Binary data."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dgmjax.distributions.likelihoods.base import Likelihood
from dgmjax.layers.serialization.recorded import recorded


@recorded
class Bernoulli(Likelihood):
    """``log P(x) = sum_i x_i l_i - log(1 + exp(l_i))``, ``x_i`` in {0, 1}: ``P(x_i = 1) = sigmoid(l_i)``.

    The network gives the logits ``l``, ``[*event]``.

    Args:
      event_shape: shape of one event.

    Source: Kingma and Welling, 2014, *Auto-encoding variational Bayes*, arXiv:1312.6114, appendix C.1.
    """

    def __init__(self, event_shape: Sequence[int]):
        super().__init__(event_shape, event_shape, num_levels=2)

    def _log_probs(self, x: jax.Array, output: jax.Array) -> jax.Array:
        # The printed difference of two large numbers is log sigmoid(+-l), which keeps its digits.
        log_probs = jax.nn.log_sigmoid(jnp.where(x == 1, output, -output))
        return jnp.where((x == 0) | (x == 1), log_probs, -jnp.inf)

    def _draw(self, key: jax.Array, output: jax.Array) -> jax.Array:
        uniform = jax.random.uniform(key, output.shape, output.dtype)
        return (uniform < jax.nn.sigmoid(output)).astype(jnp.int32)

    def _mean(self, output: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(output)
