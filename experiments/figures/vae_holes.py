"""Holes of the aggregated posterior: where the prior samples and no code ever was."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgmjax as dgm
from dgmjax.plots.canvas import INK, new_figure, save_figure
from experiments.figures._latent_plane import LatentMap, planar_model
from experiments.figures._vae import BOUND, load_images, negative_elbo
from experiments.figures.registry import register
from experiments.run.results import write_json

PRIORS = ("standard normal", "RealNVP")
_LEVEL = 0.01
_IN_HOLES = "#35c9e0"


@register(quick={"epochs": 16, "draws": 500, "resolution": 40, "rows": 300})
def draw(
    out: pathlib.Path,
    *,
    seed: int = 0,
    epochs: int = 30,
    draws: int = 1_000,
    resolution: int = 160,
    rows: int | None = None,
) -> dict[str, Any]:
    """Write the picture ``out`` (.png) and the numbers beside it (.json); returns the numbers.

    A sample ``z ~ p(z)`` is in a hole where ``q(z) = (1/n) sum_i q(z | x_i)`` is lower than at 99 % of the codes
    ``z ~ q(z)``; the share of them is `dgmjax.objectives.hole_mass`, of the same draws.

    Args:
      out: the picture.
      seed: of the weights, the batches, the noise and the samples.
      epochs: of training, of each of the two; the model with the best validation ELBO is drawn.
      draws: of the prior, and of the codes that set the threshold.
      resolution: cells of the maps along each side.
      rows: of each split, at most.

    Source: Rezende and Viola, 2018, *Taming VAEs*, arXiv:1810.00597, section 2.
    """
    dataset = load_images("digits", binary=False, rows=rows)
    key = jax.random.key(seed)
    densities, samples, inside, thresholds, numbers = {}, {}, {}, {}, {}
    for name in PRIORS:
        model = planar_model(name, dataset, seed=seed, epochs=epochs)
        mixture = dgm.objectives.aggregated_posterior(model, dataset.train)
        densities[name] = mixture.log_prob
        # The keys of `hole_mass`, so that the share is that of the samples drawn.
        code_key, prior_key = jax.random.split(key)
        codes = mixture.sample(seed=code_key, sample_shape=(draws,))
        drawn = model.sample_latents(prior_key, (draws,))
        thresholds[name] = float(jnp.quantile(mixture.log_prob(codes), _LEVEL))
        samples[name] = np.asarray(drawn)
        inside[name] = np.asarray(mixture.log_prob(drawn)) < thresholds[name]
        nats, error = negative_elbo(model, dataset.test, seed, num_samples=16)
        surgery = dgm.objectives.elbo_surgery(model, dataset.train, key)
        numbers[name] = {
            "share_in_holes": float(inside[name].mean()),
            "hole_mass": dgm.objectives.hole_mass(
                model, dataset.train, key, num_samples=draws, level=_LEVEL
            ),
            "threshold_of_log_q": thresholds[name],
            "marginal_kl": surgery.marginal_kl,
            "test_elbo_nats": -nats,
            "test_elbo_standard_error": error,
        }
    radius = np.abs(np.concatenate(list(samples.values()))).max()
    plane = LatentMap(float(1.03 * radius), resolution)
    record = {
        "data": dataset.name,
        "levels": dataset.num_levels,
        "rows": {"train": len(dataset.train), "test": len(dataset.test)},
        "seed": seed,
        "epochs": epochs,
        "draws": draws,
        "level": _LEVEL,
        "bound": BOUND,
        "window": plane.half,
        "priors": numbers,
    }
    maps = {name: plane.log_density(density) for name, density in densities.items()}
    _picture(out, plane, maps, samples, inside, record)
    write_json(out.with_suffix(".json"), record)
    return record


def _picture(
    out: pathlib.Path,
    plane: LatentMap,
    maps: dict[str, np.ndarray],
    samples: dict[str, np.ndarray],
    inside: dict[str, np.ndarray],
    record: dict[str, Any],
) -> None:
    top = max(float(grid.max()) for grid in maps.values())
    figure = new_figure(10.4, 5.4)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    panels = figure.subplots(1, len(PRIORS), sharey=True)
    for axes, name in zip(panels, PRIORS, strict=True):
        numbers, hole = record["priors"][name], inside[name]
        image = plane.show(
            axes,
            maps[name],
            f"{name} prior: {100 * numbers['share_in_holes']:.1f} % of its samples in holes\nmarginal KL "
            f"{numbers['marginal_kl']:.2f}, test ELBO ${numbers['test_elbo_nats']:.2f}$ nats",
            cmap="magma",
            vmin=-12,
            vmax=top,
        )
        axes.contour(
            maps[name],
            levels=[numbers["threshold_of_log_q"]],
            extent=(-plane.half, plane.half) * 2,
            colors=_IN_HOLES,
            linewidths=0.9,
            linestyles="solid",
        )
        axes.scatter(
            *samples[name][~hole].T,
            s=7,
            c="white",
            edgecolors=INK,
            linewidths=0.4,
            label="elsewhere",
        )
        axes.scatter(
            *samples[name][hole].T, s=14, c=_IN_HOLES, marker="x", linewidths=1, label="in a hole"
        )
    panels[0].set_ylabel("$z_2$", color=INK)
    bar = figure.colorbar(image, ax=panels, extend="min", shrink=0.85, pad=0.02)
    bar.set_label(r"$\log q(z)$ of the aggregated posterior [nats]", size=9, color=INK)
    bar.ax.tick_params(labelsize=8, color=INK, labelcolor=INK)
    bar.outline.set_visible(False)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
    figure.suptitle(
        f"{record['data']}, {record['levels']} levels, two latents: {record['draws']:,} samples of the prior; in a "
        f"hole $q(z)$ is lower than at 99 % of the codes",
        size=11,
        color=INK,
    )
    save_figure(figure, out)
