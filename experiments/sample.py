"""Sample a finished run: ``python -m experiments.sample runs/realnvp_digits --num 64 --out samples.png``."""

import dataclasses
import pathlib
from typing import Annotated, Any

import numpy as np
import tyro

import dgmjax as dgm
from experiments.evaluate import load_run
from experiments.pictures import contexts_to_draw, draw, picture_of_samples
from experiments.runtime import Processes, run_in_first


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of sampling."""

    run: Annotated[pathlib.Path, tyro.conf.Positional]
    """Run directory."""
    num: int = 64
    """Number of samples."""
    temperature: tuple[float, ...] = (1.0,)
    """Factor on the latents, one or, of a multi-scale flow, one a level from the finest to the coarsest; below 1
    samples are more typical and less diverse."""
    seed: int = 0
    """Of the samples."""
    out: pathlib.Path = pathlib.Path("samples.png")
    """A picture (.png) or the numbers (.npy)."""
    runtime: Annotated[Processes, tyro.conf.arg(name="")] = Processes()


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = tyro.cli(Options, args=arguments, prog="python -m experiments.sample")
    run_in_first(_sample, options)


def _sample(options: Options) -> None:
    try:
        if options.num < 1 or not options.temperature or min(options.temperature) < 0:
            raise ValueError(
                f"expected --num >= 1 and --temperature >= 0, got {options.num} and {list(options.temperature)}."
            )
        if options.out.suffix not in (".png", ".npy"):
            raise ValueError(f"--out must end in .png or .npy, got {options.out}.")
        config, model, dataset = load_run(options.run)
        temperature: Any = options.temperature[0]
        if len(options.temperature) > 1:
            temperature = getattr(model, "density", model).multi_scale.per_level(
                options.temperature
            )
        if options.out.suffix == ".npy":
            samples = draw(
                model,
                num=options.num,
                seed=options.seed,
                temperature=temperature,
                context=contexts_to_draw(dataset, options.num) if config.conditional else None,
            )
            np.save(options.out, samples)
        else:
            picture_of_samples(
                options.out,
                model,
                dataset,
                dgm.data.TOYS.get(config.data),
                num=options.num,
                seed=options.seed,
                temperature=temperature,
                conditional=config.conditional,
            )
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        raise SystemExit(f"error: {error}") from error
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
