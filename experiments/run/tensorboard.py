"""TensorBoard event files of a run."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import dgmjax as dgm


class Events:
    """What a run shows in TensorBoard.

    Args:
      writer: of tensorboardX, or None for a process that writes nothing.
    """

    def __init__(self, writer: Any):
        self._writer = writer

    def write(self, record: dict[str, Any]) -> None:
        """The numbers of a metrics record as ``<split>/<name>``."""
        for name, value in record.items():
            if isinstance(value, float) and self._writer is not None:
                self._writer.add_scalar(f"{record['split']}/{name}", value, record["step"])

    def picture(self, path: pathlib.Path, step: int) -> None:
        """A picture that was written as a file."""
        from matplotlib.image import imread

        if self._writer is not None:
            self._writer.add_image("samples", imread(path)[..., :3], step, dataformats="HWC")


@contextlib.contextmanager
def event_writer(workdir: pathlib.Path) -> Iterator[Events]:
    """Event files in ``workdir/tensorboard``, written by the first process."""
    if not dgm.training.is_first():
        yield Events(None)
        return
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(workdir / "tensorboard")) as writer:
        yield Events(writer)
