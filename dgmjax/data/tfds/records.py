"""Random access to the decoded images of a prepared data set, without TensorFlow."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import logging

from dgmjax.data.tfds.prepared import Prepared, check_packages

_CHUNK = 1_000  # records decoded at a time: their Python objects are short-lived


class ImageRecords:
    """``records[rows]`` reads and decodes: ``{"x": uint8 [n, height, width, channels]}``, any rows in any order.

    Can be sent to worker processes. Reads through ``as_data_source`` of TensorFlow Datasets.

    Args:
      prepared: from `find_prepared`.
      split: a split, or a part of one in TFDS's notation, ``"train[:54000]"``.
      image: name of the image feature.
      context: name of a feature to read beside it: a label ``[n]``, or a group of numbers such as celeb_a's
        ``attributes``, ``[n, k]`` with names in sorted order. int32, or float32 for floats, under ``"context"``.

    Raises:
      ImportError: packages of the extra ``tfds`` are missing.
      ValueError: no such split or feature, images of several sizes, or not uint8.
    """

    def __init__(
        self, prepared: Prepared, split: str, *, image: str = "image", context: str | None = None
    ):
        check_packages(prepared.name)
        with quiet():
            import tensorflow_datasets as tfds

            builder = tfds.builder_from_directory(prepared.directory)
            features = builder.info.features
            self._check_features(features, prepared, image, context)
            self._source = builder.as_data_source(split)
        self.name, self.directory, self.split = prepared.name, prepared.directory, split
        self.image_shape: tuple[int, int, int] = tuple(features[image].shape)
        self.context_names = None if context is None else _names(features[context])
        self.arrays = ("x",) if context is None else ("x", "context")
        self._image, self._context = image, context
        self._warm_up()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In another process."""
        self.__dict__.update(state)
        self._warm_up()

    def _warm_up(self) -> None:
        """TFDS logs about missing decoders once, when it decodes first; later reads come from several threads."""
        with quiet():
            self._read([0][: len(self)])

    @staticmethod
    def _check_features(features: Any, prepared: Prepared, image: str, context: str | None) -> None:
        for name in (image, context):
            if name is not None and name not in features:
                raise ValueError(
                    f"{prepared.name} has no feature {name!r}; its features are {sorted(features)}."
                )
        shape, dtype = features[image].shape, np.dtype(features[image].np_dtype)
        if len(shape) != 3 or None in shape:
            raise ValueError(
                f"{prepared.name}: feature {image!r} has shape {shape}; expected images [height, width, channels] of "
                f"one known size. Resize them when preparing the set."
            )
        if dtype != np.uint8:
            raise ValueError(f"{prepared.name}: expected uint8 images, got {dtype}.")

    def __repr__(self) -> str:
        return f"ImageRecords({self.name!r}, {self.split!r}, image={self._image!r}, context={self._context!r})"

    def __len__(self) -> int:
        return len(self._source)

    @property
    def nbytes(self) -> int:
        """Bytes of all images, decoded."""
        return len(self) * int(np.prod(self.image_shape))

    def __getitem__(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Images (and context) of ``rows``, ``[n]`` integers in ``0 .. len - 1``."""
        rows = np.asarray(rows)
        batch: dict[str, np.ndarray] = {"x": np.empty((len(rows), *self.image_shape), np.uint8)}
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, min(start + _CHUNK, len(rows)))
            examples = self._read(rows[part].tolist())
            np.stack([example[self._image] for example in examples], out=batch["x"][part])
            if self._context is not None:
                context = np.stack([_numbers(example[self._context]) for example in examples])
                if "context" not in batch:
                    batch["context"] = np.empty((len(rows), *context.shape[1:]), context.dtype)
                batch["context"][part] = context
        return batch

    def _read(self, rows: list[int]) -> Any:
        try:
            return self._source.__getitems__(rows)
        except Exception as error:  # what readers and decoders raise depends on where the damage is
            raise ValueError(
                f"{self.directory}: split {self.split!r} could not be read and decoded ({type(error).__name__}: "
                f"{error}); the record files are damaged or were written by another version. Copy or prepare the set "
                f"again."
            ) from error


def _numbers(feature: Any) -> np.ndarray:
    """One label, or the values of a group of features sorted by name."""
    if isinstance(feature, dict):
        feature = [feature[name] for name in sorted(feature)]
    values = np.asarray(feature)
    return values.astype(np.float32 if np.issubdtype(values.dtype, np.floating) else np.int32)


def _names(feature: Any) -> tuple[str, ...] | None:
    names = getattr(feature, "names", None)  # of a ClassLabel
    if names is None and hasattr(feature, "keys"):
        names = sorted(feature.keys())
    return None if names is None else tuple(names)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without absl's warnings: TFDS logs about OpenCV, and about metadata that prepared sets need not have."""
    level = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)
