"""Classification: the cross-entropy of labels, and its evaluation."""

from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.checks import as_context, widened
from dgmjax.numerics import prng
from dgmjax.objectives.maximum_likelihood import Batch, Metrics


def cross_entropy(model: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics, Any]:
    """Training loss ``-mean log p(label | x)`` in nats, with statistics of the batch and dropout.

    Args:
      model: with ``logits_and_update``, see `dgmjax.models.Classifier`.
      batch: ``{"x": [n, *event], "context": [n, classes]}``; contexts are one-hot labels, or
        probabilities; or ``[n]``, integers.
      key: of dropout; one, or one an example.

    Returns:
      The loss; metrics ``nats``, the cross-entropy, and ``error``, the share of wrong classes, as pairs (sum, count);
      and the model with new running statistics, which the trainer takes over.
    """
    key, _ = prng.split(key)
    logits, new = model.logits_and_update(batch["x"], key=key)
    loss, metrics = _of_logits(logits, batch)
    return loss, metrics, new


def classification_errors(model: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
    """`cross_entropy` with running statistics and without dropout, from ``model.logits``: what validation reports."""
    del key
    return _of_logits(model.logits(batch["x"]), batch)


def _of_logits(logits: jax.Array, batch: Batch) -> tuple[jax.Array, Metrics]:
    if batch.get("context") is None:
        raise ValueError(
            "cross_entropy: the batch holds no labels; pass them as context=, integers [n], to dgmjax.fit."
        )
    logits = widened(logits)
    labels: Any = as_context(
        batch["context"],
        logits.shape[-1:],
        logits.shape[:-1],
        where="cross_entropy",
        dtype=logits.dtype,
    )
    nats = -(labels * jax.nn.log_softmax(logits)).sum(-1)
    wrong = (logits.argmax(-1) != labels.argmax(-1)).astype(logits.dtype)
    count = jnp.asarray(nats.size, nats.dtype)
    return nats.sum() / count, {"nats": (nats.sum(), count), "error": (wrong.sum(), count)}
