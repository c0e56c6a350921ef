"""What the figures of adversarial models share: the data, the model of a config, and its training by epochs."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx

import dgmjax as dgm
from experiments.configs import load_config
from experiments.settings.config import Config
from experiments.settings.gans import GANConfig

_CONFIGS = {"digits": "gan_digits", "mnist": "gan_mlp_mnist"}


def load(
    data: str, *, rows: int | None = None, width: int | None = None
) -> tuple[Config, GANConfig, dgm.data.Dataset]:
    """The config that trains a GAN of dense layers on ``data``, its model, and grey images as vectors of integers.

    ``width`` makes a small model of it: so many units in the first layer of the generator.

    Raises:
      ValueError: data without such a config.
    """
    if data not in _CONFIGS:
        raise ValueError(f"--data {data}: expected one of {', '.join(_CONFIGS)}.")
    dataset = dgm.data.load_dataset(data).flattened()
    config = load_config(_CONFIGS[data])
    settings = config.model
    assert isinstance(settings, GANConfig)
    if width is not None:
        doubling = tuple(width * 2**i for i in range(len(settings.generator_widths)))
        settings = dataclasses.replace(
            settings, generator_widths=doubling, discriminator_widths=(2 * width, width)
        )
    return config, settings, dataset if rows is None else dataset.first(rows)


def train(
    config: Config,
    settings: GANConfig,
    dataset: dgm.data.Dataset,
    *,
    seed: int,
    epochs: int,
    on_epoch: Callable[[int, dgm.GAN], None] | None = None,
) -> tuple[dgm.GAN, list[dict[str, Any]]]:
    """The model after ``epochs`` passes over the training images, and its records, one an epoch.

    ``on_epoch(epoch, model)`` is called at the start, epoch 0, and after every epoch. The rate is that of the config,
    all of its schedule in the epochs there are.
    """
    model = settings.build(dataset, nnx.Rngs(seed))
    if on_epoch is not None:
        on_epoch(0, model)
    batch_size = min(config.training.batch_size, len(dataset.train))
    steps = max(1, len(dataset.train) // batch_size)
    optimizer = dgm.training.default_optimizer(
        steps=epochs * steps, **dataclasses.asdict(config.optimizer)
    )
    fitted = dgm.fit(
        model,
        dataset.train,
        seed=jax.random.key(seed),
        steps=epochs * steps,
        execution=dgm.Execution(steps_per_call=steps if steps < 100 else 1),
        eval_every=steps,
        batch_size=batch_size,
        optimizer=settings.optimizers(optimizer),
        ema_decay=config.training.ema_decay,
        augment=config.augment.build(dataset.image_shape),
        loss=settings.loss(),
        watch=dgm.Watch(
            on_evaluation=None
            if on_epoch is None
            else lambda step, model: on_epoch(step // steps, model),
            progress=False,
        ),
    )
    return fitted.model, fitted.history


@jax.jit
def generated(model: dgm.GAN, z: jax.Array) -> jax.Array:
    """``G(z)`` as brightness in [0, 1], ``[n, d] -> [n, *event]``."""
    return 0.5 * (model.generate(z) + 1.0)


def differences(images: np.ndarray, dataset: dgm.data.Dataset) -> tuple[float, float]:
    """Mean absolute differences of the means and of the deviations of pixels from those of the training images."""
    real = dataset.train / ((dataset.num_levels or 2) - 1)
    return (
        float(np.abs(images.mean(0) - real.mean(0)).mean()),
        float(np.abs(images.std(0) - real.std(0)).mean()),
    )
