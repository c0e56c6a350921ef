"""The pictures of a run."""

import pathlib
from typing import Any

import jax
import numpy as np

import dgmjax as dgm


def write_pictures(
    workdir: pathlib.Path,
    fitted: dgm.FitResult,
    dataset: dgm.data.Dataset,
    truth: dgm.data.Toy | None,
) -> None:
    """``curves.png`` and ``samples/final.png``, or ``samples/final.npy`` where events have no picture."""
    dgm.plots.training_curves(
        fitted.history,
        workdir / "curves.png",
        ylabel="negative log-likelihood [nats]",
        title=dataset.name,
        best_step=fitted.best_step,
    )
    folder = workdir / "samples"
    folder.mkdir(exist_ok=True)
    if dataset.image_shape is None and dataset.event_shape != (2,):
        np.save(folder / "final.npy", draw(fitted.model, num=1_000, seed=0, temperature=1.0))
    else:
        picture_of_samples(folder / "final.png", fitted.model, dataset, truth, num=64, seed=0)


def picture_of_samples(
    path: pathlib.Path,
    model: Any,
    dataset: dgm.data.Dataset,
    truth: dgm.data.Toy | None,
    *,
    num: int,
    seed: int,
    temperature: float = 1.0,
) -> None:
    """A grid of images, or for 2-D data the data, the learned density and samples side by side.

    Raises:
      ValueError: the events are neither images nor pairs of numbers.
    """
    planar = dataset.event_shape == (2,)
    if dataset.image_shape is None and not planar:
        raise ValueError(
            f"events of shape {dataset.event_shape} have no picture; write the samples with --out samples.npy."
        )
    count = max(num, 5_000) if planar else num
    samples = draw(model, num=count, seed=seed, temperature=temperature)
    if dataset.image_shape is not None:
        images = samples.reshape(-1, *dataset.image_shape)
        dgm.plots.image_grid(images, path, maximum=(dataset.num_levels or 256) - 1)
        return
    dgm.plots.density_2d(
        model.log_prob,
        path,
        data=dataset.train[:5_000],
        samples=samples,
        title=dataset.name,
        true_log_prob=None if truth is None else truth.log_prob,
    )


def draw(model: Any, *, num: int, seed: int, temperature: float) -> np.ndarray:
    """``num`` samples as a NumPy array."""
    sample = jax.jit(
        lambda model, key: model.sample(seed=key, sample_shape=(num,), temperature=temperature)
    )
    return np.asarray(sample(model, jax.random.key(seed)))
