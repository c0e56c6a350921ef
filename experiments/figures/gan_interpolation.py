"""Paths between latents of a GAN: in the unit cube of their quantiles, straight, and along a great circle."""

import pathlib
from typing import Any, get_args

import jax
import numpy as np

import dgmjax as dgm
from dgmjax.analysis.latent_path import BaseKind
from dgmjax.plots.canvas import INK, new_figure, save_figure
from experiments.figures._gan import generated, load, train
from experiments.figures._mosaic import mosaic, show_images
from experiments.figures.registry import register
from experiments.run.results import write_json

_PAIRS = 4
_FOR_NUMBERS = 2_000


@register(quick={"epochs": 60, "width": 32, "rows": 500})
def draw(
    out: pathlib.Path,
    *,
    seed: int = 0,
    data: str = "digits",
    epochs: int = 400,
    num: int = 9,
    width: int | None = None,
    rows: int | None = None,
) -> dict[str, Any]:
    """Write the picture ``out`` (.png) and the numbers beside it (.json); returns the numbers.

    The same pairs of ``z ~ N(0, I)`` in every panel; see `dgmjax.analysis.latent_path`. The numbers are the mean of
    ``|z|^2 / d`` along the paths of 2,000 pairs, 1 for the latents of training, and the discriminator's mean
    probability.

    Args:
      out: the picture.
      seed: of the weights, the batches, the noise and the latents.
      data: digits or mnist.
      epochs: of training.
      num: pictures of a path, the ends included.
      width: units of the first layer of the generator; default that of the config.
      rows: of training images, at most.

    Raises:
      ValueError: fewer than 3 pictures.
    """
    if num < 3:
        raise ValueError(f"expected num >= 3, got {num}.")
    config, settings, dataset = load(data, rows=rows, width=width)
    model, _ = train(config, settings, dataset, seed=seed, epochs=epochs)
    shape = (2, _FOR_NUMBERS, settings.latent_dim)
    first, second = jax.random.normal(jax.random.key(seed + 1), shape)
    kinds: tuple[BaseKind, ...] = get_args(BaseKind)[::-1]
    paths = {kind: dgm.analysis.latent_path(first, second, num, kind=kind) for kind in kinds}
    squares = {
        kind: [float(value) for value in (path**2).mean((1, 2))] for kind, path in paths.items()
    }
    record = {
        "data": dataset.name,
        "config": config.name,
        "rows": len(dataset.train),
        "seed": seed,
        "epochs": epochs,
        "pairs": _FOR_NUMBERS,
        "mean_square_of_latents": squares,
        "mean_probability": {
            kind: [float(_probability(model, z)) for z in path] for kind, path in paths.items()
        },
    }
    figure = new_figure(11.0, 2.3)
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    for axes, kind in zip(figure.subplots(1, len(kinds)), kinds, strict=True):
        pictures = np.asarray(generated(model, paths[kind][:, :_PAIRS].swapaxes(0, 1)))
        middle = squares[kind][num // 2]
        title = f"{kind}: $|z|^2/d = {middle:.2f}$ in the middle"
        show_images(axes, mosaic(pictures, dataset, num), title)
    figure.suptitle(
        f"{dataset.name}: {_PAIRS} pairs of latents and {num - 2} steps between, one path a row",
        size=11,
        color=INK,
    )
    save_figure(figure, out)
    write_json(out.with_suffix(".json"), record)
    return record


@jax.jit
def _probability(model: dgm.GAN, z: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(model.discriminate(model.generate(z))).mean()
