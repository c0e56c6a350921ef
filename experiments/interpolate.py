"""Paths between images: ``python -m experiments.interpolate runs/glow_mnist --kind spherical --out paths.png``."""

import dataclasses
import functools
import pathlib
from typing import Annotated

import jax
import numpy as np
import tyro

import dgmjax as dgm
from dgmjax.analysis.interpolation import Kind
from experiments.evaluate import load_run
from experiments.runtime import Processes, run_in_first


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of an interpolation."""

    run: Annotated[pathlib.Path, tyro.conf.Positional]
    """Run directory."""
    rows: int = 6
    """Pairs of test images, one a row."""
    num: int = 9
    """Images in a row, both ends included."""
    kind: Kind = "linear"
    """Straight lines between the latents, or great circles."""
    seed: int = 0
    """Of the choice of pairs."""
    out: pathlib.Path = pathlib.Path("interpolation.png")
    """The picture (.png)."""
    runtime: Annotated[Processes, tyro.conf.arg(name="")] = Processes()


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = tyro.cli(Options, args=arguments, prog="python -m experiments.interpolate")
    run_in_first(_interpolate, options)


def _interpolate(options: Options) -> None:
    try:
        if options.rows < 1 or options.num < 2:
            raise ValueError(
                f"expected --rows >= 1 and --num >= 2 (both ends), got {options.rows} and {options.num}."
            )
        if options.out.suffix != ".png":
            raise ValueError(f"--out must end in .png, got {options.out}.")
        config, model, dataset = load_run(options.run)
        if dataset.image_shape is None:
            raise ValueError(
                f"{config.data} holds no images, and other events of shape {dataset.event_shape} have no picture."
            )
        context = dataset.contexts("test") if config.conditional else None
        first, second = choose_pairs(len(dataset.test), context, options.rows, options.seed)
        interpolate = jax.jit(
            functools.partial(dgm.analysis.interpolate, num=options.num, kind=options.kind)
        )
        ends = dataset.test[first], dataset.test[second]
        shared = None if context is None else context[first]
        images = np.asarray(interpolate(model, *ends, context=shared))
        by_row = np.swapaxes(images, 0, 1).reshape(-1, *dataset.image_shape)
        maximum = (dataset.num_levels or 256) - 1
        dgm.plots.image_grid(by_row, options.out, columns=options.num, maximum=maximum)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        raise SystemExit(f"error: {error}") from error
    largest = max(
        float(np.abs(images[side].astype(float) - ends[side].astype(float)).max())
        for side in (0, -1)
    )
    print(f"wrote {options.out}; the ends differ from the test images by {largest:.3g} at most")


def choose_pairs(
    num: int, context: np.ndarray | None, rows: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of ``rows`` pairs, no image twice; with contexts, the two of a pair share theirs.

    Raises:
      ValueError: there are not enough images.
    """
    order = np.random.default_rng(seed).permutation(num)
    if context is None:
        waiting = {None: order}
    else:
        _, group = np.unique(context, axis=0, return_inverse=True)
        group = group.reshape(-1)  # numpy 2.0 gives a column
        waiting = {name: order[group[order] == name] for name in dict.fromkeys(group[order])}
    pairs = [
        (part[i], part[i + 1])
        # In turn from every group, so that the first rows show different ones.
        for i in range(0, 2 * rows, 2)
        for part in waiting.values()
        if i + 1 < len(part)
    ]
    if len(pairs) < rows:
        kind = "test images" if context is None else "test images of one condition"
        raise ValueError(f"--rows {rows} needs as many pairs of {kind}; there are {len(pairs)}.")
    first, second = np.array(pairs[:rows]).T
    return first, second


if __name__ == "__main__":
    main()
