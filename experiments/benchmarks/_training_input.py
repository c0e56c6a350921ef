"""The input pipelines: images a second."""

import importlib.util
import time
from collections.abc import Callable

import jax
import numpy as np

import dgmjax as dgm
from dgmjax.training import Parallel, Source
from experiments.benchmarks._training_work import Part, Work, timed

_BATCH = 128
_NOTES = {
    "Batches": "rows of an array, gathered on the host in shuffled order",
    "Source, on_device": "row numbers sent, rows gathered by the device; waits for all of them at the end of the epoch",
    "Stream": "records in memory, read ahead by two threads of grain",
}


class Images:
    """Records that lie in memory, so that a stream of them costs nothing but itself."""

    def __init__(self, x: np.ndarray):
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": self.x[rows]}


def input_pipeline(work: Work) -> Part:
    """Images a second of the input pipelines alone: ``uint8`` 28 x 28, batches of 128, shuffled.

    A turn is one epoch with its permutation; the pipelines have turns in alternation, and nothing trains meanwhile.
    """
    x = np.random.RandomState(0).randint(0, 256, (work.images, 28, 28)).astype(np.uint8)
    parallel = Parallel(num_devices=1)
    batches = dgm.data.Batches({"x": x}, _BATCH, seed=0)
    source = Source({"x": x}, _BATCH, seed=0, parallel=parallel, on_device=True)
    pipelines: dict[str, Callable[[int], object]] = {
        "Batches": batches,
        "Source, on_device": source,
    }
    stream = None
    if importlib.util.find_spec("grain") is not None:
        pipelines["Stream"] = stream = dgm.data.Stream(Images(x), _BATCH, 0)
    else:
        print("input: grain is not installed, Stream skipped", flush=True)
    rates: dict[str, list[float]] = {name: [] for name in pipelines}
    for epoch in range(work.turns + 1):
        for name, pipeline in pipelines.items():
            started = time.perf_counter()
            first = epoch * batches.per_epoch
            made = [pipeline(first + index) for index in range(batches.per_epoch)]
            jax.block_until_ready(made)
            rate = batches.per_epoch * _BATCH / (time.perf_counter() - started)
            if epoch:  # the first compiles and starts threads
                rates[name].append(rate)
    if stream is not None:
        stream.close()
    task = f"input, {_BATCH} images of 28 x 28"
    return Part([timed(task, name, "images/s", v, note=_NOTES[name]) for name, v in rates.items()])
