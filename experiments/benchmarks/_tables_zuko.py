"""zuko in the race of densities of tables."""

import torch
import zuko

from experiments.benchmarks._tables_torch import trained
from experiments.benchmarks._tables_work import Contestant, Work


def autoregressive(dim: int, work: Work) -> Contestant:
    """The NSF of zuko: masked autoregressive layers with splines, whose orders alternate."""
    torch.manual_seed(0)
    hidden = (work.width, work.width)
    flow = zuko.flows.NSF(dim, transforms=work.depth, bins=work.bins, hidden_features=hidden)
    note = "splines on [-5, 5], which is fixed there; orders alternate"
    return trained("zuko, autoregressive", flow, lambda x: flow().log_prob(x), work, note)
