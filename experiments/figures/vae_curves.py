"""The negative ELBO of a VAE over epochs, with 20 latents and with 2: training and validation data."""

import pathlib
from typing import Any

from flax import nnx

import dgmjax as dgm
from dgmjax.plots.canvas import INK, new_figure, save_figure
from experiments.figures._axes import COLOURS, dress
from experiments.figures._vae import BOUND, load_images, negative_elbo, train
from experiments.figures.registry import register
from experiments.run.results import write_json

LATENTS = (20, 2)


@register(quick={"epochs": 8, "width": 64, "rows": 300})
def draw(
    out: pathlib.Path,
    *,
    seed: int = 0,
    data: str = "digits",
    epochs: int = 40,
    width: int = 500,
    rows: int | None = None,
) -> dict[str, Any]:
    """Write the picture ``out`` (.png) and the numbers beside it (.json); returns the numbers.

    Static binarisations, Bernoulli pixels, encoder and decoder with one hidden layer of tanh. The lectures call these
    curves "ELBO"; what falls is its negative (erratum E-A4-15).

    Args:
      out: the picture.
      seed: of the weights, the batches and the noise.
      data: grey images, by name, e.g. digits or mnist.
      epochs: of training.
      width: hidden units.
      rows: of each split, at most.
    """
    dataset = load_images(data, binary=True, rows=rows)
    curves = {}
    for latent_dim in LATENTS:
        curve: dict[str, list[float]] = {"train": [], "validation": []}

        def record_epoch(epoch: int, model: dgm.VAE, curve: dict[str, list[float]] = curve) -> None:
            for split, values in curve.items():
                values.append(negative_elbo(model, getattr(dataset, split), seed + epoch)[0])

        model = dgm.VAE(
            dataset.event_shape,
            latent_dim=latent_dim,
            width=width,
            depth=1,
            activation="tanh",
            rngs=nnx.Rngs(seed),
        )
        best = train(model, dataset, seed=seed, epochs=epochs, on_epoch=record_epoch)
        nats, error = negative_elbo(best, dataset.test, seed, num_samples=16)
        curves[str(latent_dim)] = {
            **curve,
            "test": nats,
            "test_standard_error": error,
            "best_epoch": min(range(epochs + 1), key=curve["validation"].__getitem__),
        }
    record = {
        "data": dataset.name,
        "rows": {split: len(getattr(dataset, split)) for split in ("train", "validation", "test")},
        "seed": seed,
        "width": width,
        "epochs": list(range(epochs + 1)),
        "unit": "nats an image, negative",
        "bound": BOUND,
        "latents": curves,
    }
    _picture(out, record)
    write_json(out.with_suffix(".json"), record)
    return record


def _picture(out: pathlib.Path, record: dict[str, Any]) -> None:
    epochs = record["epochs"]
    figure = new_figure(9.2, 4.4)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.06)
    panels = figure.subplots(1, len(record["latents"]), sharey=True)
    # The first epoch or two would flatten the rest.
    shown = [
        value
        for curve in record["latents"].values()
        for split in ("train", "validation")
        for value in curve[split][min(2, len(epochs) - 1) :]
    ]
    margin = 0.08 * (max(shown) - min(shown))
    for axes, (latent_dim, curve) in zip(panels, record["latents"].items(), strict=True):
        for split, colour in (("train", COLOURS[1]), ("validation", COLOURS[0])):
            axes.plot(epochs, curve[split], color=colour, linewidth=1.7, label=split)
        best = curve["best_epoch"]
        axes.plot(
            [best],
            [curve["validation"][best]],
            "o",
            markersize=7,
            markerfacecolor="none",
            markeredgecolor=INK,
            linestyle="none",
            label="best on validation",
        )
        dress(
            axes,
            xlabel=f"epochs (off the scale at epoch 0: {curve['train'][0]:.1f})",
            ylabel=None,
            title=f"{latent_dim} latents: at epoch {epochs[-1]} train {curve['train'][-1]:.2f}, validation "
            f"{curve['validation'][-1]:.2f}\n(best {curve['validation'][best]:.2f}; "
            f"test there {curve['test']:.2f} $\\pm$ {curve['test_standard_error']:.2f})",
        )
    panels[0].set_ylim(min(shown) - margin, max(shown) + margin)
    panels[0].set_ylabel("negative ELBO [nats]", color=INK)
    figure.suptitle(
        f"{record['data']}, {record['rows']['train']:,} training images; Bernoulli pixels, one hidden layer of "
        f"{record['width']} tanh",
        size=11,
        color=INK,
    )
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
    save_figure(figure, out)
