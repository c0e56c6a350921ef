"""Data: 2-D toys with known densities, the digits, users' files; batches as a pure function of (seed, step)."""

from dgmjax.data.augment import Augment
from dgmjax.data.batches import Batches
from dgmjax.data.checks import check_data
from dgmjax.data.sources import DATASETS, Dataset, digits, file_dataset, load_dataset, toy_dataset
from dgmjax.data.toy import TOYS, Toy, toy

__all__ = [
    "DATASETS",
    "TOYS",
    "Augment",
    "Batches",
    "Dataset",
    "Toy",
    "check_data",
    "digits",
    "file_dataset",
    "load_dataset",
    "toy",
    "toy_dataset",
]
