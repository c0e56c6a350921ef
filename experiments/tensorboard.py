"""TensorBoard event files of a run."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def event_writer(workdir: pathlib.Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that writes the numbers of a metrics record as ``<split>/<name>`` scalars."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(workdir / "tensorboard")) as writer:

        def write(record: dict[str, Any]) -> None:
            for name, value in record.items():
                if isinstance(value, float):
                    writer.add_scalar(f"{record['split']}/{name}", value, record["step"])

        yield write
