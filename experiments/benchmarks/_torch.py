"""What the PyTorch libraries share in the races: a training step and sampling, in eager mode."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from experiments.benchmarks._timing import System


def training_system(
    name: str, model: Any, loss: Callable[[Any], Any], x: np.ndarray, note: str
) -> System:
    """``zero_grad``, ``backward``, ``step`` of Adam on ``loss(batch)``."""
    torch.set_num_threads(os.cpu_count() or 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batch = torch.from_numpy(x)

    def run() -> None:
        optimizer.zero_grad()
        value = loss(batch)
        value.backward()
        optimizer.step()

    return System(name, run, _count(model), note)


def sampling_system(name: str, model: Any, sample: Callable[[], Any], note: str) -> System:
    """``sample()`` without gradients."""
    torch.set_num_threads(os.cpu_count() or 1)

    def run() -> None:
        with torch.no_grad():
            sample()

    return System(name, run, _count(model), note)


def _count(model: Any) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
