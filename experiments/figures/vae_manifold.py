"""The plane that a VAE with two latents decodes, by quantiles of the prior, after 0, 20 and 40 epochs."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.plots.canvas import INK, new_figure, save_figure
from experiments.figures._mosaic import mosaic, show_images
from experiments.figures._vae import load_images, name_of_pixels, record_of, stages_of
from experiments.figures.registry import register
from experiments.run.results import write_json

_EDGE = 0.03
_PANELS = 3


def quantile_grid(side: int) -> np.ndarray:
    """``z = (Phi^-1(u_1), Phi^-1(u_2))``, ``u`` even in ``[0.03, 0.97]``: ``[side**2, 2]``, the highest ``z_2`` first.

    The order is that of a picture: rows from the top, ``z_1`` to the right.
    """
    quantiles = jax.scipy.stats.norm.ppf(jnp.linspace(_EDGE, 1 - _EDGE, side))
    first, second = np.meshgrid(quantiles, quantiles[::-1])
    return np.stack([first, second], -1).reshape(-1, 2)


@register(quick={"epochs": 8, "width": 100, "side": 6, "rows": 400})
def draw(
    out: pathlib.Path,
    *,
    seed: int = 0,
    data: str = "digits",
    epochs: int = 40,
    width: int = 256,
    side: int = 15,
    rows: int | None = None,
) -> dict[str, Any]:
    """Write the picture ``out`` (.png) and the numbers beside it (.json); returns the numbers.

    Pictures are means ``E[x | z]`` of pixels, at latents that the prior ``N(0, I)`` spreads evenly over the
    unit square.

    Args:
      out: the picture.
      seed: of the weights, the batches and the noise.
      data: grey images, by name: the digits keep their 17 levels, mnist is binarized.
      epochs: of training; the panels are at its start, middle and end.
      width: hidden units of the two layers of encoder and decoder.
      side: pictures along each side.
      rows: of each split, at most.

    Raises:
      ValueError: fewer epochs than panels.

    Source: Kingma and Welling, 2014, *Auto-encoding variational Bayes*, arXiv:1312.6114, figure 4.
    """
    dataset = load_images(data, binary=False, rows=rows)
    z = jnp.asarray(quantile_grid(side), jnp.float32)
    stages = stages_of(dataset, z, num=_PANELS, seed=seed, epochs=epochs, width=width)
    grids = [stage.images.reshape(side, side, -1) for stage in stages]
    record = record_of(dataset, stages, seed=seed, width=width) | {
        "side": side,
        "quantiles": [_EDGE, 1 - _EDGE],
        "latents": [float(z[0, 0]), float(z[-1, 0])],
        # Mean absolute differences of pixels, of neighbours in a row or column, and of pictures half a side apart.
        "difference_of_neighbours": [_difference(grid, 1) for grid in grids],
        "difference_across_half": [_difference(grid, side // 2) for grid in grids],
    }
    figure = new_figure(11.4, 4.4)
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.05)
    for index, (axes, stage) in enumerate(zip(figure.subplots(1, _PANELS), stages, strict=True)):
        picture = mosaic(stage.images, dataset, side)
        show_images(axes, picture, f"epoch {stage.epoch}, validation ELBO ${stage.elbo:.2f}$")
        axes.set_xlabel(r"$z_1 = \Phi^{-1}(u_1)$ $\rightarrow$", size=9, color=INK)
        if index == 0:
            axes.set_ylabel(r"$z_2 = \Phi^{-1}(u_2)$ $\rightarrow$", size=9, color=INK)
    figure.suptitle(
        f"{dataset.name}: decoder means over two latents, $u$ from {_EDGE} to {1 - _EDGE}; ELBO in nats, "
        f"{name_of_pixels(dataset)}",
        size=11,
        color=INK,
    )
    save_figure(figure, out)
    write_json(out.with_suffix(".json"), record)
    return record


def _difference(images: np.ndarray, step: int) -> float:
    along = np.abs(images[step:] - images[:-step]).mean()
    across = np.abs(images[:, step:] - images[:, :-step]).mean()
    return float(along + across) / 2
