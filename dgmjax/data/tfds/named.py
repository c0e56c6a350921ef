"""Sets prepared by TensorFlow Datasets, decoded once into arrays. TensorFlow is not needed, nothing is downloaded."""

import os

from dgmjax.data.dataset import Dataset
from dgmjax.data.tfds.decoded import decode_images, decode_to_disk, how_to_stream
from dgmjax.data.tfds.prepared import find_prepared
from dgmjax.data.tfds.records import ImageRecords

TFDS_NAMES = (
    "mnist",
    "fashion_mnist",
    "cifar10",
    "celeb_a",
    "celeb_a_hq",
    "imagenet_resized",
    "natural32",
)
"""Sets of TensorFlow Datasets that `load_dataset` knows by their plain name; ``tfds:NAME`` reads any other."""

_VALIDATION = ("validation", "valid", "val", "dev")
_LEVELS = 256
_GIGABYTE = 10**9


def tfds_dataset(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image: str = "image",
    labels: str | None = "label",
    max_bytes: int = _GIGABYTE,
    cache: bool = True,
) -> Dataset:
    """A prepared set of images as uint8 arrays ``[n, height, width, channels]`` with 256 levels.

    Splits follow `split_parts`. Within a split rows are in the order of the record files, which is TFDS's hash shuffle:
    the first 50,000 of MNIST are not the classic first 50,000.

    A set of more than ``max_bytes`` comes back memory-mapped, read-only: it is decoded once, with the memory of a chunk
    of rows, into files under the user's cache directory, and rows come from there as they are read. Labels are in
    memory.

    Args:
      name: ``SET[/CONFIG][:VERSION]``, e.g. ``"mnist"`` or ``"imagenet_resized/32x32"``.
      data_dir: where prepared sets lie; default ``$TFDS_DATA_DIR``, else ``~/tensorflow_datasets``.
      image: name of the image feature.
      labels: name of a feature to keep as ``Dataset.labels``, see `ImageRecords`; None for none. A set without a
        feature ``label`` has no labels unless another is named.
      max_bytes: images of more than this are decoded into files and mapped, not into memory.
      cache: keep decoded arrays under the user's cache directory, see `decode_images`; without it, large sets are
        refused.

    Raises:
      DataNotFound: not prepared; raised before anything is imported, with what to do.
      ImportError: packages of the extra ``tfds`` are missing.
      OSError: the cache directory has no room for a large set.
      ValueError: too large for memory without ``cache`` (or read it with `Stream`), or not a set of images of one size.
    """
    prepared = find_prepared(name, data_dir)
    parts = split_parts(prepared.sizes)
    if labels == "label" and "label" not in prepared.features:
        labels = None
    records = {
        part: ImageRecords(prepared, spec, image=image, context=labels)
        for part, spec in parts.items()
    }
    needed = sum(part.nbytes for part in records.values())
    large = needed > max_bytes
    if large and not cache:
        raise ValueError(
            f"{name} decodes to {needed / _GIGABYTE:.1f} GB, more than max_bytes = {max_bytes / _GIGABYTE:.1f} GB. "
            f"Stream it: {how_to_stream(name, parts['train'])}; or leave cache=False out, to decode it once onto the "
            f"disk and map it from there, or pass a larger max_bytes."
        )
    arrays = (
        decode_to_disk(records)
        if large
        else {part: decode_images(source, cache=cache) for part, source in records.items()}
    )
    return Dataset(
        prepared.name,
        arrays["train"]["x"],
        arrays["validation"]["x"],
        arrays["test"]["x"],
        num_levels=_LEVELS,
        image_shape=records["train"].image_shape,
        labels=None
        if labels is None
        else {part: batch["context"] for part, batch in arrays.items()},
        label_names=records["train"].context_names,
    )


def split_parts(sizes: dict[str, int]) -> dict[str, str]:
    """What is train, validation and test of a set with splits of these sizes, in TFDS's notation.

    A validation split is called ``validation``, ``valid``, ``val`` or ``dev``. What a set does not have:

    - no validation: the last tenth of ``train`` (``n // 10`` rows, in the order of the records);
    - no test: the validation split is the test, as the literature does for ImageNet, and validation is cut from
      ``train`` as above;
    - neither: the last tenth of ``train`` is the test, the tenth before it validation.

    Raises:
      ValueError: no ``train``.
    """
    if "train" not in sizes:
        raise ValueError(f"expected a split 'train', got {sorted(sizes)}.")
    validation = next((name for name in _VALIDATION if name in sizes), None)
    test = "test" if "test" in sizes else validation
    if test == "test" and validation is not None:
        return {"train": "train", "validation": validation, "test": "test"}
    end = sizes["train"]
    tenth = end // 10
    if test is None:
        test = f"train[{end - tenth}:]"
        end -= tenth
    start = end - tenth
    return {
        "train": f"train[:{start}]",
        "validation": f"train[{start}:{end}]",
        "test": test,
    }
