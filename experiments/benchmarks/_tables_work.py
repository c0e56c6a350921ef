"""The race of densities of tables: how much is trained, and what a contestant is."""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


@dataclasses.dataclass(frozen=True)
class Work:
    """How much is trained; the defaults are the recipe whose numbers docs/benchmarks.md has.

    Attributes:
      steps: of Adam, each contestant's.
      turns: each contestant takes its share of the steps in so many turns, and is evaluated after each.
      batch: rows a step.
      learning_rate: peak, after the warm-up; then a half cosine to 0.
      warmup: steps of linear warm-up.
      clip: largest norm of the gradient.
      depth: autoregressive layers, or pairs of couplings.
      width: units of the two hidden layers of every network.
      bins: of a spline.
      bound: splines act on ``[-bound, bound]``.
      validation: rows that are evaluated after each turn.
      rows: of each split that are used; None for all.
    """

    steps: int = 9_000
    turns: int = 9
    batch: int = 512
    learning_rate: float = 5e-4
    warmup: int = 100
    clip: float = 1.0
    depth: int = 5
    width: int = 256
    bins: int = 8
    bound: float = 4.0
    validation: int = 65_536
    rows: int | None = None

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        if step < self.warmup:
            return self.learning_rate * step / self.warmup
        share = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return 0.5 * self.learning_rate * (1.0 + math.cos(math.pi * share))


QUICK = Work(
    steps=16,
    turns=2,
    batch=32,
    learning_rate=1e-2,
    warmup=2,
    depth=2,
    width=8,
    bins=4,
    validation=64,
    rows=200,
)


class Contestant(NamedTuple):
    """A library's flow in training.

    Attributes:
      name: of the library and the flow.
      train: takes the steps of batches ``[k, batch, d]`` and returns when they are taken.
      log_prob: log-densities ``[n]`` of rows ``[n, d]``, nats.
      parameters: trainable numbers.
      note: how the flow differs from the others', in one line.
    """

    name: str
    train: Callable[[np.ndarray], None]
    log_prob: Callable[[np.ndarray], np.ndarray]
    parameters: int
    note: str
