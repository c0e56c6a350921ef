"""What inference loses: the ELBO of an encoder, the best of its family for each image, and log p(x)."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgmjax as dgm
from dgmjax.plots.canvas import INK, new_figure, save_figure
from experiments.figures._axes import COLOURS, dress
from experiments.figures._vae import image_vae, load_images, train
from experiments.figures.registry import register
from experiments.run.results import write_json

POSTERIORS = {"Gaussian": "gaussian", "full covariance": "full_covariance", "planar": "planar"}
LATENTS = 4


@register(
    quick={
        "epochs": 8,
        "width": 64,
        "rows": 400,
        "posteriors": ("Gaussian", "planar"),
        "examples": 10,
        "steps": 100,
        "draws": 200,
        "temperatures": 50,
    }
)
def draw(
    out: pathlib.Path,
    *,
    seed: int = 0,
    epochs: int = 40,
    width: int = 128,
    rows: int | None = None,
    posteriors: tuple[str, ...] = tuple(POSTERIORS),
    examples: int = 50,
    steps: int = 500,
    draws: int = 1000,
    temperatures: int = 300,
) -> dict[str, Any]:
    """Write the picture ``out`` (.png) and the numbers beside it (.json); returns the numbers.

    ``log p(x) = ELBO[q] + (ELBO[q*] - ELBO[q]) + (log p(x) - ELBO[q*])``, with ``q`` of the encoder and ``q*`` the best
    of its family for this ``x``: amortisation gap and approximation gap. Means over test images of the binarised
    digits; ``log p(x)`` is the larger of annealed importance sampling and the importance-weighted bound with ``q*``.

    Args:
      out: the picture.
      seed: of the weights, the batches and the noise.
      epochs: of training.
      width: hidden units.
      rows: of each split, at most.
      posteriors: names of families, one model each.
      examples: test images.
      steps: of the local optimisation.
      draws: samples of the bounds.
      temperatures: of annealed importance sampling.

    Source: Cremer, Li and Duvenaud, 2018, arXiv:1801.03558, figure 1.
    """
    dataset = load_images("digits", binary=True, rows=rows)
    x = jnp.asarray(dataset.test[:examples])
    found = {}
    for name in posteriors:
        options = {"posterior_depth": 4, "posterior_width": 32, "context_size": 32}
        model = image_vae(
            dataset, LATENTS, width=width, seed=seed, posterior=POSTERIORS[name], **options
        )
        model = train(model, dataset, seed=seed, epochs=epochs, ema_decay=0.99)
        annealed = dgm.analysis.annealed_importance(
            model, x, jax.random.key(seed), num_temperatures=temperatures, num_leapfrog=5
        )
        gaps = dgm.analysis.inference_gaps(
            model,
            x,
            jax.random.key(seed + 1),
            steps=steps,
            num_samples=draws,
            batch_size=min(draws, 50),
            log_prob=annealed.log_prob,
        )
        error = np.sqrt((np.asarray(gaps.standard_errors["amortization_gap"]) ** 2).sum())
        found[name] = {
            "amortized_elbo": float(gaps.amortized_elbo.mean()),
            "local_elbo": float(gaps.local_elbo.mean()),
            "log_prob": float(gaps.log_prob.mean()),
            "amortization_gap": float(gaps.amortization_gap.mean()),
            "approximation_gap": float(gaps.approximation_gap.mean()),
            "amortization_gap_standard_error": float(error / len(x)),
        }
    record = {
        "data": dataset.name,
        "seed": seed,
        "latents": LATENTS,
        "epochs": epochs,
        "examples": len(x),
        "unit": "nats an image",
        "log_prob": "lower bound: annealed importance sampling, or importance-weighted with q*",
        "posteriors": found,
    }
    _picture(out, record)
    write_json(out.with_suffix(".json"), record)
    return record


def _picture(out: pathlib.Path, record: dict[str, Any]) -> None:
    found = record["posteriors"]
    figure = new_figure(8.0, 1.6 + 0.7 * len(found))
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.06)
    axes = figure.subplots()
    places = np.arange(len(found))[::-1]
    left = np.zeros(len(found))
    for key, label, colour in (
        ("amortization_gap", "of the encoder (amortisation gap)", COLOURS[0]),
        ("approximation_gap", "of the family (approximation gap)", COLOURS[1]),
    ):
        values = np.array([one[key] for one in found.values()])
        axes.barh(places, values, left=left, height=0.5, color=colour, label=label)
        left = left + values
    for place, end, one in zip(places, left, found.values(), strict=True):
        axes.annotate(
            f"ELBO {one['amortized_elbo']:.2f}, log p {one['log_prob']:.2f}",
            (end, place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            size=9,
        )
    axes.set_yticks(places, list(found))
    axes.set_xlim(0, 1.55 * float(left.max()))
    dress(
        axes,
        xlabel="what inference loses [nats an image]",
        ylabel=None,
        title=f"{record['data']}, {record['latents']} latents, {record['examples']} test images",
    )
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9, labelcolor=INK)
    save_figure(figure, out)
