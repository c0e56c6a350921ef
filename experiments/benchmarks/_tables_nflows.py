"""nflows in the race of densities of tables."""

import torch
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow
from nflows.transforms.autoregressive import (
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
)
from nflows.transforms.base import CompositeTransform
from nflows.transforms.permutations import ReversePermutation

from experiments.benchmarks._tables_torch import trained
from experiments.benchmarks._tables_work import Contestant, Work


def autoregressive(dim: int, work: Work) -> Contestant:
    """Masked autoregressive transforms with splines and reversals between."""
    torch.manual_seed(0)
    layers = []
    for _ in range(work.depth):
        layers += [
            ReversePermutation(dim),
            MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
                dim, work.width, num_bins=work.bins, tails="linear", tail_bound=work.bound,
                num_blocks=1, use_residual_blocks=False,
            ),
        ]  # fmt: skip
    flow = Flow(CompositeTransform(layers), StandardNormal([dim]))
    return trained("nflows, autoregressive", flow, flow.log_prob, work, "reversals between layers")
