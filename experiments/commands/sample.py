"""Sample a finished run: ``python -m experiments.sample runs/realnvp_digits --num 64 --out samples.png``."""

import dataclasses
import pathlib
from typing import Annotated, Any

import numpy as np
import tyro

import dgmjax as dgm
from experiments.run.classes import chosen_classes, conditions_to_draw
from experiments.run.finished import load_run
from experiments.run.pictures import draw, picture_of_samples
from experiments.run.runtime import Processes, run_in_first


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of sampling."""

    run: Annotated[pathlib.Path, tyro.conf.Positional]
    """Run directory."""
    num: int | None = None
    """Number of samples in all, whatever the number of classes; default 64, in a picture of the plane 5,000."""
    classes: tuple[str, ...] = ()
    """Classes of a conditional run, by name or number, which the samples have in turn; default all."""
    temperature: tuple[float, ...] = (1.0,)
    """Factor on the latents, one or, of a multi-scale flow, one a level from the finest to the coarsest; below 1
    samples are more typical and less diverse."""
    seed: int = 0
    """Seed of the samples."""
    out: pathlib.Path = pathlib.Path("samples.png")
    """A picture (.png), whose rows have the names of their classes, or the numbers (.npy); labels go beside these, to
    _labels.npy."""
    runtime: Annotated[Processes, tyro.conf.arg(name="")] = Processes()


def sample(options: Options) -> list[pathlib.Path]:
    """Draw, and write what was asked for; returns the files.

    Raises:
      ValueError: options out of range, or samples that the model does not have.
    """
    if (options.num is not None and options.num < 1) or not options.temperature:
        raise ValueError(f"expected --num >= 1 and a --temperature, got {options.num}.")
    if min(options.temperature) < 0:
        raise ValueError(f"expected --temperature >= 0, got {list(options.temperature)}.")
    if options.out.suffix not in (".png", ".npy"):
        raise ValueError(f"--out must end in .png or .npy, got {options.out}.")
    config, model, dataset = load_run(options.run)
    if not hasattr(model, "sample"):
        raise ValueError(f"{config.name} is a {type(model).__name__}, which has no samples.")
    classes = chosen_classes(config, dataset, options.classes, "--classes")
    temperature: Any = options.temperature[0]
    if len(options.temperature) > 1:
        temperature = getattr(model, "density", model).multi_scale.per_level(options.temperature)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.out.suffix == ".png":
        picture_of_samples(
            options.out,
            model,
            dataset,
            dgm.data.TOYS.get(config.data),
            num=options.num,
            seed=options.seed,
            temperature=temperature,
            conditional=config.conditional,
            classes=classes,
        )
        return [options.out]
    num = options.num or 64
    conditions = conditions_to_draw(dataset, num, classes) if config.conditional else None
    context = None if conditions is None else conditions.context
    samples = draw(model, num=num, seed=options.seed, temperature=temperature, context=context)
    np.save(options.out, samples)
    if conditions is None:
        return [options.out]
    labels = options.out.with_stem(f"{options.out.stem}_labels")
    np.save(labels, conditions.labels)
    return [options.out, labels]


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = tyro.cli(Options, args=arguments, prog="python -m experiments.sample")
    run_in_first(_sample, options)


def _sample(options: Options) -> None:
    written = sample(options)
    print(f"wrote {' and '.join(map(str, written))}")
