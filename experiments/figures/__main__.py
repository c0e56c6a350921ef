"""Figures of dequantization, of VAEs and of GANs: ``python -m experiments.figures NAME [--out DIR-or-FILE.png]``.

``--list`` names them. Each writes a picture and, beside it, the numbers it shows (.json).
"""

import dataclasses
import inspect
import pathlib
from collections.abc import Callable
from typing import Annotated, Any

import tyro

from experiments.figures import (
    autoencoder,
    degenerate,
    gan_curves,
    gan_interpolation,
    gan_samples,
    gap,
    hypercubes,
    iaf_toy,
    inference_gaps,
    pixel_histogram,
    reversible_memory,
    vae_curves,
    vae_holes,
    vae_manifold,
    vae_priors,
    vae_reconstructions,
    vae_samples,
)
from experiments.run.runtime import refuse_tasks

FIGURES: dict[str, Callable[..., dict[str, Any]]] = {
    "autoencoder": autoencoder.draw,
    "degenerate": degenerate.draw,
    "gan_curves": gan_curves.draw,
    "gan_interpolation": gan_interpolation.draw,
    "gan_samples": gan_samples.draw,
    "gap": gap.draw,
    "hypercubes": hypercubes.draw,
    "iaf_toy": iaf_toy.draw,
    "inference_gaps": inference_gaps.draw,
    "pixel_histogram": pixel_histogram.draw,
    "reversible_memory": reversible_memory.draw,
    "vae_curves": vae_curves.draw,
    "vae_holes": vae_holes.draw,
    "vae_manifold": vae_manifold.draw,
    "vae_priors": vae_priors.draw,
    "vae_reconstructions": vae_reconstructions.draw,
    "vae_samples": vae_samples.draw,
}
QUICK: dict[str, dict[str, Any]] = {
    "autoencoder": {"epochs": 8, "width": 128, "steps": 200, "draws": 200, "rows": 400},
    "degenerate": {"rows": 500, "steps": 200},
    "gan_curves": {"epochs": 60, "width": 32, "rows": 500},
    "gan_interpolation": {"epochs": 60, "width": 32, "rows": 500},
    "gan_samples": {"epochs": 60, "width": 32, "rows": 500},
    "gap": {"num_samples": (1, 256), "draws": 100, "steps": 200},
    "hypercubes": {"rows": 500, "steps": 200, "draws": 500},
    "iaf_toy": {"steps": 600, "seeds": 1, "draws": 200},
    "inference_gaps": {
        "epochs": 8,
        "width": 64,
        "rows": 400,
        "posteriors": ("Gaussian", "planar"),
        "examples": 10,
        "steps": 100,
        "draws": 200,
        "temperatures": 50,
    },
    "pixel_histogram": {"num": 100},
    "reversible_memory": {"blocks": (4, 8), "side": 8, "batch_size": 16, "filters": 8},
    "vae_curves": {"epochs": 8, "width": 64, "rows": 300},
    "vae_holes": {"epochs": 8, "draws": 500, "resolution": 40, "rows": 300},
    "vae_manifold": {"epochs": 8, "width": 100, "side": 6, "rows": 400},
    "vae_priors": {
        "priors": ("standard normal", "VampPrior"),
        "epochs": 8,
        "resolution": 40,
        "rows": 300,
    },
    "vae_reconstructions": {"epochs": 16, "width": 128, "rows": 400},
    "vae_samples": {"epochs": 8, "width": 100, "rows": 400},
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to draw; options that are left out have the figure's defaults."""

    name: Annotated[str | None, tyro.conf.Positional] = None
    """Figure, see --list."""
    out: pathlib.Path = pathlib.Path("figures")
    """The picture (.png), or a folder for it."""
    list: bool = False
    """Name the figures and end."""
    quick: bool = False
    """Small sizes, to try a figure in seconds."""
    seed: int = 0
    """Of data, weights, batches and noise."""
    steps: int | None = None
    """Optimizer steps, of the figures that count them."""
    epochs: int | None = None
    """Passes over the data, of the figures that count them (vae_*)."""
    data: str | None = None
    """Of pixel_histogram a data set of integers, of vae_* (not holes, priors) grey images; default digits."""
    num_levels: int | None = None
    """Of pixel_histogram: levels of a file of integers."""
    log: bool = False
    """Of pixel_histogram: a logarithmic vertical axis."""


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = tyro.cli(Options, args=arguments, prog="python -m experiments.figures")
    if options.list:
        for name, draw in FIGURES.items():
            print(f"{name:20}{(inspect.getmodule(draw).__doc__ or '').splitlines()[0]}")
        return
    try:
        refuse_tasks("experiments.figures")
        if options.name not in FIGURES:
            raise ValueError(f"expected a figure, one of {', '.join(FIGURES)}, got {options.name}.")
        out = options.out if options.out.suffix else options.out / f"{options.name}.png"
        if out.suffix != ".png":
            raise ValueError(f"--out must be a folder or end in .png, got {options.out}.")
        FIGURES[options.name](out, seed=options.seed, **_keywords(options))
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise SystemExit(f"error: {error}") from error
    print(f"wrote {out} and {out.with_suffix('.json')}")


def _keywords(options: Options) -> dict[str, Any]:
    """The options that were given, over the small sizes if asked for.

    Raises:
      ValueError: an option that the figure has not, or fewer than one step or epoch.
    """
    left_out = {field.name: field.default for field in dataclasses.fields(Options)}
    given = {
        name: getattr(options, name)
        for name in ("steps", "epochs", "data", "num_levels", "log")
        if getattr(options, name) is not left_out[name]
    }
    known = inspect.signature(FIGURES[str(options.name)]).parameters
    for name in given:
        if name not in known:
            raise ValueError(f"--{name.replace('_', '-')} is no option of {options.name}.")
    for name in ("steps", "epochs"):
        if given.get(name, 1) < 1:
            raise ValueError(f"expected --{name} >= 1, got {given[name]}.")
    return (QUICK[str(options.name)] if options.quick else {}) | given


if __name__ == "__main__":
    main()
