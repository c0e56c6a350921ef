"""Maximum likelihood: the training loss and its evaluation."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.checks import is_discrete
from dgmjax.densities.bound import bits_per_dim
from dgmjax.distributions.base import as_density, as_given
from dgmjax.distributions.running_statistics import has_statistics
from dgmjax.numerics import prng
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
      The loss, and the metrics of `likelihood_metrics`. Of a model with running statistics (`dgmjax.BatchNorm` in a
      flow) also the model that has the new ones, which the trainer takes over.
    """
    seed, dropout_key = prng.split(key)
    x, context = batch["x"], batch.get("context")
    if not has_statistics(model):
        return _loss(model, x, log_prob(model, x, context, seed=seed, key=dropout_key))
    log_probs, new = as_density(model).log_prob_and_update(x, context, seed=seed, key=dropout_key)
    return *_loss(model, x, log_probs), as_given(new)


def negative_log_likelihood(model: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
    """`maximum_likelihood` without dropout, with running statistics: what validation and test report.

    ``"weights": [n]`` in the batch, all positive, make its means weighted ones.
    """
    seed, _ = prng.split(key)
    x = batch["x"]
    log_probs = log_prob(model, x, batch.get("context"), seed=seed)
    return _loss(model, x, log_probs, batch.get("weights"))


def likelihood_metrics(
    model: Any, x: jax.Array, log_probs: jax.Array, weights: jax.Array | None = None
) -> Metrics:
    """``nats``, the negative log-likelihood, and of integers ``bits_per_dim``: pairs (sum, count).

    Means over ragged batches merge exactly. Of floats there are no bits/dim, see `dgmjax.checks.is_discrete`.

    Args:
      model: with ``event_shape``.
      x: events ``[*batch, *event]``.
      log_probs: their log-likelihoods or bounds, ``[*batch]``, nats.
      weights: positive, ``[*batch]``; None for equal ones.
    """
    if weights is None:
        total, count = -log_probs.sum(), jnp.asarray(log_probs.size, log_probs.dtype)
    else:
        weights = weights.astype(log_probs.dtype)
        total, count = -(weights * log_probs).sum(), weights.sum()
    metrics = {"nats": (total, count)}
    if is_discrete(x):
        metrics["bits_per_dim"] = (bits_per_dim(total, math.prod(model.event_shape)), count)
    return metrics


def _loss(
    model: Any, x: jax.Array, log_probs: jax.Array, weights: jax.Array | None = None
) -> tuple[jax.Array, Metrics]:
    metrics = likelihood_metrics(model, x, log_probs, weights)
    total, count = metrics["nats"]
    return total / count, metrics
