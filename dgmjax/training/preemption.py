"""SIGTERM, the notice that a machine is about to be taken away."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


class PreemptedError(RuntimeError):
    """The run was asked to stop; its checkpoint is written, and the same call continues from it."""


@contextlib.contextmanager
def watch_for_preemption(*, active: bool = True) -> Iterator[Callable[[], bool]]:
    """Inside, SIGTERM ends nothing but makes the yielded function return True; the old handler comes back after.

    If the block ends as if nothing had happened, the signal is delivered then. Only the main thread may handle signals;
    in another, or if not ``active``, signals do what they always do and the function stays False.
    """
    asked = threading.Event()
    if not active or threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    previous = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, previous)
    if asked.is_set():
        signal.raise_signal(signal.SIGTERM)
