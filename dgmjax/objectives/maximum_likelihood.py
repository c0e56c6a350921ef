"""Maximum likelihood: the training loss and its evaluation."""

import math
from typing import Any

import jax

from dgmjax.densities.bound import bits_per_dim
from dgmjax.layers.density import as_density, as_given
from dgmjax.layers.statistics import has_statistics
from dgmjax.numerics import random
from dgmjax.objectives.likelihood import log_prob

Batch = dict[str, jax.Array]
Metrics = dict[str, tuple[jax.Array, jax.Array]]


def maximum_likelihood(model: Any, batch: Batch, key: jax.Array) -> tuple[Any, ...]:
    """Training loss ``-mean log p(x)``, or its bound, in nats, with dropout and the statistics of the batch.

    Args:
      model: flow, `dgmjax.Dequantized` or anything with their ``log_prob``.
      batch: ``{"x": [n, *event]}`` and, for a conditional model, ``"context": [n, *context]``.
      key: of the dequantization noise and of dropout; one, or one an example.

    Returns:
      The loss, and metrics ``nats`` and ``bits_per_dim`` as pairs (sum, count), so that means over ragged batches
      merge exactly. Of a model with running statistics (`dgmjax.BatchNorm` in a flow) also the model that has the new
      ones, which the trainer takes over.
    """
    seed, dropout_key = random.split(key)
    x, context = batch["x"], batch.get("context")
    if not has_statistics(model):
        return _loss(model, log_prob(model, x, context, seed=seed, key=dropout_key))
    log_probs, new = as_density(model).log_prob_and_update(x, context, seed=seed, key=dropout_key)
    return *_loss(model, log_probs), as_given(new)


def negative_log_likelihood(model: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
    """`maximum_likelihood` without dropout, with running statistics: what validation and test report."""
    seed, _ = random.split(key)
    return _loss(model, log_prob(model, batch["x"], batch.get("context"), seed=seed))


def _loss(model: Any, log_probs: jax.Array) -> tuple[jax.Array, Metrics]:
    nats = -log_probs
    total, count = nats.sum(), jax.numpy.asarray(nats.size, nats.dtype)
    event_size = math.prod(model.event_shape)
    return total / count, {
        "nats": (total, count),
        "bits_per_dim": (bits_per_dim(total, event_size), count),
    }
