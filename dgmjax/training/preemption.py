"""SIGTERM, the notice that a machine is about to be taken away."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


class PreemptedError(RuntimeError):
    """The run was asked to stop; its checkpoint is written, and the same call continues from it."""


@contextlib.contextmanager
def watch_for_preemption() -> Iterator[Callable[[], bool]]:
    """Inside, SIGTERM ends nothing but makes the yielded function return True; the old handler comes back after.

    Only the main thread may handle signals; in another the function stays False.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    previous = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, previous)
