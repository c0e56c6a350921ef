"""Batches from memory as a pure function of (seed, step)."""

import dataclasses

import numpy as np

from dgmjax.data.order import Order


@dataclasses.dataclass
class Batches:
    """``batches(step)`` is the batch of that step; nothing else has to be remembered to resume.

    The order is that of `Order`. Arrays stay where they are, in memory, and are indexed.

    Args:
      arrays: arrays with the same number of rows, e.g. ``{"x": ...}``.
      batch_size: rows a batch, over all processes; all rows if there are fewer.
      seed: any non-negative integer.
      process: this process, which gets its slice of every batch.
      processes: how many there are.
      weights: of the rows, see `Order`.
    """

    arrays: dict[str, np.ndarray]
    batch_size: int
    seed: int
    process: int = 0
    processes: int = 1
    weights: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Fix the number of batches of an epoch."""
        rows = {name: len(array) for name, array in self.arrays.items()}
        if len(set(rows.values())) != 1:
            raise ValueError(f"Batches: expected arrays with equally many rows, got {rows}.")
        self.num_rows = next(iter(rows.values()))
        share = (self.batch_size, self.seed, self.process, self.processes)
        self.order = Order(self.num_rows, *share, self.weights)
        self.batch_size, self.per_epoch = self.order.batch_size, self.order.per_epoch

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        """The batch of ``step`` (from 0): arrays of ``batch_size / processes`` rows."""
        rows = self.order(step)
        return {name: array[rows] for name, array in self.arrays.items()}
