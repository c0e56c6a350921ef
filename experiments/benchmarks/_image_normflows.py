"""normflows' Glow in the race of training steps: https://vincentstimper.github.io/normalizing-flows."""

from typing import Any

import jax
import normflows as nf
import numpy as np
import torch

from experiments.benchmarks import _torch
from experiments.benchmarks._image_work import SEED, Work
from experiments.benchmarks._timing import System


def glow(work: Work, depth: int) -> Any:
    """Levels, depth, width and channels as in `dgmjax.Glow`, from the coarsest level to the finest."""
    torch.manual_seed(SEED)
    bases, flows, merges = [], [], []
    for index in range(work.levels):
        halvings = work.levels - index  # of the side, before this level's latents leave
        channels = 3 * 2 ** (halvings + 1)
        steps = [
            nf.flows.GlowBlock(channels, work.width, split_mode="channel", scale=True, use_lu=True)
            for _ in range(depth)
        ]
        flows.append([*steps, nf.flows.Squeeze()])
        if index > 0:
            merges.append(nf.flows.Merge())
            channels //= 2
        side = work.side // 2**halvings
        bases.append(nf.distributions.DiagGaussian((channels, side, side)))
    return nf.MultiscaleFlow(bases, flows, merges, class_cond=False)


def training_system(work: Work, depth: int, x: jax.Array) -> System:
    """A step on ``forward_kld``."""
    model = glow(work, depth)
    batch = np.ascontiguousarray(np.asarray(x).transpose(0, 3, 1, 2))
    note = (
        "eager PyTorch; scales by sigmoid, biases for the inner normalizations and no edge channel, priors with one "
        "mean and scale an element"
    )
    return _torch.training_system("normflows", model, model.forward_kld, batch, note)
