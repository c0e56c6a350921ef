"""A trace of a few steps for the profiler."""

import pathlib

import jax

_WAIT, _STEPS = 10, 10


class Profile:
    """Records steps 11 to 20 of a session, or the calls around them, when nothing compiles any more.

    Open it with ``xprof DIRECTORY`` or with TensorBoard's profile plugin; layers appear under their names.

    Args:
      directory: where to write; None records nothing.
    """

    def __init__(self, directory: str | pathlib.Path | None):
        self.directory = None if directory is None else pathlib.Path(directory)
        self._taken = 0
        self._running = False

    def after(self, steps: int, waited_for: object) -> None:
        """Tell that ``steps`` more were sent to the device; ``waited_for`` is the output of the last one."""
        if self.directory is None:
            return
        self._taken += steps
        if self._running and self._taken >= _WAIT + _STEPS:
            jax.block_until_ready(waited_for)
            self.close()
        elif not self._running and self._taken >= _WAIT:
            jax.block_until_ready(waited_for)
            jax.profiler.start_trace(str(self.directory))
            self._running = True

    def close(self) -> None:
        """Write the trace, if one is being recorded; nothing is recorded afterwards."""
        if self._running:
            jax.profiler.stop_trace()
            self._running, self.directory = False, None
