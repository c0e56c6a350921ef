"""Data: toys with known densities, digits, TFDS, users' files; batches as a pure function of (seed, step)."""

from dgmjax.data.batches import Batches
from dgmjax.data.binarization import binarized, static_binarization
from dgmjax.data.checks import check_data
from dgmjax.data.dataset import Dataset
from dgmjax.data.datasets import DATASETS, digits, load_dataset, toy_dataset
from dgmjax.data.order import Order
from dgmjax.data.power import power, prepare_power
from dgmjax.data.random_warp import RandomWarp
from dgmjax.data.stream import Stream
from dgmjax.data.tfds.named import TFDS_NAMES, split_parts, tfds_dataset
from dgmjax.data.tfds.preparation import SourceFile, prepare
from dgmjax.data.tfds.prepared import DataNotFound, Prepared, find_prepared
from dgmjax.data.tfds.records import ImageRecords
from dgmjax.data.toy import TOYS, Toy, toy
from dgmjax.data.transforms import (
    ImageTransform,
    binarize,
    crop_to,
    pad_to,
    random_flip,
    random_shift,
    reduce_bits,
)

__all__ = [
    "DATASETS",
    "TFDS_NAMES",
    "TOYS",
    "RandomWarp",
    "Batches",
    "DataNotFound",
    "Dataset",
    "ImageRecords",
    "ImageTransform",
    "Order",
    "Prepared",
    "SourceFile",
    "Stream",
    "Toy",
    "binarize",
    "binarized",
    "check_data",
    "crop_to",
    "digits",
    "find_prepared",
    "load_dataset",
    "pad_to",
    "power",
    "prepare",
    "prepare_power",
    "random_flip",
    "random_shift",
    "reduce_bits",
    "split_parts",
    "static_binarization",
    "tfds_dataset",
    "toy",
    "toy_dataset",
]
