"""Paths between images: ``python -m experiments.interpolate runs/glow_mnist --kind spherical --out paths.png``.

Through the latents of any model that has some. A flow's paths begin and end at test images, an autoencoder's at their
reconstructions, and those of an adversarial network, which has no encoder, at random latents.
"""

import dataclasses
import functools
import pathlib
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import tyro

import dgmjax as dgm
from dgmjax.analysis.interpolation import PathKind
from dgmjax.analysis.latents import latent_shape
from experiments.run.classes import class_names, has_classes
from experiments.run.finished import load_run
from experiments.run.pictures import as_picture
from experiments.run.runtime import Processes, run_in_first
from experiments.settings.config import Config


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of an interpolation."""

    run: Annotated[pathlib.Path, tyro.conf.Positional]
    """Run directory."""
    pair: tuple[str, ...] = ()
    """The two ends of a path, or of several one after the other: numbers of test images, from 0, or files (.png of 256
    levels, .npy) of an image; default random pairs of test images."""
    rows: int = 6
    """Random pairs, one a row."""
    num: int = 9
    """Images in a row, both ends included."""
    kind: PathKind = "linear"
    """Straight lines between the latents, or great circles."""
    seed: int = 0
    """Seed of the choice of pairs, or of latents."""
    out: pathlib.Path = pathlib.Path("interpolation.png")
    """The picture (.png)."""
    runtime: Annotated[Processes, tyro.conf.arg(name="")] = Processes()


class Ends(NamedTuple):
    """Where paths begin and end: events ``[rows, *event]``, and for a conditional model their contexts."""

    first: np.ndarray
    second: np.ndarray
    context: np.ndarray | None = None
    context2: np.ndarray | None = None
    names: list[str] | None = None


def interpolate(options: Options) -> float | None:
    """Write the picture; returns the largest difference of the ends from the images they stand for, if there are any.

    Raises:
      ValueError: options out of range, data without images, or a model without latents.
    """
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
    check_latents(config, model, encoder=bool(options.pair))
    ends = None
    if has_encoder(model):
        ends = ends_of(config, dataset, options)
        path = functools.partial(dgm.analysis.interpolate, num=options.num, kind=options.kind)
        conditions = {"context": ends.context, "context2": ends.context2}
        found = jax.jit(path)(model, ends.first, ends.second, **conditions)
    else:
        shape = (2, options.rows, *latent_shape(model, where="interpolate"))
        codes = jax.random.normal(jax.random.key(options.seed), shape, np.float32)
        path = functools.partial(dgm.analysis.decode_path, num=options.num, kind=options.kind)
        found = jax.jit(path)(model, *codes)
    images = np.asarray(found)
    names = None if ends is None else ends.names
    # One path a row, whose images come one after the other in a grid without names.
    drawn = images if names else np.swapaxes(images, 0, 1)
    pixels, maximum = as_picture(dataset, drawn)
    columns = None if names else options.num
    dgm.plots.image_grid(pixels, options.out, columns=columns, row_labels=names, maximum=maximum)
    if ends is None:
        return None
    return max(
        float(np.abs(images[side].astype(float) - end.astype(float)).max())
        for side, end in ((0, ends.first), (-1, ends.second))
    )


def has_encoder(model: Any) -> bool:
    """Whether events have latents, and not the other way round only."""
    return hasattr(model, "code")


def check_latents(config: Config, model: Any, *, encoder: bool) -> None:
    """Is there something to interpolate?

    Raises:
      ValueError: the model has no latents, or no encoder where one is needed.
    """
    try:
        latent_shape(model, where="")
    except TypeError:
        raise ValueError(
            f"{config.name} is a {type(model).__name__}, which has no latents; flows, autoencoders and adversarial "
            f"networks have."
        ) from None
    if encoder and not has_encoder(model):
        raise ValueError(
            f"{config.name} is a {type(model).__name__}, which has no encoder: images of yours have no latents."
        )


def ends_of(config: Config, dataset: dgm.data.Dataset, options: Options) -> Ends:
    """The images that the options name, or random test images.

    Raises:
      ValueError: an odd number of images, or one that is not there or has no class.
    """
    context = dataset.contexts("test") if config.conditional else None
    if len(options.pair) % 2:
        raise ValueError(
            f"--pair needs two images a path, got {len(options.pair)}: {' '.join(options.pair)}."
        )
    if not options.pair:
        first, second = choose_pairs(len(dataset.test), context, options.rows, options.seed)
        return _with_conditions(dataset, context, first, second)
    if all(name.isdecimal() for name in options.pair):
        numbers = np.array(options.pair, int)
        if numbers.max() >= len(dataset.test):
            raise ValueError(
                f"--pair: there is no test image {numbers.max()}; the numbers go from 0 to {len(dataset.test) - 1}."
            )
        return _with_conditions(dataset, context, numbers[::2], numbers[1::2])
    if config.conditional:
        raise ValueError(
            f"--pair: {config.name} is conditional, and a file has no class; give numbers of test images."
        )
    images = [
        dataset.test[int(name)] if name.isdecimal() else read_image(pathlib.Path(name), dataset)
        for name in options.pair
    ]
    return Ends(np.stack(images[::2]), np.stack(images[1::2]))


def _with_conditions(
    dataset: dgm.data.Dataset, context: np.ndarray | None, first: np.ndarray, second: np.ndarray
) -> Ends:
    events = dataset.test[first], dataset.test[second]
    if context is None:
        return Ends(*events)
    conditions = (
        context[first],
        None if np.array_equal(context[first], context[second]) else context[second],
    )
    names = None
    if has_classes(dataset):
        labels, known = (dataset.labels or {})["test"], class_names(dataset)
        both = [(known[labels[i]], known[labels[j]]) for i, j in zip(first, second, strict=True)]
        names = [a if a == b else f"{a} to {b}" for a, b in both]
    return Ends(*events, *conditions, names)


def read_image(path: pathlib.Path, dataset: dgm.data.Dataset) -> np.ndarray:
    """An event of a file.

    Raises:
      FileNotFoundError: there is none.
      ValueError: another shape or number of levels than the data have.
    """
    shape: tuple[int, ...] = dataset.image_shape or ()
    if path.suffix == ".npy":
        image = np.load(path, allow_pickle=False)
    else:
        from PIL import Image

        if dataset.num_levels != 256:
            raise ValueError(
                f"--pair: {path} has 256 levels and the data have {dataset.num_levels}; give a .npy file."
            )
        image = np.asarray(Image.open(path).convert("L" if shape[-1] == 1 else "RGB"))
    if image.size != np.prod(shape):
        raise ValueError(f"--pair: {path} has shape {image.shape}, expected {shape}.")
    dgm.data.check_data(
        image.reshape(1, *dataset.event_shape),
        dataset.event_shape,
        num_levels=dataset.num_levels,
        name=str(path),
    )
    return image.reshape(dataset.event_shape).astype(dataset.test.dtype)


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


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = tyro.cli(Options, args=arguments, prog="python -m experiments.interpolate")
    run_in_first(_interpolate, options)


def _interpolate(options: Options) -> None:
    largest = interpolate(options)
    ends = (
        "the ends are random latents"
        if largest is None
        else f"the ends differ from the test images by {largest:.3g} at most"
    )
    print(f"wrote {options.out}; {ends}")
