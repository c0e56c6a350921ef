"""The likelihood of a latent variable model by samples of its prior, and how many of them count."""

from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.checks import batch_shape
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.importance_weighting import log_mean_weight


@compiled
def prior_monte_carlo(
    model: Any, x: jax.Array, key: jax.Array, *, num_samples: int, batch_size: int = 1
) -> jax.Array:
    """``log (1/K) sum_k p(x | z_k)``, ``z_k ~ p(z)``, in nats: ``[*batch, *event] -> [*batch]``.

    The mean is unbiased for ``p(x)``, so its logarithm is a lower bound on ``log p(x)`` in expectation. Few samples of
    the prior explain a given ``x``: the share `effective_sample_size` of ``K`` falls exponentially with the number of
    latents that the data determine, where `iwae` with a good ``q(z | x)`` needs few samples.

    Args:
      model: `dgmjax.VAE`; any with ``prior_distribution()`` and ``log_likelihood(x, z)``.
      x: events.
      key: of the samples, which differ between examples; one, or one an example.
      num_samples: ``K``.
      batch_size: samples at a time, see `dgmjax.numerics.log_mean_weight`.

    Raises:
      TypeError: integers where floats are needed, or the reverse.
      ValueError: wrong event shape, or a number below 1.

    Source: Kingma and Welling, 2014, arXiv:1312.6114, section 2.1, on why this needs too many samples.
    """
    batch = batch_shape(x, model.event_shape, where="prior_monte_carlo")
    prior = model.prior_distribution()

    def log_weight(seed: jax.Array) -> jax.Array:
        z = prng.draw(lambda one, shape: prior.sample(seed=one, sample_shape=shape), seed, batch)
        return model.log_likelihood(x, z)

    return log_mean_weight(log_weight, key, num_samples, batch_size=batch_size)


def effective_sample_size(log_weights: jax.Array) -> jax.Array:
    """``(sum_k w_k)^2 / sum_k w_k^2``, between 1 and ``K``: ``[K, *batch] -> [*batch]``.

    ``K`` for equal weights, 1 where one of them is all; 0 where all are zero. Its share of ``K`` estimates
    ``E[w]^2 / E[w^2]``, and is too high as long as the samples miss the largest weights: a small number is a warning, a
    large one no proof.

    Source: Kong, Liu and Wong, 1994, *Sequential imputations and Bayesian missing data problems*.
    """
    largest = log_weights.max(0, keepdims=True)
    weights = jnp.exp(log_weights - jnp.where(jnp.isfinite(largest), largest, 0))
    square = (weights**2).sum(0)
    return jnp.where(square > 0, weights.sum(0) ** 2 / jnp.where(square > 0, square, 1), 0)
