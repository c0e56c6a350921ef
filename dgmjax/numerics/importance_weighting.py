"""Importance-weighted averages in bounded memory."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgmjax.numerics import prng
from dgmjax.numerics.ends import log_sum_exp
from dgmjax.numerics.rows import map_rows


def log_mean_weight(
    log_weight: Callable[[jax.Array], jax.Array],
    seed: jax.Array,
    num_samples: int,
    *,
    batch_size: int = 1,
) -> jax.Array:
    """``log (1/K) sum_k w_k`` of ``K`` independent log-weights ``log w_k = log_weight(seed_k)``.

    If ``E[w] = p`` its expectation is at most ``log p`` and grows with ``K``.

    Args:
      log_weight: ``seed -> [*batch]``.
      seed: one key, or keys of the batch axes.
      num_samples: ``K``.
      batch_size: samples at a time: memory grows with them, and with ``K`` by one number an event only. The result does
        not depend on it.

    Returns:
      ``[*batch]``; for ``K = 1`` the log-weight of ``seed`` itself.

    Raises:
      ValueError: a number below 1.

    Source: Burda et al., 2016, *Importance weighted autoencoders*, arXiv:1509.00519, equation 8.
    """
    for name, count in {"num_samples": num_samples, "batch_size": batch_size}.items():
        if count < 1:
            raise ValueError(f"log_prob: {name} must be at least 1, got {count}.")
    if num_samples == 1:
        return log_weight(seed)
    log_weights = map_rows(
        jax.vmap(lambda index: log_weight(prng.fold_in(seed, index))),
        jnp.arange(num_samples),
        batch_size=batch_size,
    )
    return log_sum_exp(log_weights, axis=0) - math.log(num_samples)
