"""The pictures of a run."""

import functools
import math
import pathlib
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

import dgmjax as dgm
from experiments.run.classes import Conditions, class_names, conditions_to_draw
from experiments.run.tensorboard import Events
from experiments.settings.config import Config
from experiments.settings.measured_likelihood import log_marginal

_PICTURES = 10
_IMAGES, _POINTS = 64, 5_000  # samples in a picture
_COLUMNS = 10  # images of a class in a row, at most


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
        context = None
        if config.conditional:
            conditions = conditions_to_draw(dataset, 1_000)
            context = conditions.context
            np.save(folder / "final_labels.npy", conditions.labels)
        np.save(folder / "final.npy", draw(fitted.model, num=1_000, context=context))
    else:
        picture_of_samples(
            folder / "final.png",
            fitted.model,
            dataset,
            truth,
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
            conditional=self._config.conditional,
        )
        self._events.picture(path, step)


def picture_of_samples(
    path: pathlib.Path,
    model: Any,
    dataset: dgm.data.Dataset,
    truth: dgm.data.Toy | None,
    *,
    num: int | None = None,
    seed: int = 0,
    temperature: ArrayLike = 1.0,
    conditional: bool = False,
    classes: tuple[int, ...] = (),
) -> None:
    """A grid of images, or for 2-D data the data, samples and the learned density side by side.

    Of a model that is conditional on classes a row holds the images of one class, and points have the colour of theirs.

    Raises:
      ValueError: the events are neither images nor pairs of numbers.
    """
    planar = dataset.event_shape == (2,)
    if dataset.image_shape is None and not planar:
        raise ValueError(
            f"events of shape {dataset.event_shape} have no picture; write the samples with --out samples.npy."
        )
    num = num or (_POINTS if planar else _IMAGES)
    conditions = conditions_to_draw(dataset, num, classes) if conditional else None
    context = None if conditions is None else conditions.context
    samples = draw(model, num=num, seed=seed, temperature=temperature, context=context)
    if dataset.image_shape is None:
        _picture_of_the_plane(path, model, dataset, truth, samples, conditions)
        return
    labels = columns = None
    if conditions is not None and conditions.classes:
        labels = [class_names(dataset)[index] for index in conditions.classes]
        of_a_class = math.ceil(num / len(labels))
        columns = math.ceil(of_a_class / math.ceil(of_a_class / _COLUMNS))
    images, maximum = as_picture(dataset, samples)
    dgm.plots.image_grid(images, path, columns=columns, row_labels=labels, maximum=maximum)


def _picture_of_the_plane(
    path: pathlib.Path,
    model: Any,
    dataset: dgm.data.Dataset,
    truth: dgm.data.Toy | None,
    samples: np.ndarray,
    conditions: Conditions | None,
) -> None:
    data, title, classes = dataset.train[:_POINTS], dataset.name, None
    contexts = None
    if conditions is not None:
        # In turn, so that the first ones are one round.
        contexts = conditions.context[: len(conditions.classes) or _IMAGES]
        title = f"{title} (density: mean over {len(contexts)} conditions)"
    if conditions is not None and conditions.classes:
        labels = (dataset.labels or {})["train"]
        chosen = np.flatnonzero(np.isin(labels, conditions.classes))[:_POINTS]
        data, classes = dataset.train[chosen], (labels[chosen], conditions.labels)

    def log_prob(x: jax.Array) -> jax.Array:
        key = jax.random.key(0)
        if contexts is None:
            return dgm.objectives.log_prob(model, x, seed=key)
        weights = np.full(len(contexts), -np.log(len(contexts)), np.float32)
        return log_marginal(model, x, contexts, weights, seed=key)

    dgm.plots.density_2d(
        log_prob if hasattr(model, "log_prob") else None,
        path,
        data=data,
        samples=samples,
        title=title,
        true_log_prob=None if truth is None else truth.log_prob,
        classes=classes,
        class_names=None if classes is None else class_names(dataset),
    )


def as_picture(dataset: dgm.data.Dataset, events: np.ndarray) -> tuple[np.ndarray, float]:
    """Images ``[n, h, w, c]`` of events, and the value that is drawn white; of floats the range is that of the data."""
    images = events.reshape(-1, *(dataset.image_shape or ()))
    if dataset.num_levels is not None:
        return images, dataset.num_levels - 1
    low, high = float(dataset.train.min()), float(dataset.train.max())
    return (images - low) / max(high - low, 1e-12), 1.0


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
