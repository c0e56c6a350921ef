"""Reverse Kullback-Leibler divergence to an unnormalised density."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.objectives.maximum_likelihood import Batch, Metrics

LogDensity = Callable[[jax.Array], jax.Array]


def reverse_kl(
    log_density: LogDensity, *, num_samples: int = 256
) -> Callable[[Any, Batch, jax.Array], tuple[jax.Array, Metrics]]:
    """A loss ``E_q [log q(x) - log p~(x)] = KL(q || p) - log Z``, ``p = p~ / Z``, estimated by samples of the model.

    The loss is bounded below by ``-log Z``, and reaches it if the model can represent ``p``. Gradients flow through the
    samples (the reparametrised estimator), so models with a fast sampling direction, such as `dgmjax.models.IAF`, are
    cheap.

    Args:
      log_density: ``log p~``: one event ``[*event] -> []``; mapped over the samples.
      num_samples: samples a step.

    Returns:
      ``loss(model, batch, key)`` for the trainer; ``batch`` is not used. Metrics: ``reverse_kl``, the loss,
      and ``log_z_bound``, its negative, a lower bound on ``log Z`` in expectation.

    Source: Rezende and Mohamed, 2015, arXiv:1505.05770, equation 15; Papamakarios et al., 2021, arXiv:1912.02762,
    section 2.3.2.
    """

    def loss(model: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        del batch
        key = (
            key if key.ndim == 0 else key.ravel()[0]
        )  # a trainer with batches has one for each row
        x, log_q = model.sample_and_log_prob(seed=key, sample_shape=(num_samples,))
        nats = log_q - jax.vmap(log_density)(x)
        total, count = nats.sum(), jnp.asarray(num_samples, nats.dtype)
        return total / count, {"reverse_kl": (total, count), "log_z_bound": (-total, count)}

    return loss
