"""Evaluation of weights by metrics over a whole split, and the choice of those that are kept."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dgmjax.training.arrays import Data, num_rows, read_rows
from dgmjax.training.metrics import merge_metrics
from dgmjax.training.parallel import Parallel
from dgmjax.training.partition import Arrays
from dgmjax.training.step import TrainState, averaged_params


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The parameters of a run that are evaluated and kept, and the metric that chooses the best ones.

    Attributes:
      params: ``state -> params`` to evaluate and keep, fresh arrays; the average of the weights.
      measure: ``(params, fixed) -> metrics``, or None; without it the last parameters are the best.
      monitor: metric that selects the best parameters, the smaller the better.
      model: ``params -> model``, for `Watch.on_evaluation`; the parameters themselves.
    """

    params: Callable[[TrainState], Arrays] = averaged_params
    measure: Callable[[Arrays, Arrays], dict[str, float]] | None = None
    monitor: str = "nats"
    model: Callable[[Arrays], Any] = lambda params: params


def make_evaluator(
    eval_step: Callable[..., Any],
    data: Data,
    key: jax.Array,
    parallel: Parallel,
    *,
    batch_size: int = 1_024,
) -> Callable[[Arrays, Arrays], dict[str, float]]:
    """Metrics over all of ``data``, with the same noise at every call, so that evaluations compare.

    Batches are spread over the devices, but for a last one that does not divide by them, which every device evaluates.
    """
    spread = dataclasses.replace(parallel, strategy="jit")
    number = num_rows(data)
    processes, process = jax.process_count(), jax.process_index()

    def batch(index: int) -> dict[str, Any]:
        rows = np.arange(index * batch_size, min((index + 1) * batch_size, number))
        if len(rows) % len(spread.devices):
            return spread.replicate(read_rows(data, rows))
        part = len(rows) // processes
        return spread.place_batch(read_rows(data, rows[process * part : (process + 1) * part]))

    def evaluate(params: Arrays, fixed: Arrays) -> dict[str, float]:
        return merge_metrics(
            eval_step(params, fixed, batch(index), jax.random.fold_in(key, index))
            for index in range(math.ceil(number / batch_size))
        )

    return evaluate
