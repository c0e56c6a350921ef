"""The pictures of a run."""

import functools
import pathlib
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

import dgmjax as dgm
from experiments.config import Config
from experiments.tensorboard import Events

_PICTURES = 10


def write_pictures(
    workdir: pathlib.Path,
    config: Config,
    fitted: dgm.FitResult,
    dataset: dgm.data.Dataset,
    truth: dgm.data.Toy | None,
) -> None:
    """``curves.png`` and ``samples/final.png``, or ``samples/final.npy`` where events have no picture."""
    dgm.plots.training_curves(
        fitted.history,
        workdir / "curves.png",
        quantity=config.model.monitor,
        ylabel=config.model.monitor_label,
        title=dataset.name,
        best_step=fitted.best_step if config.model.validation_loss() else None,
    )
    if not hasattr(fitted.model, "sample"):
        return
    folder = workdir / "samples"
    folder.mkdir(exist_ok=True)
    if dataset.image_shape is None and dataset.event_shape != (2,):
        context = contexts_to_draw(dataset, 1_000) if config.conditional else None
        np.save(folder / "final.npy", draw(fitted.model, num=1_000, context=context))
    else:
        picture_of_samples(
            folder / "final.png",
            fitted.model,
            dataset,
            truth,
            num=64,
            conditional=config.conditional,
        )


class ProgressPictures:
    """Samples along the run, about ten of them: ``samples/step_000400.png`` and in TensorBoard.

    Args:
      config: of the run.
      dataset: its data.
      truth: their density, if it is known.
      workdir: run directory.
      events: where TensorBoard gets them.
    """

    def __init__(
        self,
        config: Config,
        dataset: dgm.data.Dataset,
        truth: dgm.data.Toy | None,
        workdir: pathlib.Path,
        events: Events,
    ):
        evaluations = config.training.steps // config.training.eval_every
        self._every = max(round(evaluations / _PICTURES), 1) * config.training.eval_every
        self._config, self._dataset, self._truth = config, dataset, truth
        self._folder, self._events = workdir / "samples", events
        drawable = dataset.image_shape is not None or dataset.event_shape == (2,)
        self._active = drawable and dgm.training.is_first()

    def __call__(self, step: int, model: Any) -> None:
        """After an evaluation."""
        if not self._active or step % self._every or not hasattr(model, "sample"):
            return
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"step_{step:06}.png"
        picture_of_samples(
            path,
            model,
            self._dataset,
            self._truth,
            num=64,
            conditional=self._config.conditional,
        )
        self._events.picture(path, step)


def picture_of_samples(
    path: pathlib.Path,
    model: Any,
    dataset: dgm.data.Dataset,
    truth: dgm.data.Toy | None,
    *,
    num: int,
    seed: int = 0,
    temperature: ArrayLike = 1.0,
    conditional: bool = False,
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
    context = contexts_to_draw(dataset, count) if conditional else None
    samples = draw(model, num=count, seed=seed, temperature=temperature, context=context)
    if dataset.image_shape is not None:
        images = samples.reshape(-1, *dataset.image_shape)
        columns = len(set(map(tuple, context))) if context is not None else None  # one a class
        dgm.plots.image_grid(images, path, columns=columns, maximum=(dataset.num_levels or 256) - 1)
        return
    dgm.plots.density_2d(
        model.log_prob,
        path,
        data=dataset.train[:5_000],
        samples=samples,
        title=dataset.name,
        true_log_prob=None if truth is None else truth.log_prob,
    )


def contexts_to_draw(dataset: dgm.data.Dataset, num: int) -> np.ndarray:
    """Contexts of ``num`` samples: the classes in turn, or the conditions of the first test events."""
    labels = (dataset.labels or {})["test"]
    if labels.ndim == 1:
        (size,) = dataset.context_shape
        return np.eye(size, dtype=np.float32)[np.arange(num) % size]
    return np.resize(dataset.contexts("test"), (num, *dataset.context_shape))


def draw(
    model: Any,
    *,
    num: int,
    seed: int = 0,
    temperature: ArrayLike = 1.0,
    context: np.ndarray | None = None,
) -> np.ndarray:
    """``num`` samples as a NumPy array."""
    return np.asarray(_draw(model, jax.random.key(seed), context, num, temperature))


@functools.partial(jax.jit, static_argnums=3)
def _draw(
    model: Any, key: jax.Array, context: jax.Array | None, num: int, temperature: ArrayLike
) -> jax.Array:
    # Every context of a batch is one condition, so the batch of samples is that of the contexts.
    shape, condition = ((num,), {}) if context is None else ((), {"context": context})
    return model.sample(seed=key, sample_shape=shape, temperature=temperature, **condition)
