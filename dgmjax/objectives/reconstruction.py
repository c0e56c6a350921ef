"""The loss of autoencoders: squared error, and a price on the code."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.checks import widened
from dgmjax.numerics import prng
from dgmjax.objectives.maximum_likelihood import Batch, Metrics


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """The loss ``mean (|D(E(x)) - x|^2 + l1 |E(x)|_1)``, for training and, with ``dropout=False``, for validation.

    Both norms are sums over an event and over a code, the mean is over the batch; with ``l1=0`` it is the mean squared
    error of events. Data are in the scale of the network, integers in [-1, 1]. The report prints ``|E(x)|_0``, the
    number of entries that are not 0, whose derivative is 0 wherever it exists (errata E-A4-1): the 1-norm is what can
    be minimised, and a model with ``sparsity="top_k"`` bounds that number by its construction.

    The metrics are ``squared_error`` and ``l1``, the two sums, and ``active``, how many entries of a code are not 0. It
    is no likelihood, so there is no metric ``nats``.

    Attributes:
      l1: price of a unit of the code's 1-norm.
      dropout: whether networks drop units, as in training.
    """

    l1: float = 0.0
    dropout: bool = True

    def __post_init__(self) -> None:
        """Reject bad settings at construction.

        Raises:
          ValueError: a negative number.
        """
        if self.l1 < 0:
            raise ValueError(f"Reconstruction: l1 must be at least 0, got {self.l1}.")

    def __call__(self, model: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Loss and metrics of a model with ``encode``, ``decode`` and ``scaled``, e.g. `dgmjax.SparseAutoencoder`."""
        encoder_key, decoder_key = prng.split(key) if self.dropout else (None, None)
        x, event = batch["x"], tuple(range(-len(model.event_shape), 0))
        code = model.encode(x, key=encoder_key)
        difference = model.decode(code, key=decoder_key) - model.scaled(x)
        squared_error = widened(difference**2).sum(event)
        l1 = widened(jnp.abs(code)).sum(-1)
        count = jnp.asarray(squared_error.size, squared_error.dtype)
        loss = squared_error.mean() + self.l1 * l1.mean()
        return loss, {
            "squared_error": (squared_error.sum(), count),
            "l1": (l1.sum(), count),
            "active": ((code != 0).astype(count.dtype).sum(), count),
        }
