"""Timing systems against each other, in alternation."""

import dataclasses
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The work and how often it is repeated.

    Attributes:
      dim: event size ``D`` of the training steps and of sampling.
      batch: rows a training step.
      width: units of the two hidden layers of every conditioner.
      couplings: affine couplings of the RealNVP.
      mafs: layers of the MAF.
      samples: points drawn from the MAF.
      inversion_dim: ``D`` of the inversion of one autoregressive layer.
      inversion_width: units of its two hidden layers.
      inversion_batch: latents inverted.
      depths: couplings of the RealNVPs whose trace and compile times are compared.
      memory_depths: couplings of the RealNVPs whose gradients' memory is compared.
      loop_steps: steps of the trainer's loop.
      rounds: rounds of a race; each system has one turn a round.
      calls: timed calls a turn.
      first_calls: rounds of the race of first calls.
    """

    dim: int = 32
    batch: int = 512
    width: int = 128
    couplings: int = 16
    mafs: int = 8
    samples: int = 4_096
    inversion_dim: int = 784
    inversion_width: int = 512
    inversion_batch: int = 64
    depths: tuple[int, ...] = (4, 16, 64)
    memory_depths: tuple[int, ...] = (8, 16, 32, 128)
    loop_steps: int = 2_000
    rounds: int = 15
    calls: int = 8
    first_calls: int = 5


QUICK = Sizes(
    dim=6,
    batch=16,
    width=16,
    couplings=4,
    mafs=2,
    samples=32,
    inversion_dim=12,
    inversion_width=24,
    inversion_batch=4,
    depths=(2, 4),
    memory_depths=(4, 16),
    loop_steps=40,
    rounds=2,
    calls=2,
    first_calls=1,
)


class System(NamedTuple):
    """One contestant.

    Attributes:
      name: of the library, with its variant.
      run: does the work once and returns when all its outputs are there.
      parameters: trainable numbers; 0 where they do not matter.
      note: how its work differs from the others', in one line.
    """

    name: str
    run: Callable[[], object]
    parameters: int = 0
    note: str = ""


class Row(NamedTuple):
    """One line of the results.

    Attributes:
      task: of the benchmark.
      system: see `System`.
      unit: of the numbers.
      median: over all calls, or the exact number.
      minimum: of all calls; None for an exact number.
      p90: 90th percentile of all calls; None for an exact number.
      ratio: time of the first system over the time of this one, the median over rounds; None where nothing is compared.
      cpu: median processor time of a call, all threads together: what a loaded machine disturbs least.
      parameters: see `System`.
      note: see `System`.
    """

    task: str
    system: str
    unit: str
    median: float
    minimum: float | None = None
    p90: float | None = None
    ratio: float | None = None
    cpu: float | None = None
    parameters: int = 0
    note: str = ""


def milliseconds(run: Callable[[], object]) -> tuple[float, float]:
    """Wall time and processor time of one call, with the garbage collector off as in `timeit`."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        started, cpu_started = time.perf_counter(), time.process_time()
        run()
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu_started
        return 1e3 * wall, 1e3 * cpu
    finally:
        if enabled:
            gc.enable()


def alternate(
    systems: Sequence[System], *, rounds: int, calls: int, warm: int
) -> Mapping[str, np.ndarray]:
    """Milliseconds of every system, ``[rounds, calls, 2]`` for wall and processor time; one turn each a round.

    The order rotates from round to round, so that slow drifts of the machine meet all systems alike.

    Args:
      systems: at least one.
      rounds: turns of each.
      calls: timed calls a turn.
      warm: untimed calls before them: caches of the processor and threads of the library left before.
    """
    times: dict[str, list[list[tuple[float, float]]]] = {system.name: [] for system in systems}
    gc.collect()
    for index in range(rounds):
        start = index % len(systems)
        for system in (*systems[start:], *systems[:start]):
            for _ in range(warm):
                system.run()
            times[system.name].append([milliseconds(system.run) for _ in range(calls)])
    return {name: np.asarray(values) for name, values in times.items()}


def race(
    task: str, systems: Sequence[System], *, rounds: int, calls: int, warm: int = 1
) -> list[Row]:
    """Time ``systems`` in alternation; ratios are those of the first system to each."""
    if warm:
        for system in systems:
            system.run()  # compiles
    times = alternate(systems, rounds=rounds, calls=calls, warm=warm)
    walls = {name: values[..., 0] for name, values in times.items()}
    turns = {name: np.median(values, axis=1) for name, values in walls.items()}
    first = turns[systems[0].name]
    return [
        Row(
            task=task,
            system=system.name,
            unit="ms",
            median=float(np.median(walls[system.name])),
            minimum=float(walls[system.name].min()),
            p90=float(np.quantile(walls[system.name], 0.9)),
            ratio=None if index == 0 else float(np.median(first / turns[system.name])),
            cpu=float(np.median(times[system.name][..., 1])),
            parameters=system.parameters,
            note=system.note,
        )
        for index, system in enumerate(systems)
    ]
