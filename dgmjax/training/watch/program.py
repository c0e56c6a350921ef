"""A train step as a compiled program that knows what it costs."""

import time
from collections.abc import Callable
from typing import Any

import jax

from dgmjax.training.watch.flops import count_flops, peak_flops


class Program:
    """``program(state, batch)`` is ``step(state, batch)``, compiled at the first call, for the shapes of that call.

    Args:
      step: a jitted function.
      steps_per_call: steps it takes.
      on_compile: called with this program when it is compiled, before it runs.

    Attributes:
      flops: floating-point operations of one step, see `dgmjax.training.count_flops`; None before the first call, and
        with ``pmap``.
      state_bytes: memory of the state, on one device.
      working_bytes: memory that a call needs beside state and batch, on one device, as the compiler says.
      compile_seconds: time to trace and compile.
    """

    def __init__(
        self,
        step: Callable[..., Any],
        *,
        steps_per_call: int = 1,
        on_compile: Callable[["Program"], None] | None = None,
    ):
        self._step, self._steps_per_call, self._on_compile = step, steps_per_call, on_compile
        self._compiled: Callable[..., Any] | None = None
        self.flops: float | None = None
        self.state_bytes: int | None = None
        self.working_bytes: int | None = None
        self.compile_seconds: float | None = None

    def __call__(self, state: Any, batch: Any) -> Any:
        """Run the step."""
        if self._compiled is None:
            self._compile(state, batch)
        return self._compiled(state, batch)  # type: ignore[misc]

    def rates(self, steps_per_second: float, devices: list[jax.Device]) -> dict[str, float]:
        """``flops_per_second`` over all devices and, where their peak is known, its share, ``flops_utilization``."""
        if self.flops is None:
            return {}
        achieved = self.flops * steps_per_second
        peak = peak_flops(devices[0])
        share = {} if peak is None else {"flops_utilization": achieved / (peak * len(devices))}
        return {"flops_per_second": achieved} | share

    def _compile(self, state: Any, batch: Any) -> None:
        started = time.perf_counter()
        if hasattr(self._step, "trace"):
            traced = self._step.trace(state, batch)
            self.flops = count_flops(traced.jaxpr) / self._steps_per_call
            self._compiled = compiled = traced.lower().compile()
            memory = compiled.memory_analysis()
            self.working_bytes = None if memory is None else memory.temp_size_in_bytes
        else:  # pmap
            self._compiled = self._step
        self.compile_seconds = time.perf_counter() - started
        leaves = jax.tree.leaves(state)
        self.state_bytes = sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)
        if self._on_compile is not None:
            self._on_compile(self)
