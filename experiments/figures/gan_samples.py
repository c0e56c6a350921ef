"""What a GAN makes of the same 16 latents along its training: epochs in the shares 1, 4, 50, 100 %."""

import pathlib
from typing import Any

import jax
import numpy as np

import dgmjax as dgm
from dgmjax.plots.canvas import INK, new_figure, save_figure
from experiments.figures._gan import differences, generated, load, train
from experiments.figures._mosaic import mosaic, show_images
from experiments.figures.registry import register
from experiments.run.results import write_json

_COLUMNS = 4
_SHARES = (0.0, 0.01, 0.04, 0.5, 1.0)  # the lectures' 2, 8, 100 and 200 epochs, and the start
_FOR_NUMBERS = 1_000


@register(quick={"epochs": 60, "width": 32, "rows": 500})
def draw(
    out: pathlib.Path,
    *,
    seed: int = 0,
    data: str = "digits",
    epochs: int = 400,
    width: int | None = None,
    rows: int | None = None,
) -> dict[str, Any]:
    """Write the picture ``out`` (.png) and the numbers beside it (.json); returns the numbers.

    Averaged weights of the model of ``gan_digits``, or ``gan_mlp_mnist``; the same ``z ~ N(0, I)`` in every panel.

    Args:
      out: the picture.
      seed: of the weights, the batches, the noise and the latents.
      data: digits or mnist.
      epochs: of training.
      width: units of the first layer of the generator; default that of the config.
      rows: of training images, at most.

    Raises:
      ValueError: too few epochs for the panels, or other data.
    """
    marks = [round(share * epochs) for share in _SHARES]
    if len(set(marks)) < len(marks):
        raise ValueError(f"expected --epochs >= 38, so that the panels differ, got {epochs}.")
    config, settings, dataset = load(data, rows=rows, width=width)
    z = jax.random.normal(jax.random.key(seed), (_FOR_NUMBERS, settings.latent_dim))
    panels: dict[int, np.ndarray] = {}

    def record_epoch(epoch: int, model: dgm.GAN) -> None:
        if epoch in marks:
            panels[epoch] = np.asarray(generated(model, z))

    train(config, settings, dataset, seed=seed, epochs=epochs, on_epoch=record_epoch)
    found = [differences(panels[epoch], dataset) for epoch in marks]
    record = {
        "data": dataset.name,
        "config": config.name,
        "rows": len(dataset.train),
        "seed": seed,
        "epochs": marks,
        "samples": _FOR_NUMBERS,
        # Mean absolute differences over pixels, in units of the range, from the training images.
        "difference_of_means": [means for means, _ in found],
        "difference_of_deviations": [deviations for _, deviations in found],
        # 0 where all latents give one picture.
        "standard_deviation_over_samples": [float(panels[epoch].std(0).mean()) for epoch in marks],
    }
    figure = new_figure(11.0, 2.95)
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.09)
    for axes, epoch in zip(figure.subplots(1, len(marks)), marks, strict=True):
        picture = mosaic(panels[epoch][: _COLUMNS**2], dataset, _COLUMNS)
        show_images(axes, picture, f"epoch {epoch}")
    figure.suptitle(
        f"{dataset.name}, {record['rows']:,} training images: the generator's pictures of the same {_COLUMNS**2} draws "
        f"of {settings.latent_dim} latents",
        size=11,
        color=INK,
    )
    save_figure(figure, out)
    write_json(out.with_suffix(".json"), record)
    return record
