"""Figures of dequantization, of VAEs and of GANs: ``python -m experiments.figures NAME [--out DIR-or-FILE.png]``.

``--list`` names them. Each writes a picture and, beside it, the numbers it shows (.json).
"""

import dataclasses
import pathlib
from typing import Annotated, Any

import tyro

from experiments.figures.registry import Figure, figures
from experiments.run.runtime import refuse_tasks


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
    known = figures()
    if options.list:
        for one in known.values():
            print(f"{one.name:20}{one.help}")
        return
    try:
        refuse_tasks("experiments.figures")
        if options.name not in known:
            raise ValueError(f"expected a figure, one of {', '.join(known)}, got {options.name}.")
        out = options.out if options.out.suffix else options.out / f"{options.name}.png"
        if out.suffix != ".png":
            raise ValueError(f"--out must be a folder or end in .png, got {options.out}.")
        one = known[options.name]
        one.draw(out, seed=options.seed, **_keywords(one, options))
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise SystemExit(f"error: {error}") from error
    print(f"wrote {out} and {out.with_suffix('.json')}")


def _keywords(one: Figure, options: Options) -> dict[str, Any]:
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
    for name in given:
        if name not in one.options:
            raise ValueError(f"--{name.replace('_', '-')} is no option of {one.name}.")
    for name in ("steps", "epochs"):
        if given.get(name, 1) < 1:
            raise ValueError(f"expected --{name} >= 1, got {given[name]}.")
    return one.sizes(quick=options.quick) | given


if __name__ == "__main__":
    main()
