"""How often `dgmjax.fit` waits for the device or copies from it between two logs: counted, not timed."""

import collections
import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import numpy as np

import dgmjax as dgm
from dgmjax.training import Parallel, Program
from experiments.benchmarks._timing import Row
from experiments.benchmarks._training_work import Part, Work, small

_METHODS = ("__array__", "__dlpack__", "__iter__", "item", "tolist")
_NUMPY = ("array", "asarray", "ascontiguousarray", "copy", "stack", "concatenate")


class Events(list[str]):
    """``"step"``, ``"log"``, ``"fetch: how"`` and ``"wait: how"``, in the order in which they happened."""

    def between_logs(self) -> list[collections.Counter[str]]:
        """What happened between the calls of the step of each window but the first, which compiles."""
        windows = []
        for window in _split(self, "log")[1:]:
            steps = [index for index, event in enumerate(window) if event == "step"]
            if steps:
                inside = window[steps[0] : steps[-1] + 1]
                windows.append(collections.Counter(event for event in inside if event != "step"))
        return windows

    def at_logs(self) -> list[int]:
        """Fetches after the last step of every window but the first, up to its log."""
        counts = []
        for window in _split(self, "log")[1:-1]:
            last = max(index for index, event in enumerate(window) if event == "step")
            counts.append(sum(event.startswith("fetch") for event in window[last:]))
        return counts


def _split(events: list[str], mark: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for event in events:
        if event == mark:
            parts.append([])
        else:
            parts[-1].append(event)
    return parts


@contextlib.contextmanager
def counted() -> Iterator[Events]:
    """Inside, everything that makes the host wait for a `jax.Array` or copy it is noted.

    ``jax.transfer_guard`` sees nothing of this on the CPU, where a copy from the device is no transfer; so the ways
    themselves are watched: ``jax.device_get``, ``jax.block_until_ready``, the methods of arrays behind ``float``,
    ``int``, ``bool``, ``item``, ``list`` and formatting, and the NumPy functions that read a buffer without a method.
    What one of them calls is part of it and not counted again. A function bound to another name before, as by
    ``from numpy import asarray``, is not seen.
    """
    events, inside = Events(), False

    def watch(function: Callable[..., Any], name: str, *, always: bool = True) -> Any:
        def watched(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            if inside or not (always or _holds_an_array(args)):
                return function(*args, **kwargs)
            events.append(name)
            inside = True
            try:
                return function(*args, **kwargs)
            finally:
                inside = False

        return watched

    kind: Any = type(jax.numpy.zeros(()))
    with contextlib.ExitStack() as stack:

        def put(owner: Any, name: str, new: Any) -> None:
            stack.enter_context(mock.patch.object(owner, name, new))

        for name in _METHODS:
            put(kind, name, watch(getattr(kind, name), f"fetch: {name}"))
        # What float(), int(), bool() and format() read.
        put(kind, "_value", property(watch(kind._value.fget, "fetch: a number")))
        for name in _NUMPY:
            put(np, name, watch(getattr(np, name), f"fetch: np.{name}", always=False))
        put(kind, "block_until_ready", watch(kind.block_until_ready, "wait: method"))
        put(jax, "device_get", watch(jax.device_get, "fetch: jax.device_get"))
        put(jax, "block_until_ready", watch(jax.block_until_ready, "wait: jax.block_until_ready"))
        call = Program.__call__

        def step(program: Program, state: Any, batch: Any) -> Any:
            events.append("step")
            return call(program, state, batch)

        put(Program, "__call__", step)
        yield events


def _holds_an_array(args: tuple[Any, ...]) -> bool:
    return any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(args))


def count(window: int, *, windows: int = 3, debug_nans: bool = False) -> Events:
    """Fetches and waits of a run of `dgmjax.fit` on the small model."""
    case = small()
    with counted() as events:
        dgm.fit(
            case.model,
            case.x,
            seed=jax.random.key(0),
            steps=window * windows,
            eval_every=window,
            batch_size=case.batch_size,
            init_rows=0,
            execution=dgm.Execution(parallel=Parallel(num_devices=1)),
            watch=dgm.Watch(
                progress=False, on_record=lambda record: events.append("log"), debug_nans=debug_nans
            ),
        )
    return events


def syncs(work: Work) -> Part:
    """Fetches and waits of `dgmjax.fit` between two logs, and fetches at a log; the goal is no fetch between them.

    The loop sends steps ahead of the device, but not more than 32: it then waits for a step 32 calls back, which copies
    nothing and is counted apart.
    """
    events = count(work.sync_window)
    windows = events.between_logs()
    fetches = max(_number(window, "fetch") for window in windows)
    waits = max(_number(window, "wait") for window in windows)
    task = f"in {work.sync_window} steps between logs"
    rows = [
        Row(task, "fetches", "", fetches, note="copies from the device; exact, by watching every way to make one"),
        Row(task, "waits for a step 32 calls back", "", waits, note="the bound on run-ahead: no copy"),
        Row(task, "fetches at the log", "", max(events.at_logs()), note="all metrics in one"),
    ]  # fmt: skip
    return Part(
        rows,
        {
            "fetches_between_logs": fetches,
            "waits_between_logs": waits,
            "ways": dict(sum(windows, collections.Counter())),
        },
    )


def _number(window: collections.Counter[str], kind: str) -> int:
    return sum(number for event, number in window.items() if event.startswith(kind))
