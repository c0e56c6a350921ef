"""The order of rows: a pure function of (seed, step)."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class Order:
    """``order(step)`` are the rows of the batch of that step; nothing else has to be remembered to resume.

    Every epoch is a fresh permutation of the rows, cut into whole batches; the few rows left over come up in other
    epochs. Each of ``processes`` takes its slice of every batch: their slices in turn are the batch of one process,
    so what is trained on does not depend on how many there are.

    With ``weights`` an epoch has row ``i`` ``num_rows weights_i / sum weights`` times on average, rounded up or down at
    random: systematic resampling, the draws with the least noise. A row of weight zero never comes.

    Args:
      num_rows: rows of the data.
      batch_size: rows a batch, over all processes; all rows if there are fewer.
      seed: any non-negative integer.
      process: this process.
      processes: how many there are.
      weights: ``[num_rows]``, zero or more each, one of them positive; None for equal ones.

    Source: Kitagawa, 1996, *Monte Carlo filter and smoother*, J. Comput. Graph. Stat. 5, appendix (resampling).
    """

    num_rows: int
    batch_size: int
    seed: int
    process: int = 0
    processes: int = 1
    weights: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)

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
        random = np.random.RandomState(state)
        order = random.permutation(self.num_rows)
        if self.weights is None:
            return order
        return resampled_rows(self.weights, random)[order]


def resampled_rows(weights: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """As many rows as ``weights`` has, each ``n weights_i / sum weights`` times, rounded up or down at random.

    They are those that ``n`` equal steps through the sum of the weights meet, in a random order of the rows: in their
    own a period of the weights could go in step.

    Args:
      weights: ``[n]``, zero or more each, one of them positive.
      random: of the order, and of where the steps begin.

    Returns:
      ``[n]``, integers that do not fall.
    """
    mixed = random.permutation(len(weights))
    ends = np.cumsum(weights[mixed], dtype=np.float64)
    draws = (np.arange(len(ends)) + random.random_sample()) * (ends[-1] / len(ends))
    # Rounding may take the last draw to the end itself.
    last = np.flatnonzero(weights[mixed])[-1]
    return np.sort(mixed[np.minimum(np.searchsorted(ends, draws, side="right"), last)])
