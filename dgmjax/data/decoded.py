"""Records decoded once: into memory, and into a file that the next run reads instead."""

import contextlib
import hashlib
import os
import pathlib
import tempfile

import numpy as np

from dgmjax.data.records import ImageRecords


def cache_dir(kind: str = "decoded") -> pathlib.Path:
    """``$XDG_CACHE_HOME/dgmjax/<kind>``, by default ``~/.cache/dgmjax/<kind>``; safe to delete at any time."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(home).expanduser() / "dgmjax" / kind


def decode(records: ImageRecords, *, cache: bool = True) -> dict[str, np.ndarray]:
    """All rows of ``records``, in order.

    With ``cache`` they are read from a file if there is one for the same metadata, names, sizes and modification
    times of the record files, and kept in one otherwise. The file is written whole or not at all; a damaged one is
    replaced, and a cache that cannot be written is done without.
    """
    whole = dict.fromkeys(records.arrays, len(records))
    path = cache_dir() / f"{_fingerprint(records)}.npz"
    if cache:
        # The archive has checksums, and damage raises nearly anything; whatever it is, the records are still there.
        with contextlib.suppress(Exception):
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = dict(archive)
            if {name: len(array) for name, array in arrays.items()} == whole:
                return arrays
    arrays = records[np.arange(len(records))]
    if cache:
        with contextlib.suppress(OSError):
            _write(path, arrays)
    return arrays


def _fingerprint(records: ImageRecords) -> str:
    parts = [repr(records)]
    for file in sorted(records.directory.iterdir()):
        if file.is_file():
            stat = file.stat()
            parts.append(f"{file.name} {stat.st_size} {stat.st_mtime_ns}")
            if file.suffix == ".json":
                parts.append(file.read_text())
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"{records.name.replace('/', '-')}-{digest[:32]}"


def _write(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # a name is no reserved word
        pathlib.Path(temporary).replace(path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise
