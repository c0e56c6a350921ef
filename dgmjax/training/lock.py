"""A run directory is written by one run at a time."""

import contextlib
import contextvars
import errno
import functools
import os
import pathlib
import socket
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from dgmjax.training.distributed import agree

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

P = ParamSpec("P")
T = TypeVar("T")

_FILE = ".lock"
_held: contextvars.ContextVar[frozenset[pathlib.Path]] = contextvars.ContextVar(
    "held", default=frozenset()
)


def one_run_at_a_time(function: Callable[P, T]) -> Callable[P, T]:
    """``function`` of a keyword ``workdir``, which nobody else may run in meanwhile; None for no directory.

    The first process locks ``workdir/.lock`` for all that take part. A killed process leaves no lock behind: the kernel
    holds it, not the file. Inside, the same directory may be asked for again. File systems that cannot lock let
    everybody in.

    Raises:
      RuntimeError: another process, or another thread, is at work in the directory.
    """

    @functools.wraps(function)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        workdir = kwargs.get("workdir")
        with contextlib.ExitStack() as stack:
            if workdir is not None:
                folder = pathlib.Path(str(workdir)).absolute()
                agree(lambda: stack.enter_context(_lock(folder)))
            return function(*args, **kwargs)

    return alone


@contextlib.contextmanager
def _lock(workdir: pathlib.Path) -> Iterator[None]:
    workdir.mkdir(parents=True, exist_ok=True)
    workdir = workdir.resolve()
    if fcntl is None or workdir in _held.get():
        yield
        return
    try:
        file = os.open(workdir / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:  # whoever has to write will say so; a finished run may be read
        yield
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                owner = os.pread(file, 1_000, 0).decode(errors="replace").strip()
                raise RuntimeError(
                    f"work directory {workdir} is in use by {owner or 'another process'}, and two runs in one "
                    f"directory would overwrite each other. Wait until it ends, or choose another directory; "
                    f"processes of one run are started with --distributed or dgmjax.training.initialize()."
                ) from None
        else:
            with contextlib.suppress(OSError):  # a full disk
                os.ftruncate(file, 0)
                os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        token = _held.set(_held.get() | {workdir})
        try:
            yield
        finally:
            _held.reset(token)
    finally:
        os.close(file)
