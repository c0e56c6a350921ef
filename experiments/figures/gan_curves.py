"""The two losses of a GAN over epochs, with their values at the equilibrium: ln 4 and ln 2."""

import math
import pathlib
from typing import Any

import numpy as np

from dgmjax.plots.canvas import INK, new_figure, save_figure
from experiments.figures._axes import COLOURS, dress
from experiments.figures._gan import load, train
from experiments.figures.registry import register
from experiments.run.results import write_json

_WINDOWS = 100  # points of a curve: means over as many equal parts of the training


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

    Losses of training, dropout on, of the model of ``gan_digits``, or ``gan_mlp_mnist``. At the equilibrium, where the
    discriminator says 1/2 of everything, its loss is ln 4 and the generator's, -log D, is ln 2. It is not reached: the
    discriminator stays ahead a little.

    Args:
      out: the picture.
      seed: of the weights, the batches and the noise.
      data: digits or mnist.
      epochs: of training.
      width: units of the first layer of the generator; default that of the config.
      rows: of training images, at most.
    """
    config, settings, dataset = load(data, rows=rows, width=width)
    _, history = train(config, settings, dataset, seed=seed, epochs=epochs)
    names = ("discriminator_loss", "generator_loss", "discriminator_accuracy")
    values = {name: [record[name] for record in history] for name in names}
    parts = np.array_split(np.arange(epochs), min(epochs, _WINDOWS))
    curves = {
        name: [float(np.mean(np.asarray(curve)[part])) for part in parts]
        for name, curve in values.items()
    }
    record = {
        "data": dataset.name,
        "config": config.name,
        "rows": len(dataset.train),
        "seed": seed,
        "epochs": [int(part[-1]) + 1 for part in parts],
        "unit": "nats",
        "saturating": settings.saturating,
        "equilibrium": {"discriminator_loss": math.log(4), "generator_loss": math.log(2)},
        **curves,
        "largest_generator_loss": max(values["generator_loss"]),
    }
    _picture(out, record)
    write_json(out.with_suffix(".json"), record)
    return record


def _picture(out: pathlib.Path, record: dict[str, Any]) -> None:
    figure = new_figure(9.2, 4.2)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.06)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    for name, label, colour, text in (
        ("discriminator_loss", "discriminator", COLOURS[1], "ln 4"),
        ("generator_loss", "generator, $-\\log D(G(z))$", COLOURS[0], "ln 2"),
    ):
        left.plot(record["epochs"], record[name], color=colour, linewidth=1.7, label=label)
        level = record["equilibrium"][name]
        left.axhline(level, color=colour, linewidth=1.0, linestyle="--")
        left.annotate(
            f"{text} = {level:.3f}",
            (1.0, level),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            size=8,
            color=colour,
        )
    dress(left, xlabel="epochs", ylabel="loss [nats]", title="losses; dashed: the equilibrium")
    left.legend(frameon=False, fontsize=9, labelcolor=INK, loc="best")
    right.plot(record["epochs"], record["discriminator_accuracy"], color=COLOURS[2], linewidth=1.7)
    right.axhline(0.5, color=COLOURS[2], linewidth=1.0, linestyle="--")
    right.set_ylim(0.4, 1.0)
    dress(right, xlabel="epochs", ylabel=None, title="told right by the discriminator")
    figure.suptitle(
        f"{record['data']}, {record['rows']:,} training images, config {record['config']}: means of the training "
        f"steps, dropout on",
        size=11,
        color=INK,
    )
    save_figure(figure, out)
