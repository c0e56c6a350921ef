"""What a VAE decodes from the same 16 latents after 0, 10, 20, 30 and 40 epochs."""

import pathlib
from typing import Any

import jax
import numpy as np

from dgmjax.plots.canvas import INK, new_figure, save_figure
from experiments.figures._mosaic import mosaic, show_images
from experiments.figures._vae import load_images, name_of_pixels, record_of, stages_of
from experiments.figures.registry import register
from experiments.run.results import write_json

_COLUMNS = 4
_PANELS = 5


@register(quick={"epochs": 8, "width": 100, "rows": 400})
def draw(
    out: pathlib.Path,
    *,
    seed: int = 0,
    data: str = "digits",
    epochs: int = 40,
    latent_dim: int = 20,
    width: int = 256,
    rows: int | None = None,
) -> dict[str, Any]:
    """Write the picture ``out`` (.png) and the numbers beside it (.json); returns the numbers.

    Pictures are means ``E[x | z]`` of pixels, of the same ``z ~ N(0, I)`` in every panel.

    Args:
      out: the picture.
      seed: of the weights, the batches, the noise and the latents.
      data: grey images, by name: the digits keep their 17 levels, mnist is binarized.
      epochs: of training; the panels are at equal distances.
      latent_dim: number of latents.
      width: hidden units of the two layers of encoder and decoder.
      rows: of each split, at most.

    Raises:
      ValueError: fewer epochs than panels.
    """
    dataset = load_images(data, binary=False, rows=rows)
    z = jax.random.normal(jax.random.key(seed), (_COLUMNS**2, latent_dim))
    stages = stages_of(dataset, z, num=_PANELS, seed=seed, epochs=epochs, width=width)
    average = dataset.train.mean(0) / ((dataset.num_levels or 2) - 1)
    record = record_of(dataset, stages, seed=seed, width=width) | {
        "latents": latent_dim,
        "samples": len(z),
        # Mean absolute difference of the mean sample from the mean training image, in units of the range.
        "difference_of_means": [float(np.abs(s.images.mean(0) - average).mean()) for s in stages],
    }
    figure = new_figure(11.0, 2.95)
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.09)
    for axes, stage in zip(figure.subplots(1, _PANELS), stages, strict=True):
        picture = mosaic(stage.images, dataset, _COLUMNS)
        show_images(axes, picture, f"epoch {stage.epoch}\nvalidation ELBO ${stage.elbo:.2f}$")
    figure.suptitle(
        f"{dataset.name}: decoder means of the same {len(z)} draws of {latent_dim} latents; ELBO in nats, "
        f"{name_of_pixels(dataset)}",
        size=11,
        color=INK,
    )
    save_figure(figure, out)
    write_json(out.with_suffix(".json"), record)
    return record
