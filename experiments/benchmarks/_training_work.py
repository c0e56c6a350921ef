"""The models, data and sizes of the trainer's benchmark, and what its parts return."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import dgmjax as dgm
from dgmjax.training import Parallel, TrainState, init_state, make_train_step, partition
from experiments.benchmarks._timing import Row

_LEVELS = 17  # of the digits, 0 to 16


@dataclasses.dataclass(frozen=True)
class Work:
    """How much is measured; the defaults are those of a full run.

    Attributes:
      windows: of a run of `dgmjax.fit` that are timed, each followed by one turn of the bare steps.
      small_window: steps between logs with the small model.
      digits_window: steps between logs with the model of the digits.
      digits_depth: couplings of that model.
      digits_width: hidden units of its conditioners.
      steps_per_call: superbatches that are compared; all divide ``small_window``.
      superbatch_rounds: runs of each of them, in alternation.
      sync_window: steps between logs where fetches are counted; above 32, so that the bound on run-ahead works.
      images: rows of the input pipelines.
      turns: of the input pipelines, an epoch each.
      devices: numbers of devices over which a step is spread.
      scaling_batch: rows of that step over all devices.
      scaling_turns: of every way to spread it.
      scaling_calls: steps a turn.
      checkpoint_bytes: of the arrays of the big checkpoint.
      checkpoints: how many are written, and read.
      checkpointed_runs: with checkpoints and without, each.
      checkpointed_windows: of each of them that are timed.
      cache_rounds: fresh processes with an empty and with a filled cache, each.
    """

    windows: int = 15
    small_window: int = 500
    digits_window: int = 50
    digits_depth: int = 8
    digits_width: int = 128
    steps_per_call: tuple[int, ...] = (1, 10, 50)
    superbatch_rounds: int = 3
    sync_window: int = 100
    images: int = 60_000
    turns: int = 7
    devices: tuple[int, ...] = (1, 2, 4, 8)
    scaling_batch: int = 256
    scaling_turns: int = 7
    scaling_calls: int = 10
    checkpoint_bytes: int = 50_000_000
    checkpoints: int = 5
    checkpointed_runs: int = 2
    checkpointed_windows: int = 5
    cache_rounds: int = 3


QUICK = Work(
    windows=2,
    small_window=40,
    digits_window=4,
    digits_depth=2,
    digits_width=8,
    steps_per_call=(1, 10),
    superbatch_rounds=1,
    sync_window=40,
    images=1_280,
    turns=2,
    devices=(1, 2),
    scaling_batch=16,
    scaling_turns=2,
    scaling_calls=2,
    checkpoint_bytes=100_000,
    checkpoints=2,
    checkpointed_runs=1,
    checkpointed_windows=1,
    cache_rounds=1,
)


class Part(NamedTuple):
    """What one part of the benchmark measured.

    Attributes:
      rows: for the table.
      facts: exact figures by name, for the JSON.
    """

    rows: list[Row]
    facts: dict[str, Any] = {}  # noqa: RUF012 - never changed


class Case(NamedTuple):
    """A model with its data and its step.

    Attributes:
      model: with its data-dependent layers set.
      x: ``[n, *event]``.
      batch_size: rows a step.
      optimizer: the same for `dgmjax.fit` and the bare step.
    """

    model: Any
    x: np.ndarray
    batch_size: int
    optimizer: optax.GradientTransformation

    def step(self, parallel: Parallel) -> tuple[Callable[..., Any], TrainState]:
        """The jitted step that `dgmjax.fit` takes, and its first state, placed."""
        params, fixed, merge = partition(self.model)
        step = make_train_step(
            dgm.objectives.maximum_likelihood,
            merge,
            self.optimizer,
            key=jax.random.key(0),
            ema_decay=0.99,
            parallel=parallel,
        )
        return step, parallel.place_state(init_state(params, fixed, self.optimizer))


def small() -> Case:
    """A RealNVP on the plane whose step costs next to nothing: depth 2, width 8, batches of 8."""
    x = np.random.RandomState(0).standard_normal((4_096, 2)).astype(np.float32)
    model = dgm.RealNVP((2,), depth=2, width=8, rngs=nnx.Rngs(0))
    return Case(model, x, 8, optax.adam(1e-3))


def digits(work: Work, *, batch_size: int = 250) -> Case:
    """The model of the config ``realnvp_digits`` on as many synthetic digits; without its augmentation."""
    x = np.random.RandomState(0).randint(0, _LEVELS, (1_500, 64)).astype(np.uint8)
    flow = dgm.RealNVP(
        (64,),
        depth=work.digits_depth,
        width=work.digits_width,
        mask=dgm.bijectors.checkerboard_mask((8, 8)).ravel(),
        activation="silu",
        dropout=0.4,
        preprocess=dgm.HistogramGaussianize((64,), _LEVELS),
        rngs=nnx.Rngs(0),
    )
    model = dgm.Dequantized(flow, _LEVELS).with_data_init(jnp.asarray(x), seed=jax.random.key(1))
    optimizer = dgm.training.default_optimizer(
        learning_rate=3e-3, steps=4_000, warmup_steps=50, weight_decay=1.0, clip_norm=10.0
    )
    return Case(model, x, batch_size, optimizer)


def turn(
    step: Callable[..., Any], state: Any, batches: Sequence[Any], steps: int
) -> tuple[Any, float]:
    """Take ``steps`` steps in a bare loop; returns the state and microseconds a step, waiting once, at the end."""
    metrics = None
    started = time.perf_counter()
    for index in range(steps):
        state, metrics = step(state, batches[index % len(batches)])
    jax.block_until_ready((state, metrics))
    return state, 1e6 * (time.perf_counter() - started) / steps


def timed(
    task: str,
    system: str,
    unit: str,
    values: Sequence[float] | np.ndarray,
    *,
    note: str = "",
    ratio: float | None = None,
) -> Row:
    """A row with the median and the spread of ``values``."""
    values = np.asarray(values)
    return Row(
        task=task,
        system=system,
        unit=unit,
        median=float(np.median(values)),
        minimum=float(values.min()),
        p90=float(np.quantile(values, 0.9)),
        ratio=ratio,
        note=note,
    )
