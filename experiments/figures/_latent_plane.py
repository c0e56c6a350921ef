"""Models with two latents, and maps of the plane of their latents."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from dgmjax.plots._plane import density_on, picture_grid
from dgmjax.plots.canvas import INK
from experiments.figures._vae import train

COMPONENTS, LAYERS, WIDTH = 16, 6, 256  # of mixtures, of flows, of networks over the latent plane


@dataclasses.dataclass(frozen=True)
class LatentMap:
    """A square window about the origin of the latent plane.

    Attributes:
      half: half of its side.
      resolution: cells along each side.
    """

    half: float
    resolution: int

    def log_density(self, log_prob: Callable[[jax.Array], jax.Array]) -> np.ndarray:
        """At the centres of the cells, ``[resolution, resolution]``, the row of lowest ``z_2`` first."""
        window = np.array([[-self.half, self.half]] * 2)
        grid = jnp.asarray(picture_grid(window, self.resolution), jnp.float32)
        # Densities that underflow are as dark as it gets, below every colour scale.
        density = np.maximum(density_on(log_prob, grid, "latents"), 1e-30)
        return np.log(density).reshape(self.resolution, self.resolution)

    def show(self, axes: Any, log_density: np.ndarray, title: str, **options: Any) -> Any:
        """The heat map with names and limits of axes; the image, for a colour bar."""
        extent = (-self.half, self.half) * 2
        image = axes.imshow(log_density, extent=extent, origin="lower", **options)
        axes.set_title(title, size=10, color=INK)
        axes.set_xlabel("$z_1$", color=INK)
        axes.tick_params(labelsize=8, color=INK, labelcolor=INK)
        axes.set_xlim(-self.half, self.half)
        axes.set_ylim(-self.half, self.half)
        for spine in axes.spines.values():
            spine.set_color("#b0b0b0")
        return image


def make_prior(name: str, dataset: dgm.data.Dataset, rngs: nnx.Rngs) -> Any:
    """A prior of two latents: mixtures have 16 components, flows 6 layers of 64 hidden units.

    Raises:
      ValueError: an unknown name.
    """
    if name == "standard normal":
        return None
    if name == "mixture of Gaussians":
        return dgm.priors.GaussianMixture(2, COMPONENTS, rngs=rngs)
    if name == "VampPrior":
        levels = dataset.num_levels
        return dgm.priors.VampPrior(dataset.event_shape, COMPONENTS, num_levels=levels, rngs=rngs)
    if name in ("RealNVP", "MAF"):
        return dgm.FlowPrior(2, name.lower(), depth=LAYERS, width=64, rngs=rngs)
    raise ValueError(f"make_prior: unknown prior {name!r}.")


def planar_model(prior: str, dataset: dgm.data.Dataset, *, seed: int, epochs: int) -> dgm.VAE:
    """A trained VAE with two latents, a Gaussian posterior and ``prior``, see `make_prior`.

    The weights at the start of encoder and decoder, the batches and the noise are the same for all priors.
    """
    model = dgm.VAE(
        dataset.event_shape,
        latent_dim=2,
        likelihood="categorical" if (dataset.num_levels or 2) > 2 else "bernoulli",
        num_levels=dataset.num_levels,
        prior=make_prior(prior, dataset, nnx.Rngs(seed + 1)),
        width=WIDTH,
        depth=2,
        activation="silu",
        rngs=nnx.Rngs(seed),
    )
    return train(model, dataset, seed=seed, epochs=epochs, ema_decay=0.99, data_init=True)
