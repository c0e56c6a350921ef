"""What the figures of variational autoencoders share: data, training, bounds, mosaics and maps of the latent plane."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import dgmjax as dgm
from dgmjax.plots._canvas import INK
from dgmjax.plots._plane import density_on, picture_grid

BOUND = "ELBO, a lower bound on the log-likelihood"
COMPONENTS, LAYERS, WIDTH = 16, 6, 256  # of mixtures, of flows, of networks over the latent plane
_ROWS_PER_PASS = 2_000
_LARGE = 10_000
_MAX_LEVELS = 17  # of the digits
_GAP = 0.25  # brightness between images, as in `dgmjax.plots.image_grid`


def load_images(data: str, *, binary: bool, rows: int | None = None) -> dgm.data.Dataset:
    """Images as vectors of integers; those of more than 17 levels as static binarisations in any case.

    Args:
      data: a data set by name or path, see `dgmjax.data.load_dataset`.
      binary: static binarisation, `dgmjax.data.binarized`.
      rows: at most so many of each split.

    Raises:
      ValueError: no integer images.
    """
    dataset = dgm.data.load_dataset(data)
    if dataset.image_shape is None or dataset.num_levels is None:
        raise ValueError(
            f"--data {data}: expected a set of images of integers, e.g. digits or mnist."
        )
    if dataset.image_shape[-1] != 1:
        raise ValueError(f"--data {data}: expected grey images, got {dataset.image_shape}.")
    large = dataset.num_levels > _MAX_LEVELS
    dataset = dataset if rows is None else dataset.first(rows)
    if binary or large:
        dataset = dgm.data.binarized(dataset)
    return dataset.flattened()


def train(
    model: dgm.VAE,
    dataset: dgm.data.Dataset,
    *,
    seed: int,
    epochs: int,
    learning_rate: float = 1e-3,
    ema_decay: float = 0.0,
    data_init: bool = False,
    on_epoch: Callable[[int, dgm.VAE], None] | None = None,
) -> dgm.VAE:
    """The model with the best validation ELBO after ``epochs`` of Adam at a constant rate.

    ``on_epoch(epoch, model)`` is called with the model at the start, epoch 0, and after every epoch: ``n // batch``
    steps, with batches of 20 of a small data set and of 128 of a large one.
    """
    if on_epoch is not None:
        on_epoch(0, model)
    batch_size = 128 if len(dataset.train) > _LARGE else 20
    steps = max(1, len(dataset.train) // batch_size)
    return dgm.fit(
        model,
        dataset.train,
        seed=jax.random.key(seed),
        validation=dataset.validation,
        steps=epochs * steps,
        steps_per_call=steps if steps < 100 else 1,
        eval_every=steps,
        batch_size=batch_size,
        optimizer=optax.adam(learning_rate),
        ema_decay=ema_decay,
        loss=dgm.objectives.NegativeELBO(),
        data_init=data_init,
        on_evaluation=None
        if on_epoch is None
        else lambda step, model: on_epoch(step // steps, model),
        progress=False,
    ).model


def negative_elbo(
    model: dgm.VAE, x: np.ndarray, seed: int, *, num_samples: int = 1
) -> tuple[float, float]:
    """``-ELBO`` in nats, mean over rows (and ``num_samples`` samples each), and its standard error over rows."""
    key = jax.random.key(seed)
    parts = [
        _elbo(model, x[i : i + _ROWS_PER_PASS], jax.random.fold_in(key, i), num_samples)
        for i in range(0, len(x), _ROWS_PER_PASS)
    ]
    nats = -np.concatenate(parts).astype(np.float64)
    return float(nats.mean()), float(nats.std() / np.sqrt(len(nats)))


@functools.partial(jax.jit, static_argnums=3)
def _elbo(model: dgm.VAE, x: jax.Array, key: jax.Array, num_samples: int) -> jax.Array:
    return dgm.objectives.elbo(model, x, key, num_samples=num_samples)


@jax.jit
def decoded_mean(model: dgm.VAE, z: jax.Array) -> jax.Array:
    """``E[x | z]`` in [0, 1], ``[n, d] -> [n, *event]``."""
    return model.decoded_mean(z) / ((model.num_levels or 2) - 1)


def pixels(dataset: dgm.data.Dataset) -> dict[str, Any]:
    """The likelihood of binary pixels, or of grey levels, as arguments of `dgmjax.VAE`."""
    if dataset.num_levels == 2:
        return {"likelihood": "bernoulli"}
    return {"likelihood": "discretized_logistic_mixture", "num_levels": dataset.num_levels}


def name_of_pixels(dataset: dgm.data.Dataset) -> str:
    """The likelihood of `pixels` in words."""
    if dataset.num_levels == 2:
        return "Bernoulli pixels"
    return f"mixtures of discretized logistics over {dataset.num_levels} levels"


def mosaic(
    images: np.ndarray, dataset: dgm.data.Dataset, columns: int, *, scale: int = 4
) -> np.ndarray:
    """Brightness ``[height, width]`` of images in [0, 1], row after row from the top, with frames about them."""
    height, width, _ = dataset.image_shape or (0, 0, 0)
    tiles = np.asarray(images).reshape(-1, columns, height, width)
    tiles = tiles.repeat(scale, axis=2).repeat(scale, axis=3)
    gap = max(1, scale // 4)
    framed = np.pad(tiles, ((0, 0), (0, 0), (0, gap), (0, gap)), constant_values=_GAP)
    rows, _, tall, wide = framed.shape
    whole = framed.transpose(0, 2, 1, 3).reshape(rows * tall, columns * wide)
    return np.pad(whole, ((gap, 0), (gap, 0)), constant_values=_GAP)


def show_images(axes: Any, picture: np.ndarray, title: str, **options: Any) -> None:
    """A `mosaic` on axes without ticks."""
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest", **options)
    axes.set_title(title, size=10, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


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
        return dgm.priors.FlowPrior(2, name.lower(), depth=LAYERS, width=64, rngs=rngs)
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
