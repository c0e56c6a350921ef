"""normflows in the races: https://vincentstimper.github.io/normalizing-flows."""

from typing import Any

import normflows as nf
import numpy as np
import torch

from experiments.benchmarks import _torch
from experiments.benchmarks._timing import Sizes, System


def coupling(sizes: Sizes) -> Any:
    """Affine coupling blocks on halves that swap in between."""
    torch.manual_seed(0)
    half = sizes.dim // 2
    flows = []
    for _ in range(sizes.couplings):
        net = nf.nets.MLP([half, sizes.width, sizes.width, 2 * (sizes.dim - half)], init_zeros=True)
        flows += [nf.flows.AffineCouplingBlock(net), nf.flows.Permute(sizes.dim, mode="swap")]
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(sizes.dim), flows)


def maf(sizes: Sizes) -> Any:
    """Reversed affine autoregressive layers, so that densities take one pass, and permutations."""
    torch.manual_seed(0)
    flows = []
    for _ in range(sizes.mafs):
        layer = nf.flows.MaskedAffineAutoregressive(
            sizes.dim, sizes.width, num_blocks=1, use_residual_blocks=False
        )
        flows += [nf.flows.Reverse(layer), nf.flows.Permute(sizes.dim, mode="shuffle")]
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(sizes.dim), flows)


def training_system(model: Any, x: np.ndarray) -> System:
    """A step on ``forward_kld``."""
    note = "eager PyTorch; scales by exp (couplings) and sigmoid (MAF), permutations between, a trained base"
    return _torch.training_system("normflows", model, model.forward_kld, x, note)


def sampling_system(model: Any, num: int) -> System:
    """``sample``, which also evaluates the log-density."""
    note = "eager PyTorch; D passes of the network a layer; log-densities besides"
    return _torch.sampling_system("normflows", model, lambda: model.sample(num), note)
