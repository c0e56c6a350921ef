"""Prepare MNIST and Fashion-MNIST for TensorFlow Datasets, without TensorFlow: download, verify, write array_record."""

import dataclasses
import gzip
import hashlib
import http.client
import os
import pathlib
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dgmjax.data.tfds.prepared import (
    PREPARABLE,
    DataNotFound,
    Prepared,
    check_packages,
    data_root,
    find_prepared,
    how_to_prepare,
    is_prepared,
)
from dgmjax.data.tfds.records import quiet

_TIMEOUT = 15.0  # seconds of silence of a host
_BLOCK = 1 << 20
_IDX_HEADER = {3: 16, 1: 8}  # bytes before the values, by the number of axes


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A file that a set is made from.

    Attributes:
      url: where it comes from; its last part is the name of the file.
      sha256: of its bytes, in hexadecimal digits.
    """

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.url.rsplit("/", 1)[-1]


def prepare(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
    files: Sequence[SourceFile] | None = None,
    timeout: float = _TIMEOUT,
) -> Prepared:
    """Make ``name`` readable by `tfds_dataset`; does nothing if it is already.

    The same records in the same order as TFDS's own builder writes. Downloads go to ``DATA_DIR/downloads/NAME``, which
    may be deleted afterwards: MNIST and Fashion-MNIST name their files alike, so each set has a directory of its own.

    Args:
      name: ``"mnist"`` or ``"fashion_mnist"``.
      data_dir: where prepared sets lie; default ``$TFDS_DATA_DIR``, else ``~/tensorflow_datasets``.
      manual_dir: take the files from here instead of the network.
      files: what to take, train images and labels, then test; default: what TFDS registers for the set.
      timeout: seconds that a host may be silent before giving up; there are no retries.

    Raises:
      ImportError: packages of the extra ``tfds`` are missing.
      ValueError: another set, or a file whose SHA-256 is not the registered one.
      FileNotFoundError: files missing in ``manual_dir``.
      ConnectionError: the download failed; what came before is kept.
    """
    root = data_root(data_dir)
    if name not in PREPARABLE:
        raise ValueError(
            f"prepare: expected {' or '.join(PREPARABLE)}, got {name!r}. Other sets need TensorFlow once:\n"
            f"{how_to_prepare(name, root)}"
        )
    try:
        return find_prepared(name, root)
    except DataNotFound:
        if is_prepared(name, root):
            raise  # incomplete, or in another format: not ours to overwrite
    check_packages(name)
    files = registered_files(name) if files is None else files
    if manual_dir is None:
        paths = [_download(file, root / "downloads" / name, timeout) for file in files]
    else:
        paths = _local_files(files, pathlib.Path(manual_dir).expanduser())
    parts = {"train": (paths[0], paths[1]), "test": (paths[2], paths[3])}
    with quiet():
        import tensorflow_datasets as tfds

        builder = _builder(name, parts)(data_dir=root)
        # Parquet loses records and tfrecord needs TensorFlow to read: array_record or nothing.
        builder.download_and_prepare(
            file_format="array_record",
            download_dir=root / "downloads" / name,
            download_config=tfds.download.DownloadConfig(manual_dir=paths[0].parent),
        )
    return find_prepared(name, root)


def registered_files(name: str) -> tuple[SourceFile, ...]:
    """The four files of ``name`` with the SHA-256 that TFDS registers: train images, labels, test images, labels."""
    with quiet():
        base = _base(name)
        registered = base.url_infos
    names = (
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    )
    urls = [f"{base.URL}{file}" for file in names]
    return tuple(SourceFile(url, registered[url].checksum) for url in urls)


def _base(name: str) -> Any:
    from tensorflow_datasets.image_classification import mnist

    return {"mnist": mnist.MNIST, "fashion_mnist": mnist.FashionMNIST}[name]


def _builder(name: str, parts: dict[str, tuple[pathlib.Path, pathlib.Path]]) -> Any:
    """TFDS's builder with the steps that need TensorFlow replaced: unpacking, reading, encoding."""
    from PIL import Image
    from tensorflow_datasets.core import registered

    def split_generators(self: Any, _: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {split: generate_examples(self, *paths) for split, paths in parts.items()}

    def generate_examples(
        _: Any, images: pathlib.Path, labels: pathlib.Path
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        pairs = zip(read_idx(images, 3), read_idx(labels, 1), strict=True)
        for index, (image, label) in enumerate(pairs):
            # A PIL image is encoded without TensorFlow, an array is not.
            yield index, {"image": Image.fromarray(image), "label": int(label)}

    base = _base(name)
    with registered.skip_registration():
        return type(
            base.__name__,
            (base,),
            {
                "__module__": base.__module__,
                "_split_generators": split_generators,
                "_generate_examples": generate_examples,
                "name": base.name,
            },
        )


def read_idx(path: pathlib.Path, axes: int) -> np.ndarray:
    """A gzipped file of MNIST's IDX format: uint8 with ``axes`` axes."""
    data = gzip.decompress(path.read_bytes())
    header = np.frombuffer(data[: _IDX_HEADER[axes]], ">u4")
    shape = tuple(int(size) for size in header[1:])
    values = np.frombuffer(data, np.uint8, offset=_IDX_HEADER[axes])
    if header[0] != 0x800 + axes or values.size != np.prod(shape):
        raise ValueError(f"{path} is no IDX file of bytes with {axes} axes.")
    return values.reshape(shape)


def _local_files(files: Sequence[SourceFile], folder: pathlib.Path) -> list[pathlib.Path]:
    missing = [file.name for file in files if not (folder / file.name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} does not hold {', '.join(missing)}.")
    for file in files:
        _check(folder / file.name, file)
    return [folder / file.name for file in files]


def _check(path: pathlib.Path, file: SourceFile) -> None:
    digest = _sha256(path)
    if digest != file.sha256:
        raise ValueError(
            f"{path} has SHA-256 {digest}, expected {file.sha256}: it is damaged or another file. Get it again from "
            f"{file.url}"
        )


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _download(file: SourceFile, folder: pathlib.Path, timeout: float) -> pathlib.Path:
    """Download ``file`` unless it is there; it gets its name only when whole and verified."""
    path = folder / file.name
    if path.is_file() and _sha256(path) == file.sha256:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, suffix=".partial")
    partial = pathlib.Path(temporary)
    try:
        with os.fdopen(handle, "wb") as out:
            _fetch(file.url, out, timeout, folder)
        _check(partial, file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _fetch(url: str, out: Any, timeout: float, folder: pathlib.Path) -> None:
    print(f"downloading {url}", flush=True)
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:
            while block := response.read(_BLOCK):
                out.write(block)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(
            f"could not download {url} ({getattr(error, 'reason', None) or error or type(error).__name__}). Files that "
            f"are whole stay in {folder}; the same command continues. Without network: put the four .gz files in a "
            f"directory DIR and pass --manual-dir DIR."
        ) from error
