"""zuko in the races: https://zuko.readthedocs.io."""

from typing import Any

import numpy as np
import torch
import zuko

from experiments.benchmarks import _torch
from experiments.benchmarks._timing import Sizes, System


def coupling(sizes: Sizes) -> Any:
    """Its RealNVP: affine couplings with alternating checkered masks."""
    torch.manual_seed(0)
    hidden = (sizes.width, sizes.width)
    return zuko.flows.RealNVP(sizes.dim, transforms=sizes.couplings, hidden_features=hidden)


def maf(sizes: Sizes) -> Any:
    """Its MAF: affine, orders alternate."""
    torch.manual_seed(0)
    hidden = (sizes.width, sizes.width)
    return zuko.flows.MAF(sizes.dim, transforms=sizes.mafs, hidden_features=hidden)


def training_system(model: Any, x: np.ndarray) -> System:
    """A step on the mean negative log-likelihood."""
    note = "eager PyTorch; softly clipped log-scales"
    return _torch.training_system("zuko", model, lambda x: -model().log_prob(x).mean(), x, note)


def sampling_system(model: Any, num: int) -> System:
    """``flow().sample``."""
    note = "eager PyTorch; D passes of the network a layer"
    return _torch.sampling_system("zuko", model, lambda: model().sample((num,)), note)
