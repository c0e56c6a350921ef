"""The VAE of the race of training steps in PyTorch."""

from typing import Any

import numpy as np
import torch

from experiments.benchmarks import _torch
from experiments.benchmarks._timing import System


class VAE(torch.nn.Module):
    """``size - width - latents`` with tanh and Bernoulli pixels, as `dgmjax.VAE` with one hidden layer."""

    def __init__(self, size: int, width: int, latents: int):
        super().__init__()
        self.encoder = torch.nn.Sequential(
            torch.nn.Linear(size, width), torch.nn.Tanh(), torch.nn.Linear(width, 2 * latents)
        )
        self.decoder = torch.nn.Sequential(
            torch.nn.Linear(latents, width), torch.nn.Tanh(), torch.nn.Linear(width, size)
        )

    def negative_elbo(self, x: Any) -> Any:
        """Mean over the batch, one sample of the posterior, the divergence in closed form."""
        mean, log_std = self.encoder(2.0 * x - 1.0).chunk(2, dim=-1)
        z = mean + log_std.exp() * torch.randn_like(mean)
        nats = torch.nn.functional.binary_cross_entropy_with_logits(
            self.decoder(z), x, reduction="sum"
        )
        divergence = 0.5 * ((2.0 * log_std).exp() - 1.0 - 2.0 * log_std + mean**2).sum()
        return (nats + divergence) / len(x)


def training_system(x: np.ndarray, width: int, latents: int) -> System:
    """A step on `VAE.negative_elbo`."""
    torch.manual_seed(0)
    model = VAE(x.shape[1], width, latents)
    note = "eager PyTorch, float32"
    return _torch.training_system("PyTorch", model, model.negative_elbo, x.astype(np.float32), note)
