"""A run directory belongs to one run: its settings are written first, compared ever after, and changes are dated."""

import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from dgmjax.layers.serialization.recorded import plain

_FILE = "config.json"
_CHANGES = "changes"
Settings = dict[str, Any]
Changes = dict[str, list[Any]]


def claim(
    workdir: pathlib.Path,
    settings: Settings,
    *,
    file: str = _FILE,
    complete: Callable[[Settings], Settings] = dict,
    may_change: Sequence[str] = (),
) -> Changes:
    """Make ``workdir`` and write ``file`` into it, or check that it holds the settings of the same run.

    Args:
      workdir: the directory.
      settings: a JSON object; NumPy and JAX numbers are written as such.
      file: its name there.
      complete: adds to settings that an older version wrote what it did not know, the defaults of today.
      may_change: names of settings, or of groups of them, that a run may go on with other values of; `record_changes`
        writes them down when it does.

    Returns:
      What differs, ``{name: [there, here]}``, with names such as ``training.steps``.

    Raises:
      ValueError: the directory belongs to a run with other settings; the message lists the differences.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / file).exists():
        _write(workdir / file, as_json(settings))
        return {}
    return check_same_run(
        read_settings(workdir, file=file, complete=complete),
        as_json(settings),
        may_change=may_change,
        where=f"work directory {workdir}",
    )


def check_same_run(
    there: Settings, here: Settings, *, may_change: Sequence[str], where: str
) -> Changes:
    """The differences, ``{name: [there, here]}``, all of which may change.

    Raises:
      ValueError: ``where`` holds another run: something that must not change differs.
    """
    changes = differences(there, here)
    other = [
        name for name in changes if not any(f"{name}.".startswith(f"{m}.") for m in may_change)
    ]
    if other:
        listed = "; ".join(
            f"{n} is {changes[n][0]!r} there and {changes[n][1]!r} here" for n in other
        )
        raise ValueError(
            f"{where} belongs to another run: {listed}. Use the same settings to continue it, or another work "
            f"directory."
        )
    return changes


def record_changes(
    workdir: pathlib.Path,
    settings: Settings,
    *,
    step: int,
    file: str = _FILE,
    complete: Callable[[Settings], Settings] = dict,
    origin: tuple[str, Settings] | None = None,
) -> Changes:
    """Write the ``settings`` with which a run goes on from ``step`` on; returns what changed there.

    The file holds the present settings and a list ``changes`` of ``{"step": 600, "changed": {name: [before, now]}}``. A
    run that goes on from a checkpoint before its last change, because it was killed, undoes and dates it anew.

    Args:
      workdir: a directory that `claim` has made.
      settings: as of `claim`.
      step: of the checkpoint with which it goes on.
      file: as of `claim`.
      complete: as of `claim`.
      origin: name and settings of the run from which this one goes on, which has its directory for the first time.
    """
    path, now = workdir / file, as_json(settings)
    content = _read(path)
    history = [entry for entry in content.pop(_CHANGES, []) if entry["step"] < step]
    before = read_settings(workdir, file=file, complete=complete, step=step)
    entry: dict[str, Any] = {"step": step}
    if origin is not None:
        entry["continued_from"], before = origin
    changes = differences(before, now) if step else {}
    if changes or origin is not None:
        history.append(entry | {"changed": changes})
    new = now | ({_CHANGES: history} if history else {})
    if new != _read(path):
        _write(path, new)
    return changes


def read_settings(
    workdir: pathlib.Path,
    *,
    file: str = _FILE,
    complete: Callable[[Settings], Settings] = dict,
    step: int | None = None,
) -> Settings:
    """The settings of the run in ``workdir``; those with which it came to ``step``, if given.

    Raises:
      FileNotFoundError: not a run directory.
      ValueError: the file is damaged.
    """
    path = workdir / file
    if not path.exists():
        raise FileNotFoundError(f"{workdir} is not a run directory: {path} is missing.")
    settings = _read(path)
    for entry in reversed(settings.pop(_CHANGES, [])):
        if step is not None and entry["step"] >= step:
            for name, (before, _) in entry["changed"].items():
                _set(settings, name.split("."), before)
    return as_json(complete(settings))


def differences(there: Any, here: Any, prefix: str = "") -> Changes:
    """``{name: [there, here]}`` of two JSON objects, where they differ."""
    if isinstance(there, dict) and isinstance(here, dict):
        parts = [
            differences(there.get(name), here.get(name), f"{prefix}{name}.")
            for name in sorted({*there, *here})
        ]
        return {name: pair for part in parts for name, pair in part.items()}
    return {} if there == here else {prefix.removesuffix("."): [there, here]}


def as_json(settings: Settings) -> Settings:
    """``settings`` as they come back from a file: lists for tuples, Python's numbers."""
    return json.loads(json.dumps(settings, default=_number))


def _number(value: Any) -> Any:
    number = plain(value)
    if number is value:
        raise TypeError(f"settings: a {type(value).__name__} cannot be written as JSON: {value!r}.")
    return number


def _set(settings: Settings, names: list[str], value: Any) -> None:
    *groups, last = names
    for name in groups:
        settings = settings[name]
    settings[last] = value


def _read(path: pathlib.Path) -> Settings:
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}.") from None


def _write(path: pathlib.Path, content: Settings) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(temporary, path)
