"""SIGTERM, the notice that a machine is about to be taken away."""

import contextlib
import itertools
import signal
import threading
from collections.abc import Callable, Iterator

import jax
from jax.experimental import multihost_utils


class PreemptedError(RuntimeError):
    """The run was asked to stop; its checkpoint is written, and the same call continues from it."""


@contextlib.contextmanager
def watch_for_preemption(*, active: bool = True) -> Iterator[Callable[[], bool]]:
    """Inside, SIGTERM ends nothing but makes the yielded function return True; the old handler comes back after.

    If the block ends as if nothing had happened, the signal is delivered then. Only the main thread may handle signals;
    in another, or if not ``active``, signals do what they always do and the function stays False.

    Where several processes take part, JAX's runtime catches the signal, tells the others, and makes the function true
    at the same call in all of them; it is to be called after every step. Signals that come too late for that are lost.
    """
    asked = threading.Event()
    if not active or threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    if jax.process_count() > 1:
        calls = itertools.count()
        yield lambda: bool(multihost_utils.reached_preemption_sync_point(next(calls)))
        return
    previous = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, previous)
    if asked.is_set():
        signal.raise_signal(signal.SIGTERM)
