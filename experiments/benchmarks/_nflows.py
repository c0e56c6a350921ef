"""nflows in the races: https://github.com/bayesiains/nflows."""

from typing import Any

import numpy as np
import torch
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow
from nflows.nn.nets.mlp import MLP
from nflows.transforms.autoregressive import MaskedAffineAutoregressiveTransform
from nflows.transforms.base import CompositeTransform
from nflows.transforms.coupling import AffineCouplingTransform
from nflows.transforms.permutations import ReversePermutation

from experiments.benchmarks import _torch
from experiments.benchmarks._timing import Sizes, System


def coupling(sizes: Sizes) -> Any:
    """Affine couplings with alternating checkered masks."""
    torch.manual_seed(0)
    mask = torch.ones(sizes.dim)
    mask[::2] = -1

    def net(kept: int, moved: int) -> Any:
        mlp = MLP([kept], [moved], [sizes.width, sizes.width])
        mlp.forward = _without_context(mlp.forward)
        return mlp

    layers = [
        AffineCouplingTransform(mask * (-1) ** index, transform_net_create_fn=net)
        for index in range(sizes.couplings)
    ]
    return Flow(CompositeTransform(layers), StandardNormal([sizes.dim]))


def maf(sizes: Sizes) -> Any:
    """Masked affine autoregressive transforms with reversals between."""
    torch.manual_seed(0)
    layers = []
    for _ in range(sizes.mafs):
        layers += [
            ReversePermutation(sizes.dim),
            MaskedAffineAutoregressiveTransform(
                sizes.dim, sizes.width, num_blocks=1, use_residual_blocks=False
            ),
        ]
    return Flow(CompositeTransform(layers), StandardNormal([sizes.dim]))


def training_system(model: Any, x: np.ndarray) -> System:
    """A step on the mean negative log-likelihood."""
    note = "eager PyTorch; scales by sigmoid (couplings) and softplus (MAF), reversals between the MAF's layers"
    return _torch.training_system("nflows", model, lambda x: -model.log_prob(x).mean(), x, note)


def sampling_system(model: Any, num: int) -> System:
    """``sample``."""
    note = "eager PyTorch; D passes of the network a layer"
    return _torch.sampling_system("nflows", model, lambda: model.sample(num), note)


def _without_context(forward: Any) -> Any:
    """Its couplings pass a context to the network, which its MLP does not take."""
    return lambda inputs, context=None: forward(inputs)
