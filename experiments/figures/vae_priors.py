"""Five priors of a VAE in a latent plane, with the codes of the training data: who fits whom?"""

import pathlib
from typing import Any

import jax
import numpy as np

import dgmjax as dgm
from dgmjax.plots.canvas import INK, new_figure, save_figure
from experiments.figures._latent_plane import (
    COMPONENTS,
    LAYERS,
    WIDTH,
    LatentMap,
    planar_model,
)
from experiments.figures._vae import BOUND, load_images, negative_elbo
from experiments.figures.registry import register
from experiments.run.results import write_json

PRIORS = ("standard normal", "mixture of Gaussians", "VampPrior", "RealNVP", "MAF")
# Matplotlib's "tab10" without its grey, which the maps are made of.
_DIGITS = (
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd"),
    *("#8c564b", "#e377c2", "#111111", "#bcbd22", "#17becf"),
)
_LOWEST = -9.0  # nats: darker and lighter than this look alike


@register(
    quick={
        "priors": ("standard normal", "VampPrior"),
        "epochs": 8,
        "resolution": 40,
        "rows": 300,
    }
)
def draw(
    out: pathlib.Path,
    *,
    seed: int = 0,
    priors: tuple[str, ...] = PRIORS,
    epochs: int = 30,
    resolution: int = 160,
    rows: int | None = None,
) -> dict[str, Any]:
    """Write the picture ``out`` (.png) and the numbers beside it (.json); returns the numbers.

    One VAE a prior, everything else equal, is trained on the digits with pixels of 17 levels. The codes are one sample
    of ``q(z | x)`` for each training image.

    Args:
      out: the picture.
      seed: of the weights, the batches, the noise and the codes.
      priors: which of ``PRIORS``, in their order.
      epochs: of training, of each; the model with the best validation ELBO is drawn.
      resolution: cells of the maps along each side.
      rows: of each split, at most.

    Source: Tomczak and Welling, 2018, *VAE with a VampPrior*, arXiv:1705.07120; the panels are those of Tomczak, 2022,
      *Deep generative modeling*, section 4.4.
    """
    dataset = load_images("digits", binary=False, rows=rows)
    labels = (dataset.labels or {})["train"]
    key = jax.random.key(seed)
    codes, densities, numbers = {}, {}, {}
    for name in priors:
        model = planar_model(name, dataset, seed=seed, epochs=epochs)
        features = dgm.objectives.encode_all(model, dataset.train)
        codes[name] = np.asarray(model.posterior.sample(features, seed=key))
        densities[name] = model.prior_distribution()
        nats, error = negative_elbo(model, dataset.test, seed, num_samples=16)
        surgery = dgm.objectives.elbo_surgery(model, dataset.train, key)
        numbers[name] = {
            "test_elbo_nats": -nats,
            "test_elbo_standard_error": error,
            "train_elbo_nats": surgery.elbo,
            "mutual_information": surgery.mutual_information,
            "marginal_kl": surgery.marginal_kl,
            "marginal_kl_standard_error": surgery.standard_errors["marginal_kl"],
            "hole_mass": dgm.objectives.hole_mass(model, dataset.train, key),
        }
    radius = np.quantile(np.abs(np.concatenate(list(codes.values()))), 0.999)
    plane = LatentMap(float(1.12 * radius), resolution)
    maps = {name: plane.log_density(density.log_prob) for name, density in densities.items()}
    record = {
        "data": dataset.name,
        "levels": dataset.num_levels,
        "rows": {split: len(getattr(dataset, split)) for split in ("train", "validation", "test")},
        "seed": seed,
        "epochs": epochs,
        "width": WIDTH,
        "components": COMPONENTS,
        "layers_of_flows": LAYERS,
        "bound": BOUND,
        "log_n": float(np.log(len(dataset.train))),
        "window": plane.half,
        "mass_of_the_window": {
            name: float(np.exp(grid).mean() * (2 * plane.half) ** 2) for name, grid in maps.items()
        },
        "mean_log_density_at_codes": {
            name: float(np.mean(densities[name].log_prob(jax.numpy.asarray(codes[name]))))
            for name in priors
        },
        "priors": numbers,
    }
    _picture(out, plane, maps, codes, labels, record)
    write_json(out.with_suffix(".json"), record)
    return record


def _picture(
    out: pathlib.Path,
    plane: LatentMap,
    maps: dict[str, np.ndarray],
    codes: dict[str, np.ndarray],
    labels: np.ndarray,
    record: dict[str, Any],
) -> None:
    from matplotlib.colors import ListedColormap

    top = float(np.quantile(np.stack(list(maps.values())), 0.998))
    levels = np.arange(np.floor(_LOWEST), top, 1.5)
    figure = new_figure(13.4, 3.9)
    figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.06)
    panels = figure.subplots(1, len(maps), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, maps, strict=True):
        numbers = record["priors"][name]
        image = plane.show(
            axes,
            maps[name],
            f"{name}\ntest ELBO ${numbers['test_elbo_nats']:.2f}$\nmarginal KL {numbers['marginal_kl']:.2f}, "
            f"holes {100 * numbers['hole_mass']:.1f} %",
            cmap="Greys",
            vmin=_LOWEST,
            vmax=top + 1,  # black would hide the codes
        )
        axes.contour(
            maps[name],
            levels=levels,
            extent=(-plane.half, plane.half) * 2,
            colors="#8a8a8a",
            linewidths=0.5,
            linestyles="solid",
        )
        points = axes.scatter(
            *codes[name].T,
            c=labels,
            cmap=ListedColormap(_DIGITS),
            vmin=-0.5,
            vmax=9.5,
            s=6,
            linewidths=0,
        )
    panels[0].set_ylabel("$z_2$", color=INK)
    for artist, label, ticks in (
        (points, "digit", range(10)),
        (image, r"$\log p(z)$ [nats]", None),
    ):
        bar = figure.colorbar(artist, ax=panels, shrink=0.8, pad=0.01, aspect=25, ticks=ticks)
        bar.set_label(label, size=9, color=INK)
        bar.ax.tick_params(labelsize=8, color=INK, labelcolor=INK, length=0 if ticks else 3)
        bar.outline.set_visible(False)
    figure.suptitle(
        f"{record['data']}, {record['levels']} levels: codes of {record['rows']['train']:,} training images over the "
        f"prior they were trained with; nats",
        size=11,
        color=INK,
    )
    save_figure(figure, out)
