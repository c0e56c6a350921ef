"""A run directory belongs to one run: its settings are written first and compared ever after."""

import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

_FILE = "config.json"


def claim(
    workdir: pathlib.Path,
    settings: dict[str, Any],
    *,
    file: str = _FILE,
    complete: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> None:
    """Make ``workdir`` and write ``file`` into it, or check that it holds the same settings.

    Args:
      workdir: the directory.
      settings: a JSON object.
      file: its name there.
      complete: adds to settings that an older version wrote what it did not know, the defaults of today.

    Raises:
      ValueError: the directory belongs to a run with other settings; the message lists the differences.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    wanted = json.loads(json.dumps(settings))
    path = workdir / file
    if not path.exists():
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(wanted, indent=1) + "\n")
        os.replace(temporary, path)
        return
    present = json.loads(json.dumps(complete(read_settings(workdir, file=file))))
    differences = _differences(present, wanted)
    if differences:
        raise ValueError(
            f"work directory {workdir} belongs to another run: {'; '.join(differences)}. Use the same settings to "
            f"continue it, or another work directory."
        )


def read_settings(workdir: pathlib.Path, *, file: str = _FILE) -> dict[str, Any]:
    """The settings of the run in ``workdir``.

    Raises:
      FileNotFoundError: not a run directory.
      ValueError: the file is damaged.
    """
    path = workdir / file
    if not path.exists():
        raise FileNotFoundError(f"{workdir} is not a run directory: {path} is missing.")
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}.") from None


def _differences(there: Any, here: Any, prefix: str = "") -> list[str]:
    if isinstance(there, dict) and isinstance(here, dict):
        return [
            line
            for name in sorted({*there, *here})
            for line in _differences(there.get(name), here.get(name), f"{prefix}{name}.")
        ]
    if there == here:
        return []
    return [f"{prefix.removesuffix('.')} is {there!r} there and {here!r} here"]
