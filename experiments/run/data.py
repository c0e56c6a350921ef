"""The data of a run."""

from importlib import metadata

import numpy as np

import dgmjax as dgm
from experiments.settings.config import Config


def load_data(config: Config) -> dgm.data.Dataset:
    """The data of ``config``, images or vectors as its model takes them, checked now and not after an hour of training.

    Raises:
      ValueError: integers without a number of levels, or values that do not fit.
    """
    dataset = dgm.data.load_dataset(config.data, num_levels=config.num_levels)
    if config.max_rows is not None:
        dataset = dataset.first(config.max_rows)
    if config.n_bits != 8:
        dataset = dgm.data.ImageTransform(n_bits=config.n_bits).apply(dataset.as_images())
    if config.binarize:
        dataset = dgm.data.binarized(dataset)
    if not config.model.images:
        dataset = dataset.flattened()
    elif dataset.image_shape is None:
        raise ValueError(f"{config.model.system} models images, and {config.data} holds none.")
    else:
        dataset = dataset.as_images()
    if dataset.num_levels is None and np.issubdtype(dataset.train.dtype, np.integer):
        raise ValueError(
            f"{config.data} holds integers; pass --num-levels {dataset.train.max() + 1} to model them as levels 0 .. "
            f"{dataset.train.max()}, or save them as floats."
        )
    for split in ("train", "validation", "test"):
        dgm.data.check_data(
            getattr(dataset, split), dataset.event_shape, num_levels=dataset.num_levels, name=split
        )
    return dataset


def data_version(name: str) -> str | None:
    """Which version of a data set is read here: of a prepared set ``name:version``, of others the package it is from.

    None for files and for data that are not known by name.
    """
    if name == "digits":
        return f"load_digits of scikit-learn {metadata.version('scikit-learn')}"
    if name in dgm.data.TOYS:
        return f"dgmjax {dgm.__version__}"
    try:
        found = dgm.data.find_prepared(name.removeprefix("tfds:"))
    except (dgm.data.DataNotFound, ValueError):
        return None
    return f"{found.name}:{found.directory.name}"
