"""The step that PyTorch libraries take in the race of densities of tables."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from experiments.benchmarks._tables_work import Contestant, Work

_ROWS = 8_192


def trained(
    name: str, flow: Any, log_prob: Callable[[Any], Any], work: Work, note: str
) -> Contestant:
    """A contestant of PyTorch, in eager mode."""
    torch.set_num_threads(os.cpu_count() or 1)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1.0)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, work.rate)

    def train(batches: np.ndarray) -> None:
        for batch in torch.from_numpy(batches):
            optimizer.zero_grad()
            (-log_prob(batch).mean()).backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), work.clip)
            optimizer.step()
            rates.step()

    def evaluate(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.concatenate(
                [log_prob(rows).numpy() for rows in torch.split(torch.from_numpy(x), _ROWS)]
            )

    parameters = sum(p.numel() for p in flow.parameters() if p.requires_grad)
    return Contestant(name, train, evaluate, parameters, note)
