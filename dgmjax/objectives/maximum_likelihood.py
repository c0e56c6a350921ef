"""Maximum likelihood: the training loss and its evaluation."""

import math
from typing import Any

import jax

from dgmjax.densities.bound import bits_per_dim
from dgmjax.numerics import random
from dgmjax.objectives.likelihood import log_prob

Batch = dict[str, jax.Array]
Metrics = dict[str, tuple[jax.Array, jax.Array]]


def maximum_likelihood(model: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
    """Training loss ``-mean log p(x)``, or its bound, in nats, with dropout on.

    Args:
      model: flow, `dgmjax.Dequantized` or anything with their ``log_prob``.
      batch: ``{"x": [n, *event]}`` and, for a conditional model, ``"context": [n, *context]``.
      key: of the dequantization noise and of dropout; one, or one an example.

    Returns:
      The loss, and metrics ``nats`` and ``bits_per_dim`` as pairs (sum, count), so that means over ragged batches
      merge exactly.
    """
    seed, dropout_key = random.split(key)
    return _negative_log_likelihood(model, batch, seed, dropout_key)


def negative_log_likelihood(model: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
    """`maximum_likelihood` without dropout: what validation and test report."""
    seed, _ = random.split(key)
    return _negative_log_likelihood(model, batch, seed, None)


def _negative_log_likelihood(
    model: Any, batch: Batch, seed: jax.Array, key: jax.Array | None
) -> tuple[jax.Array, Metrics]:
    x = batch["x"]
    nats = -log_prob(model, x, batch.get("context"), seed=seed, key=key)
    total, count = nats.sum(), jax.numpy.asarray(nats.size, nats.dtype)
    event_size = math.prod(model.event_shape)
    return total / count, {
        "nats": (total, count),
        "bits_per_dim": (bits_per_dim(total, event_size), count),
    }
