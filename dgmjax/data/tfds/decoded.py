"""Records decoded once: into memory, or onto the disk if they are many, and kept in files that the next run reads."""

import contextlib
import hashlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np
from absl import logging

from dgmjax.data.tfds.records import ImageRecords

_CHUNK_BYTES = 2**26
_CHUNK_ROWS = 1_000
_GIGABYTE = 10**9


def cache_dir(kind: str = "decoded") -> pathlib.Path:
    """``$XDG_CACHE_HOME/dgmjax/<kind>``, by default ``~/.cache/dgmjax/<kind>``; safe to delete at any time."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(home).expanduser() / "dgmjax" / kind


def decode_images(records: ImageRecords, *, cache: bool = True) -> dict[str, np.ndarray]:
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
        with contextlib.suppress(OSError), _replacing(path) as written:
            np.savez(written, **arrays)  # type: ignore[arg-type]  # a name is no reserved word
    return arrays


def decode_to_disk(parts: Mapping[str, ImageRecords]) -> dict[str, dict[str, np.ndarray]]:
    """All rows of each part, in order, as `decode_images` has them, with the images memory-mapped, read-only.

    Memory is needed for a chunk of rows only: a part is decoded chunk by chunk into ``.npy`` files in `cache_dir`, and
    pages of the files come in as rows are read. They are decoded again if metadata, names, sizes or modification times
    of the record files change. A file is written whole or not at all, so several processes may do it at once, each
    with space for its own copy until it is done; one of another length is replaced, but there are no checksums as in
    the archives of `decode_images`.

    Raises:
      OSError: not enough free space on the disk, or no files can be written there.
    """
    missing = [records for records in parts.values() if _mapped(records) is None]
    if missing:
        _make_room(missing)
    for records in missing:
        try:
            _write_rows(records)
        except OSError as error:
            raise OSError(_no_room(missing, str(error))) from error
    arrays = {}
    for part, records in parts.items():
        mapped = _mapped(records)
        if mapped is None:
            raise OSError(
                f"{records.name}: the decoded files of {records.split!r} in {cache_dir()} were changed or deleted "
                f"while they were made; decode the set again."
            )
        arrays[part] = mapped
    return arrays


def how_to_stream(name: str, split: str) -> str:
    """The call that reads ``split`` of the set ``name`` without decoding all of it first."""
    return (
        f"dgmjax.data.Stream(dgmjax.data.ImageRecords(dgmjax.data.find_prepared({name!r}), {split!r}), "
        f"batch_size=..., seed=...)"
    )


def _mapped(records: ImageRecords) -> dict[str, np.ndarray] | None:
    """What `_write_rows` wrote, or None."""
    with contextlib.suppress(Exception):  # as in decode_images; a file cut short cannot be mapped
        arrays = {
            name: np.load(path, mmap_mode="r" if name == "x" else None, allow_pickle=False)
            for name, path in _files(records).items()
        }
        images = arrays["x"]
        expected = (len(records), *records.image_shape)
        if (images.shape, images.dtype) == (expected, np.uint8) and all(
            len(array) == len(records) for array in arrays.values()
        ):
            return arrays
    return None


def _files(records: ImageRecords) -> dict[str, pathlib.Path]:
    fingerprint = _fingerprint(records)
    return {name: cache_dir() / f"{fingerprint}.{name}.npy" for name in records.arrays}


def _write_rows(records: ImageRecords) -> None:
    files, contexts = _files(records), []
    size = int(np.prod(records.image_shape))
    rows = min(max(1, _CHUNK_BYTES // size), _CHUNK_ROWS)
    with _replacing(files["x"]) as file:
        header = {"descr": "|u1", "fortran_order": False}
        np.lib.format.write_array_header_1_0(
            file, header | {"shape": (len(records), *records.image_shape)}
        )
        for start in range(0, len(records), rows):
            batch = records[np.arange(start, min(start + rows, len(records)))]
            # Written, not assigned to a mapping: a full disk is an error then, and kills the process otherwise.
            file.write(batch["x"].data)
            contexts += [batch["context"]] if "context" in batch else []
        file.flush()
        os.fsync(file.fileno())  # no checksum would tell of rows that never reached the disk
    if contexts:
        with _replacing(files["context"]) as file:
            np.save(file, np.concatenate(contexts))


def _make_room(missing: list[ImageRecords]) -> None:
    """Raise unless the disk has space; say what is going to take minutes."""
    directory = cache_dir()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise OSError(_no_room(missing, str(error))) from error
    needed = sum(records.nbytes for records in missing)
    if needed > free:
        raise OSError(_no_room(missing, f"{free / _GIGABYTE:.1f} GB are free"))
    # A warning, since others are not shown unless asked for.
    logging.warning(
        "%s is decoded once, %.1f GB into %s.", missing[0].name, needed / _GIGABYTE, directory
    )


def _no_room(missing: list[ImageRecords], there: str) -> str:
    needed = sum(records.nbytes for records in missing) / _GIGABYTE
    name, split = missing[0].name, missing[0].split
    return (
        f"{name} decodes to {needed:.1f} GB, which {cache_dir()} must hold, but: {there}. Set XDG_CACHE_HOME to a "
        f"directory on another disk, delete what older runs left in this one (anything there may be deleted), or "
        f"stream the set: {how_to_stream(name, split)}."
    )


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


@contextlib.contextmanager
def _replacing(path: pathlib.Path) -> Iterator[BinaryIO]:
    """A file that becomes ``path`` when all of it is written, and vanishes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        pathlib.Path(temporary).replace(path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise
