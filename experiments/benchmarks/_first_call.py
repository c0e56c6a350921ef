"""The time until the first training step has run, and how tracing and compiling grow with the depth."""

import time
from types import ModuleType
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import _dgmjax
from experiments.benchmarks._races import events
from experiments.benchmarks._timing import Row, Sizes, System, race

_STAGES = ("trace", "lower", "compile")


def first_call(sizes: Sizes, peers: dict[str, ModuleType]) -> list[Row]:
    """Trace, compile and run one step of a RealNVP, all caches of JAX empty.

    Models are built outside the clock. The persistent compilation cache is off meanwhile.
    """
    x = events(sizes)
    config: Any = jax.config
    persistent, fresh = config.jax_enable_compilation_cache, False
    config.update("jax_enable_compilation_cache", fresh)
    try:
        model = _dgmjax.realnvp(sizes)
        systems = [_dgmjax.training_system(model, x), _dgmjax.bare_system(model, x)]
        if "flowjax" in peers:
            flowjax = peers["flowjax"]
            systems.append(flowjax.training_system(flowjax.coupling(sizes), x))
        rows = race(
            "first call of the coupling step",
            [_with_empty_caches(system) for system in systems],
            rounds=sizes.first_calls,
            calls=1,
            warm=0,
        )
        return rows + _growth(sizes)
    finally:
        config.update("jax_enable_compilation_cache", persistent)
        jax.clear_caches()


def _with_empty_caches(system: System) -> System:
    def run() -> None:
        jax.clear_caches()
        system.run()

    return system._replace(run=run, note="")


def _growth(sizes: Sizes) -> list[Row]:
    """Medians of the three stages at several depths, in alternation."""
    batch = {"x": events(sizes)}
    cases = {depth: _dgmjax.trainer(_dgmjax.realnvp(sizes, depth=depth)) for depth in sizes.depths}
    times: dict[tuple[int, str], list[float]] = {}
    for _ in range(sizes.first_calls):
        for depth, (step, state) in cases.items():
            jax.clear_caches()
            clock = [time.perf_counter()]
            traced = step.trace(state, batch)
            clock.append(time.perf_counter())
            lowered = traced.lower()
            clock.append(time.perf_counter())
            lowered.compile()
            clock.append(time.perf_counter())
            for stage, start, end in zip(_STAGES, clock[:-1], clock[1:], strict=True):
                times.setdefault((depth, stage), []).append(1e3 * (end - start))
    shallowest = sizes.depths[0]
    return [
        Row(
            task=f"{stage} the coupling step",
            system=f"dgmjax, depth {depth}",
            unit="ms",
            median=float(np.median(times[depth, stage])),
            minimum=min(times[depth, stage]),
            p90=float(np.quantile(times[depth, stage], 0.9)),
            ratio=None
            if depth == shallowest
            else float(np.median(times[shallowest, stage]) / np.median(times[depth, stage])),
            note="" if depth == shallowest else f"the ratio is that of depth {shallowest} to it",
        )
        for stage in _STAGES
        for depth in sizes.depths
    ]
