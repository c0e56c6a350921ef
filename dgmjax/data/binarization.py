"""Static binarisation: one fixed draw of binary images."""

import dataclasses

import numpy as np

from dgmjax.data.dataset import Dataset

_CHUNK = 1_000


def static_binarization(images: np.ndarray, *, seed: int = 0, num_levels: int = 256) -> np.ndarray:
    """``u * (num_levels - 1) < x``, ``u`` from ``RandomState(seed)``, image after image: uint8 0 or 1, the same shape.

    NumPy has frozen `RandomState` (NEP 19), so the bits are the same in every version of it. They depend on the order
    of the images.

    Args:
      images: integers ``0 .. num_levels - 1``, ``[n, ...]``.
      seed: of the draw; "static binarisation, seed 0" by default.
      num_levels: 256 for 8-bit images.
    """
    generator = np.random.RandomState(seed)
    out = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _CHUNK):  # the stream does not depend on the chunks
        part = images[start : start + _CHUNK]
        out[start : start + _CHUNK] = generator.random_sample(part.shape) * (num_levels - 1) < part
    return out


def binarized(dataset: Dataset, *, seed: int = 0) -> Dataset:
    """A data set of grey levels, such as 8-bit images, as two levels, "static binarisation, seed 0".

    Images of each split are drawn in the order of their bytes (lexicographic), train, validation and test one after
    the other from one stream, so that the bits of an image do not depend on the order of the records. The rows stay
    where they were.

    It is a draw of its own. The `binarized_mnist` of the literature (Larochelle and Murray, 2011) is another one that
    nothing can regenerate: likelihoods compare in kind, not digit for digit.

    Raises:
      ValueError: continuous data.
    """
    if dataset.num_levels is None:
        raise ValueError(
            f"binarized: expected integer levels, such as 8-bit images, and {dataset.name!r} is continuous."
        )
    parts = {split: getattr(dataset, split) for split in ("train", "validation", "test")}
    orders = {split: _byte_order(images) for split, images in parts.items()}
    drawn = static_binarization(
        np.concatenate([images[orders[split]] for split, images in parts.items()]),
        seed=seed,
        num_levels=dataset.num_levels,
    )
    ends = np.cumsum([len(images) for images in parts.values()])[:-1]
    for split, bits in zip(parts, np.split(drawn, ends), strict=True):
        parts[split] = np.empty_like(bits)
        parts[split][orders[split]] = bits
    name = f"{dataset.name} (static binarisation, seed {seed})"
    return dataclasses.replace(dataset, name=name, num_levels=2, **parts)


def _byte_order(images: np.ndarray) -> np.ndarray:
    rows = np.ascontiguousarray(images, np.uint8).reshape(len(images), -1)
    return np.argsort(rows.view(f"S{rows.shape[1]}").ravel(), kind="stable")
