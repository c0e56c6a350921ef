"""What the figures of variational autoencoders share: data, models, training, bounds."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import nnx

import dgmjax as dgm
from dgmjax.numerics import map_rows, prng

BOUND = "ELBO, a lower bound on the log-likelihood"
_LARGE = 10_000
_MAX_LEVELS = 17  # of the digits


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
        execution=dgm.Execution(steps_per_call=steps if steps < 100 else 1),
        eval_every=steps,
        batch_size=batch_size,
        optimizer=optax.adam(learning_rate),
        ema_decay=ema_decay,
        loss=dgm.objectives.NegativeELBO(),
        init_rows=None if data_init else 0,
        watch=dgm.Watch(
            on_evaluation=None
            if on_epoch is None
            else lambda step, model: on_epoch(step // steps, model),
            progress=False,
        ),
    ).model


def negative_elbo(
    model: dgm.VAE, x: np.ndarray, seed: int, *, num_samples: int = 1
) -> tuple[float, float]:
    """``-ELBO`` in nats, mean over rows (and ``num_samples`` samples each), and its standard error over rows."""
    keys = prng.example_keys(jax.random.key(seed), len(x))
    elbo = map_rows(lambda x, keys: _elbo(model, x, keys, num_samples), x, keys, batch_size=2_000)
    nats = -np.asarray(elbo, np.float64)
    return float(nats.mean()), float(nats.std() / np.sqrt(len(nats)))


@functools.partial(jax.jit, static_argnums=3)
def _elbo(model: dgm.VAE, x: jax.Array, key: jax.Array, num_samples: int) -> jax.Array:
    return dgm.objectives.elbo(model, x, key, num_samples=num_samples)


def image_vae(
    dataset: dgm.data.Dataset, latent_dim: int, *, width: int, seed: int, **options: Any
) -> dgm.VAE:
    """Two hidden layers in encoder and decoder, and the likelihood of the pixels that fits their levels."""
    return dgm.VAE(
        dataset.event_shape,
        latent_dim=latent_dim,
        **pixels(dataset),
        width=width,
        depth=2,
        activation="silu",
        **options,
        rngs=nnx.Rngs(seed),
    )


class Stage(NamedTuple):
    """What a model decodes at some epoch of its training.

    Attributes:
      epoch: 0 is the start.
      images: means in [0, 1], one a latent.
      elbo: validation ELBO, in nats.
    """

    epoch: int
    images: np.ndarray
    elbo: float


def stages_of(
    dataset: dgm.data.Dataset, z: jax.Array, *, num: int, seed: int, epochs: int, width: int
) -> list[Stage]:
    """Train an `image_vae` and decode the latents ``z`` at ``num`` epochs, evenly from the start to the end.

    Raises:
      ValueError: fewer epochs than stages.
    """
    if epochs < num - 1:
        raise ValueError(f"expected --epochs >= {num - 1}, got {epochs}.")
    marks = np.linspace(0, epochs, num).round().astype(int).tolist()
    stages: list[Stage] = []

    def record_epoch(epoch: int, model: dgm.VAE) -> None:
        if epoch in marks:
            nats, _ = negative_elbo(model, dataset.validation, seed, num_samples=16)
            stages.append(Stage(epoch, np.asarray(decoded_mean(model, z)), -nats))

    model = image_vae(dataset, z.shape[-1], width=width, seed=seed)
    train(model, dataset, seed=seed, epochs=epochs, ema_decay=0.99, on_epoch=record_epoch)
    return stages


def record_of(
    dataset: dgm.data.Dataset, stages: list[Stage], *, seed: int, width: int
) -> dict[str, Any]:
    """What the record of a figure of stages begins with."""
    return {
        "data": dataset.name,
        "pixels": name_of_pixels(dataset),
        "rows": {"train": len(dataset.train), "validation": len(dataset.validation)},
        "seed": seed,
        "width": width,
        "epochs": [stage.epoch for stage in stages],
        "bound": BOUND,
        "validation_elbo_nats": [stage.elbo for stage in stages],
        "standard_deviation_over_pictures": [float(s.images.std(0).mean()) for s in stages],
    }


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
