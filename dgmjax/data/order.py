"""The order of rows: a pure function of (seed, step)."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class Order:
    """``order(step)`` are the rows of the batch of that step; nothing else has to be remembered to resume.

    Every epoch is a fresh permutation of the rows, cut into whole batches; the few rows left over come up in other
    epochs. Each of ``processes`` takes its slice of every batch: their slices in turn are the batch of one process,
    so what is trained on does not depend on how many there are.

    Args:
      num_rows: rows of the data.
      batch_size: rows a batch, over all processes; all rows if there are fewer.
      seed: any non-negative integer.
      process: this process.
      processes: how many there are.
    """

    num_rows: int
    batch_size: int
    seed: int
    process: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        """Fix the number of batches of an epoch."""
        if self.num_rows < 1 or self.batch_size < 1:
            raise ValueError(
                f"expected at least one row and batch_size at least 1, got {self.num_rows} rows and "
                f"batch_size {self.batch_size}."
            )
        self.batch_size = min(self.batch_size, self.num_rows)
        if not 0 <= self.process < self.processes:
            raise ValueError(
                f"expected a process in 0 .. {self.processes - 1}, got {self.process} of {self.processes}."
            )
        if self.batch_size % self.processes:
            raise ValueError(
                f"batch_size {self.batch_size} must be a multiple of the {self.processes} processes that share it."
            )
        self.per_epoch = self.num_rows // self.batch_size
        self._cached = (-1, np.empty(0, int))

    def __call__(self, step: int) -> np.ndarray:
        """Rows of ``step`` (from 0) that are this process's: ``[batch_size / processes]``."""
        epoch, position = divmod(step, self.per_epoch)
        cached = self._cached  # one read and one write: readers of several threads share an order
        if epoch != cached[0]:
            self._cached = cached = (epoch, self._permutation(epoch))
        part = self.batch_size // self.processes
        start = position * self.batch_size + self.process * part
        return cached[1][start : start + part]

    def _permutation(self, epoch: int) -> np.ndarray:
        # RandomState and SeedSequence are frozen across NumPy versions (NEP 19), default_rng's permutation is not.
        state = np.random.SeedSequence([self.seed, epoch]).generate_state(4)
        return np.random.RandomState(state).permutation(self.num_rows)
