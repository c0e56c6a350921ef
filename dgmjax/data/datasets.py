"""Data sets by name, and arrays from files: splits of NumPy arrays."""

import difflib
import functools
import os
import pathlib
import zipfile
import zlib
from collections.abc import Callable

import jax
import numpy as np

from dgmjax.data.dataset import Dataset
from dgmjax.data.power import power
from dgmjax.data.tfds.named import TFDS_NAMES, tfds_dataset
from dgmjax.data.tfds.prepared import data_root, is_prepared
from dgmjax.data.toy import TOYS

_SPLITS = ("train", "validation", "test")


def digits() -> Dataset:
    """The 1,797 handwritten digits that scikit-learn ships: 8x8, 17 grey levels, flattened to 64 integers.

    Split in the order of the file: 1,000 train, 350 validation, 447 test.

    Source: Alpaydin and Kaynak, 1998, *Optical recognition of handwritten digits*, UCI; its test part.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "data set 'digits' is part of scikit-learn: pip install 'dgmjax[experiments]'"
        ) from error
    loaded = load_digits()
    parts = {"train": slice(1000), "validation": slice(1000, 1350), "test": slice(1350, None)}
    return Dataset(
        "digits",
        **{name: loaded.data[rows].astype(np.uint8) for name, rows in parts.items()},
        num_levels=17,
        image_shape=(8, 8, 1),
        labels={name: loaded.target[rows].astype(np.int32) for name, rows in parts.items()},
        label_names=tuple(map(str, loaded.target_names)),
    )


def toy_dataset(name: str, *, num_train: int = 20_000, num_held_out: int = 10_000) -> Dataset:
    """Fixed draws from one of the 2-D toy densities of `dgmjax.data.TOYS`."""
    keys = jax.random.split(jax.random.key(2026), 3)
    sizes = (num_train, num_held_out, num_held_out)
    draws = [
        np.asarray(TOYS[name].sample(seed=key, sample_shape=(size,)), np.float32)
        for key, size in zip(keys, sizes, strict=True)
    ]
    train, validation, test = draws
    return Dataset(name, train, validation, test)


def file_dataset(path: str | pathlib.Path, *, num_levels: int | None = None) -> Dataset:
    """A user's ``.npy`` array or ``.npz`` archive.

    An ``.npz`` with arrays ``train``, ``validation`` and ``test`` keeps its splits. One array (any name) is shuffled
    with a fixed seed and split 80 / 10 / 10. Events ``(height, width, channels)`` with 1 or 3 channels are images.

    Labels, one a row, classes ``[n]`` of integers or conditions ``[n, k]``, are ``train_labels``, ``validation_labels``
    and ``test_labels``, or ``labels`` beside one array; ``label_names`` may name the classes or conditions.

    Args:
      path: the file.
      num_levels: number of levels of integer data.

    Raises:
      FileNotFoundError: no such file.
      ValueError: another format, pickled objects, several arrays without the split names, labels of some splits only,
        or too few rows.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(f"data file {path} does not exist.")
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = {"x": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is not a .npy or .npz file of plain arrays ({error}); write it with np.save(path, x) or "
            f"np.savez(path, train=..., validation=..., test=...)."
        ) from None
    names = arrays.pop("label_names", None)
    labels = {name: arrays.pop(name) for name in list(arrays) if name.endswith("labels")}
    if {"train", "validation", "test"} <= set(arrays):
        parts = [arrays[name] for name in _SPLITS]
        expected = [f"{split}_labels" for split in _SPLITS]
    elif len(arrays) == 1:
        (x,), expected = arrays.values(), ["labels"]
        if x.ndim < 2 or len(x) < 10:
            raise ValueError(
                f"{path}: expected an array [n, *event] with n >= 10 to split 80/10/10, got {x.shape}."
            )
        order = np.random.RandomState(0).permutation(len(x))
        ends = [len(x) * 8 // 10, len(x) * 9 // 10]
        parts = np.split(x[order], ends)
        if len(labels.get("labels", ())) == len(x):
            labels = {"labels": labels["labels"][order]}
    else:
        raise ValueError(
            f"{path} holds arrays {sorted(arrays)}; expected one array, or 'train', 'validation' and 'test'."
        )
    if labels and sorted(labels) != sorted(expected):
        raise ValueError(
            f"{path} holds {', '.join(sorted(labels))}; expected labels for every row, as {', '.join(expected)}."
        )
    if parts[0].dtype == np.float64:
        parts = [part.astype(np.float32) for part in parts]
    train, validation, test = parts
    shape = train.shape[1:]
    return Dataset(
        path.stem,
        train,
        validation,
        test,
        num_levels=num_levels,
        image_shape=shape if len(shape) == 3 and shape[-1] in (1, 3) else None,
        labels=_labels_of_splits([labels[name] for name in expected], parts) if labels else None,
        label_names=None if names is None else tuple(map(str, names)),
    )


def _labels_of_splits(labels: list[np.ndarray], parts: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Labels by the name of their split; those beside one array are split as it is."""
    if len(labels) == 1:
        ends = np.cumsum([len(part) for part in parts])[:-1]
        labels = np.split(labels[0], ends)
    classes = labels[0].ndim == 1 and np.issubdtype(labels[0].dtype, np.integer)
    dtype = np.int32 if classes else np.float32
    return {split: part.astype(dtype) for split, part in zip(_SPLITS, labels, strict=True)}


DATASETS: dict[str, Callable[[], Dataset]] = {"digits": digits, "power": power} | {
    name: functools.partial(toy_dataset, name) for name in TOYS
}


def load_dataset(
    name: str,
    *,
    num_levels: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """A data set by name.

    Args:
      name: one of `DATASETS`; the path of a ``.npy`` or ``.npz`` file; one of `TFDS_NAMES`, such as ``"mnist"``, or of
        any other set prepared by TensorFlow Datasets, ``"tfds:NAME"`` or plain ``"NAME"`` if it is there.
      num_levels: for a file of integers, their number of levels.
      data_dir: where prepared sets lie; default ``$TFDS_DATA_DIR``, else ``~/tensorflow_datasets``.

    Raises:
      ValueError: unknown name; the message lists the nearest.
      DataNotFound: POWER or a set of TensorFlow Datasets that is not prepared; nothing is downloaded.
    """
    if name.endswith((".npy", ".npz")):
        return file_dataset(name, num_levels=num_levels)
    if name == "power":
        return power(data_dir=data_dir)
    if name in DATASETS:
        return DATASETS[name]()
    plain = name.removeprefix("tfds:")
    known = plain.split("/")[0].split(":")[0] in TFDS_NAMES
    if plain != name or known or is_prepared(plain, data_dir):
        return tfds_dataset(plain, data_dir=data_dir)
    near = difflib.get_close_matches(name, [*DATASETS, *TFDS_NAMES], n=3)
    raise ValueError(
        f"unknown data set {name!r}; {'did you mean ' + ' or '.join(near) + '? ' if near else ''}"
        f"Expected one of {sorted(DATASETS)}, the path of a .npy or .npz file, or a set prepared by TensorFlow "
        f"Datasets, such as {', '.join(TFDS_NAMES)} (found nothing of that name under {data_root(data_dir)})."
    )
