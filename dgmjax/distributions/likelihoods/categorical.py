"""Data of a few levels, any distribution of each element."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dgmjax.densities.rgb_mixture import categorical_pixel_log_prob, categorical_pixel_sample
from dgmjax.distributions.likelihoods.base import Likelihood
from dgmjax.layers.serialization.recorded import recorded


@recorded
class Categorical(Likelihood):
    """``log P(x) = sum_i log softmax(l_i)[x_i]``: one softmax over the levels for every element.

    The network gives the logits ``l``, ``[*event, num_levels]``. Levels that no data show keep no probability, where
    `DiscretizedLogisticMixture` gives them that of their neighbours.

    Args:
      event_shape: shape of one event.
      num_levels: values an element can take.

    Raises:
      ValueError: fewer than 2 levels.
    """

    num_levels: int

    def __init__(self, event_shape: Sequence[int], num_levels: int):
        super().__init__(event_shape, (*event_shape, num_levels), num_levels)

    def _log_probs(self, x: jax.Array, output: jax.Array) -> jax.Array:
        return categorical_pixel_log_prob(x[..., None], self.num_levels, output)

    def _draw(self, key: jax.Array, output: jax.Array) -> jax.Array:
        return categorical_pixel_sample(key, self.num_levels, output, 1)[..., 0]

    def _mean(self, output: jax.Array) -> jax.Array:
        levels = jnp.arange(self.num_levels, dtype=output.dtype)
        return jax.nn.softmax(output, axis=-1) @ levels
