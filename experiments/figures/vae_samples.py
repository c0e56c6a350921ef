"""What a VAE decodes from the same 16 latents after 0, 10, 20, 30 and 40 epochs."""

import pathlib
from typing import Any

import jax
import numpy as np
from flax import nnx

import dgmjax as dgm
from dgmjax.plots._canvas import INK, new_figure, save_figure
from experiments.figures._vae import (
    BOUND,
    decoded_mean,
    load_images,
    mosaic,
    name_of_pixels,
    negative_elbo,
    pixels,
    show_images,
    train,
)
from experiments.results import write_json

_COLUMNS = 4
_PANELS = 5


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
    if epochs < _PANELS - 1:
        raise ValueError(f"expected --epochs >= {_PANELS - 1}, got {epochs}.")
    dataset = load_images(data, binary=False, rows=rows)
    z = jax.random.normal(jax.random.key(seed), (_COLUMNS**2, latent_dim))
    marks = np.linspace(0, epochs, _PANELS).round().astype(int).tolist()
    panels: dict[int, np.ndarray] = {}
    bounds: dict[int, float] = {}

    def record_epoch(epoch: int, model: dgm.VAE) -> None:
        if epoch in marks:
            panels[epoch] = np.asarray(decoded_mean(model, z))
            bounds[epoch] = negative_elbo(model, dataset.validation, seed, num_samples=16)[0]

    model = dgm.VAE(
        dataset.event_shape,
        latent_dim=latent_dim,
        **pixels(dataset),
        width=width,
        depth=2,
        activation="silu",
        rngs=nnx.Rngs(seed),
    )
    train(model, dataset, seed=seed, epochs=epochs, ema_decay=0.99, on_epoch=record_epoch)
    average = dataset.train.mean(0) / ((dataset.num_levels or 2) - 1)
    record = {
        "data": dataset.name,
        "pixels": name_of_pixels(dataset),
        "rows": {"train": len(dataset.train), "validation": len(dataset.validation)},
        "seed": seed,
        "latents": latent_dim,
        "width": width,
        "samples": len(z),
        "epochs": marks,
        "bound": BOUND,
        "validation_elbo_nats": [-bounds[epoch] for epoch in marks],
        # Mean absolute difference of the mean sample from the mean training image, in units of the range.
        "difference_of_means": [
            float(np.abs(panels[epoch].mean(0) - average).mean()) for epoch in marks
        ],
        # 0 where all latents give one picture.
        "standard_deviation_over_samples": [float(panels[epoch].std(0).mean()) for epoch in marks],
    }
    figure = new_figure(11.0, 2.95)
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.09)
    for axes, epoch, elbo in zip(
        figure.subplots(1, _PANELS), marks, record["validation_elbo_nats"], strict=True
    ):
        picture = mosaic(panels[epoch], dataset, _COLUMNS)
        show_images(axes, picture, f"epoch {epoch}\nvalidation ELBO ${elbo:.2f}$")
    figure.suptitle(
        f"{dataset.name}: decoder means of the same {len(z)} draws of {latent_dim} latents; ELBO in nats, "
        f"{name_of_pixels(dataset)}",
        size=11,
        color=INK,
    )
    save_figure(figure, out)
    write_json(out.with_suffix(".json"), record)
    return record
