"""Where the batches of a run come from: arrays in memory, arrays on the device, or records that are streamed."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dgmjax.data.batches import Batches
from dgmjax.data.stream import Records, Stream
from dgmjax.training.parallel import Parallel

HostArrays = dict[str, np.ndarray]
_ON_DEVICE_BYTES = 10**9


class Source:
    """``source(step)`` is what the call of the train step that begins at ``step`` takes, placed on the devices.

    A process reads its own rows of every batch and nothing else.

    Args:
      data: arrays with equally many rows, or records.
      batch_size: rows a step, over all processes.
      seed: of the order, see `dgmjax.data.Order`.
      parallel: how steps are spread over devices.
      steps_per_call: batches that are stacked along a first axis if more than 1.
      on_device: keep arrays on every device and gather rows there, so that a step sends row numbers only; default: on
        accelerators, up to 1 GB. Not with ``"pmap"``.
      workers: processes that read and decode records, see `dgmjax.data.Stream`.
      weights: of the rows, see `dgmjax.data.Order`.
    """

    def __init__(
        self,
        data: HostArrays | Records,
        batch_size: int,
        *,
        seed: int,
        parallel: Parallel,
        steps_per_call: int = 1,
        on_device: bool | None = None,
        workers: int = 0,
        weights: np.ndarray | None = None,
    ):
        self._parallel, self._steps_per_call = parallel, steps_per_call
        share = (batch_size, seed, jax.process_index(), jax.process_count())
        self._take: Callable[[dict[str, Any]], dict[str, Any]] | None = None
        self._stream: Stream | None = None
        self._rows: Callable[[int], HostArrays]
        if not isinstance(data, dict):
            self._rows = self._stream = Stream(
                data,
                *share[:2],
                process=share[2],
                processes=share[3],
                workers=workers,
                weights=weights,
            )
            return
        self._rows = Batches(data, *share, weights)
        if on_device is None:
            small = sum(array.nbytes for array in data.values()) <= _ON_DEVICE_BYTES
            on_device = small and jax.default_backend() != "cpu"
        if on_device and parallel.strategy != "pmap":
            order = self._rows.order
            self._numbers = lambda step: {"rows": order(step).astype(np.int32)}
            sharding = parallel.batch_sharding(stacked=steps_per_call > 1)
            take = jax.jit(_take, out_shardings=sharding)
            self._take = functools.partial(take, parallel.replicate(data))

    def __call__(self, step: int) -> dict[str, Any]:
        """The rows of one call, on the devices."""
        rows = self._rows if self._take is None else self._numbers
        stacked = self._steps_per_call > 1
        if stacked:
            batches = [rows(step + i) for i in range(self._steps_per_call)]
            batch = {name: np.stack([b[name] for b in batches]) for name in batches[0]}
        else:
            batch = rows(step)
        placed = self._parallel.place_batch(batch, stacked=stacked)
        return placed if self._take is None else self._take(placed)

    def single(self, step: int) -> dict[str, Any]:
        """The batch of one step, for a program that is not spread over the devices of a process."""
        batch = self._rows(step)
        return batch if jax.process_count() == 1 else self._parallel.place_batch(batch)

    def close(self) -> None:
        """End what reads ahead."""
        if self._stream is not None:
            self._stream.close()


def _take(data: dict[str, jax.Array], batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return {name: array[batch["rows"]] for name, array in data.items()}
