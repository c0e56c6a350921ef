"""Batches as a pure function of (seed, step)."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class Batches:
    """``batches(step)`` is the batch of that step; nothing else has to be remembered to resume.

    Every epoch is a fresh permutation of the rows, cut into whole batches; the few rows left over come up in other
    epochs. Arrays stay where they are, in memory, and are indexed.

    Args:
      arrays: arrays with the same number of rows, e.g. ``{"x": ...}``.
      batch_size: rows a batch; all rows if there are fewer.
      seed: any non-negative integer.
    """

    arrays: dict[str, np.ndarray]
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        """Fix the number of batches of an epoch."""
        rows = {name: len(array) for name, array in self.arrays.items()}
        if len(set(rows.values())) != 1:
            raise ValueError(f"Batches: expected arrays with equally many rows, got {rows}.")
        if self.batch_size < 1:
            raise ValueError(f"Batches: batch_size must be at least 1, got {self.batch_size}.")
        self.num_rows = next(iter(rows.values()))
        self.batch_size = min(self.batch_size, self.num_rows)
        self.per_epoch = self.num_rows // self.batch_size
        self._epoch = -1
        self._order = np.empty(0, int)

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        """The batch of ``step`` (from 0): arrays of ``batch_size`` rows."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._permutation(epoch)
        rows = self._order[position * self.batch_size : (position + 1) * self.batch_size]
        return {name: array[rows] for name, array in self.arrays.items()}

    def _permutation(self, epoch: int) -> np.ndarray:
        # RandomState and SeedSequence are frozen across NumPy versions (NEP 19), default_rng's permutation is not.
        state = np.random.SeedSequence([self.seed, epoch]).generate_state(4)
        return np.random.RandomState(state).permutation(self.num_rows)
