"""Batches of data that do not fit in memory, read ahead by grain; the same function of (seed, step)."""

import contextlib
import importlib.util
import threading
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from dgmjax.data.order import Order

_END = 2**62  # steps of a stream: it never ends


class Records(Protocol):
    """Rows by index, read where they lie, such as `ImageRecords`; can be pickled if a stream has workers."""

    def __len__(self) -> int:
        """Number of rows."""

    def __getitem__(self, rows: np.ndarray, /) -> dict[str, np.ndarray]:
        """Arrays of ``rows``, ``[n]`` integers."""


class Stream:
    """``stream(step)`` is the batch of that step, as `Batches` of the same rows in memory would have it.

    Consecutive steps are read ahead; any other step starts again there, so a run resumes at step k by asking for it.
    Neither workers nor threads change what a batch is. Close a stream that is no longer needed, or use it as a
    context manager: workers are processes.

    Workers are started afresh, so a program that uses them guards its main part with ``if __name__ == "__main__":``.

    Args:
      records: rows by index.
      batch_size: rows a batch, over all processes; all rows if there are fewer.
      seed: any non-negative integer.
      process: this process, which reads its slice of every batch and nothing else.
      processes: how many share the batches.
      workers: processes that read and decode; 0 for threads in this one.
      threads: threads a process reads with; each prepares whole batches.
      ahead: batches kept ready, by each worker if there are any.
      weights: of the rows, see `Order`.

    Raises:
      ImportError: grain is missing.
    """

    def __init__(
        self,
        records: Records,
        batch_size: int,
        seed: int,
        *,
        process: int = 0,
        processes: int = 1,
        workers: int = 0,
        threads: int = 2,
        ahead: int = 4,
        weights: np.ndarray | None = None,
    ):
        if importlib.util.find_spec("grain") is None:
            raise ImportError("Stream reads ahead with grain: pip install 'dgmjax[tfds]'")
        if workers < 0 or threads < 1 or ahead < 1:
            raise ValueError(
                f"Stream: expected workers >= 0, threads >= 1 and ahead >= 1, got {workers}, {threads} and {ahead}."
            )
        self._order = Order(len(records), batch_size, seed, process, processes, weights)
        self.num_rows = len(records)
        self.batch_size, self.per_epoch = self._order.batch_size, self._order.per_epoch
        self._records = records
        self._workers, self._threads, self._ahead = workers, threads, ahead
        self._iterator: Iterator[dict[str, np.ndarray]] | None = None
        self._next = 0
        self._lock = threading.Lock()

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        """The batch of ``step`` (from 0): arrays of ``batch_size / processes`` rows."""
        with self._lock:
            if self._iterator is None or step != self._next:
                self._close()
                self._iterator = self._open(step)
            try:
                batch = next(self._iterator)
            except BaseException:
                self._close()  # what failed is gone from the buffer; the next call starts at its own step
                raise
            self._next = step + 1
        return batch

    def close(self) -> None:
        """End threads and workers; the next call starts them again."""
        with self._lock:
            self._close()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, step: int) -> Iterator[dict[str, np.ndarray]]:
        import grain

        steps = grain.MapDataset.range(step, _END).map(_Reader(self._records, self._order))
        batches = steps.to_iter_dataset(
            grain.ReadOptions(num_threads=self._threads, prefetch_buffer_size=self._ahead)
        )
        if self._workers:
            _parse_flags()
            options = grain.MultiprocessingOptions(
                num_workers=self._workers, per_worker_buffer_size=self._ahead
            )
            batches = batches.mp_prefetch(options)
        return iter(batches)

    def _close(self) -> None:
        iterator, self._iterator = self._iterator, None
        if iterator is not None and hasattr(iterator, "close"):
            iterator.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # half-made, or at the end of the interpreter
            self._close()


class _Reader:
    """Step -> batch; a class, because workers unpickle it."""

    def __init__(self, records: Records, order: Order):
        self.records, self.order = records, order

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        return self.records[self.order(int(step))]


def _parse_flags() -> None:
    """Grain reads its absl flags when it starts workers, and fails in a program that never parsed any."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
