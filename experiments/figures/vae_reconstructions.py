"""Test images, what a VAE makes of their codes, and paths between codes: straight and along great circles."""

import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np

import dgmjax as dgm
from dgmjax.plots.canvas import INK, new_figure, save_figure
from experiments.figures._mosaic import mosaic, show_images
from experiments.figures._vae import (
    BOUND,
    decoded_mean,
    image_vae,
    load_images,
    name_of_pixels,
    negative_elbo,
    train,
)
from experiments.figures.registry import register
from experiments.run.results import write_json

_IMAGES = 12
_PAIRS = 3


@register(quick={"epochs": 16, "width": 128, "rows": 400})
def draw(
    out: pathlib.Path,
    *,
    seed: int = 0,
    data: str = "digits",
    epochs: int = 30,
    latent_dim: int = 16,
    width: int = 256,
    rows: int | None = None,
) -> dict[str, Any]:
    """Write the picture ``out`` (.png) and the numbers beside it (.json); returns the numbers.

    Pictures are means ``E[x | z]`` at the means of Gaussian posteriors, which are the ends of the paths too:
    `dgmjax.analysis.lerp` and `dgmjax.analysis.slerp`. The digits keep their 17 levels, mixtures of discretized
    logistics; MNIST is binarized, Bernoulli pixels.

    Args:
      out: the picture.
      seed: of the weights, the batches and the noise.
      data: grey images, by name, e.g. digits or mnist.
      epochs: of training; the model with the best validation ELBO is drawn.
      latent_dim: number of latents.
      width: hidden units of the two layers of encoder and decoder.
      rows: of each split, at most.
    """
    dataset = load_images(data, binary=False, rows=rows)
    top = (dataset.num_levels or 2) - 1
    posterior = dgm.posteriors.DiagonalGaussian(latent_dim)
    model = image_vae(dataset, latent_dim, width=width, seed=seed, posterior=posterior)
    model = train(model, dataset, seed=seed, epochs=epochs, ema_decay=0.99, data_init=True)
    nats, error = negative_elbo(model, dataset.test, seed, num_samples=16)
    test = dataset.test / top
    mean, _ = posterior.moments(dgm.objectives.encode_all(model, dataset.test))
    decoded = np.asarray(decoded_mean(model, mean))
    chosen = _chosen(dataset)
    t = jnp.linspace(0, 1, _IMAGES - 2)
    strips: list[np.ndarray] = []
    radii: dict[str, list[float]] = {"linear": [], "spherical": []}
    for first, second in chosen[: 2 * _PAIRS].reshape(_PAIRS, 2):
        ends = mean[first], mean[second]
        for name, path in (
            ("linear", dgm.analysis.lerp(*ends, t)),
            ("spherical", dgm.analysis.slerp(*ends, t)),
        ):
            steps = np.asarray(decoded_mean(model, path))
            strips.append(np.concatenate([test[first][None], steps, test[second][None]]))
            radii[name].append(float(jnp.linalg.norm(path, axis=1).min()))
    record = {
        "data": dataset.name,
        "pixels": name_of_pixels(dataset),
        "rows": {split: len(getattr(dataset, split)) for split in ("train", "validation", "test")},
        "seed": seed,
        "epochs": epochs,
        "latents": latent_dim,
        "width": width,
        "bound": BOUND,
        "test_elbo_nats": -nats,
        "test_elbo_standard_error": error,
        "test_images": chosen.tolist(),
        # Of all test images, in units of the range of brightness.
        "error_of_reconstructions": float(np.sqrt(((decoded - test) ** 2).mean())),
        "error_of_the_mean_image": float(
            np.sqrt(((test - dataset.train.mean(0) / top) ** 2).mean())
        ),
        "smallest_norm_along_paths": radii,
    }
    images = np.concatenate([test[chosen], decoded[chosen]])
    _picture(out, images, np.stack(strips), dataset, record)
    write_json(out.with_suffix(".json"), record)
    return record


def _chosen(dataset: dgm.data.Dataset) -> np.ndarray:
    """The first test images of the classes in turn, so that neighbours differ."""
    if dataset.labels is None:
        return np.arange(_IMAGES)
    labels = dataset.labels["test"]
    rank = np.empty(len(labels), int)
    for label in np.unique(labels):
        rank[labels == label] = np.arange((labels == label).sum())
    return np.lexsort((labels, rank))[:_IMAGES]


def _picture(
    out: pathlib.Path,
    images: np.ndarray,
    strips: np.ndarray,
    dataset: dgm.data.Dataset,
    record: dict[str, Any],
) -> None:
    figure = new_figure(8.6, 6.8)
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.05)
    rows = (2, *(2,) * _PAIRS)
    panels = figure.subplots(len(rows), 1, height_ratios=rows)
    show_images(
        panels[0],
        mosaic(images, dataset, _IMAGES),
        f"reconstructions (root of the mean squared error {record['error_of_reconstructions']:.3f} of the range; of "
        f"the mean image {record['error_of_the_mean_image']:.3f})",
    )
    _name_rows(panels[0], ("test images", "decoded"))
    for index, axes in enumerate(panels[1:]):
        strip = strips[2 * index : 2 * index + 2]
        title = "test images at the ends, and between them the decoded path of codes"
        show_images(
            axes,
            mosaic(strip, dataset, _IMAGES),
            title if index == 0 else "",
        )
        _name_rows(axes, ("linear", "spherical"))
    figure.suptitle(
        f"{record['data']}, {record['latents']} latents, {record['pixels']}: test ELBO "
        f"${record['test_elbo_nats']:.2f} \\pm {record['test_elbo_standard_error']:.2f}$ nats",
        size=11,
        color=INK,
    )
    save_figure(figure, out)


def _name_rows(axes: Any, names: tuple[str, str]) -> None:
    bottom, top = axes.get_ylim()
    height = bottom - top
    axes.set_yticks([0.25 * height, 0.75 * height], names)
    axes.tick_params(axis="y", length=0, labelsize=9, labelcolor=INK)
