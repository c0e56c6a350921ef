"""A run before its first step: the model set from data, the state, the batches."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from dgmjax.nets.data_init import as_initialised
from dgmjax.training.arrays import Data, num_rows, some_rows
from dgmjax.training.batch_source import Source
from dgmjax.training.inputs import Transform, with_data_init
from dgmjax.training.options import Execution
from dgmjax.training.parallel import Parallel
from dgmjax.training.partition import Arrays, partition, statistics_of
from dgmjax.training.run_state import RunState
from dgmjax.training.schedule import Progress
from dgmjax.training.step import Optimizer, TrainState, averaged_params, init_state
from dgmjax.training.workdir import Settings


class Ready(NamedTuple):
    """All that a run begins with, if no earlier one counts.

    Attributes:
      merge: puts a model together from ``params`` and ``fixed``.
      fixed: arrays of the model that no optimizer reaches, by name.
      statistics: names of those that are running statistics.
      optimizer: of the run, or each by name.
      batch_size: rows a step, no more than there are.
      parallel: how steps are spread over devices.
      source: the batches.
      train_key: of the noise of steps.
      eval_key: of the noise of evaluations.
    """

    merge: Callable[[Arrays, Arrays], Any]
    fixed: Arrays
    statistics: tuple[str, ...]
    optimizer: Optimizer | Mapping[str, Optimizer]
    batch_size: int
    parallel: Parallel
    source: Source
    train_key: jax.Array
    eval_key: jax.Array

    def evaluated(self, state: TrainState) -> Arrays:
        """The arrays that an evaluation of ``state`` takes: averaged weights, and running statistics as they are."""
        return averaged_params(state, statistics=self.statistics)

    def start(self, state: TrainState, settings: Settings) -> RunState:
        """The run before its first step, on the devices."""
        # Copies: the first step donates the state.
        best = self.evaluated(state)
        place = self.parallel.place_state
        return RunState(place(state), place(best), Progress(), settings)

    def model(self, run: RunState) -> Any:
        """The model with the best parameters of ``run``."""
        gather = self.parallel.gather
        return self.merge(gather(run.best), gather(run.state.fixed))


def prepare(
    model: Any,
    train: Data,
    optimizer: Optimizer | Mapping[str, Optimizer],
    *,
    weights: np.ndarray | None,
    seed: jax.Array,
    batch_size: int,
    init_rows: int | None,
    transform: Transform | None,
    steps_per_call: int,
    execution: Execution,
) -> tuple[Ready, TrainState]:
    """Set up what `dgmjax.fit` trains, whose arguments these are; ``source`` is to be closed.

    The state is that before the first step, not yet spread over devices.

    Raises:
      ValueError: a batch that cannot be spread over the devices.
    """
    data_key, init_key, train_key, eval_key = jax.random.split(seed, 4)
    initial = model
    if init_rows != 0:
        rows = some_rows(train, init_rows, weights)
        initial = with_data_init(model, rows, init_key, transform=transform)
    initial = as_initialised(initial)
    params, fixed, merge = partition(initial)
    statistics = tuple(statistics_of(initial))
    state = init_state(params, fixed, optimizer)
    batch_size, accumulate = min(batch_size, num_rows(train)), execution.accumulate
    parallel = execution.parallel or Parallel.for_batch(batch_size, accumulate)
    parallel.check_batch_size(batch_size, accumulate)
    source = Source(
        train,
        batch_size,
        seed=int(jax.random.bits(data_key)),
        parallel=parallel,
        steps_per_call=steps_per_call,
        on_device=execution.on_device,
        workers=execution.workers,
        weights=weights,
    )
    prepared = Ready(
        merge=merge,
        fixed=fixed,
        statistics=statistics,
        optimizer=optimizer,
        batch_size=batch_size,
        parallel=parallel,
        source=source,
        train_key=train_key,
        eval_key=eval_key,
    )
    return prepared, state
