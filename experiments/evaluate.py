"""Evaluate a finished run: ``python -m experiments.evaluate runs/realnvp_digits --importance-samples 64``."""

import dataclasses
import pathlib
from typing import Annotated, Any, Literal

import tyro

import dgmjax as dgm
from experiments.config import Config, config_from_dict
from experiments.data import load_data
from experiments.results import NOISE_DRAWS, as_record, likelihood_on, write_json


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of an evaluation."""

    run: Annotated[pathlib.Path, tyro.conf.Positional]
    """Run directory."""
    split: Literal["train", "validation", "test"] = "test"
    """Rows to evaluate."""
    importance_samples: int = 1
    """Samples K of the importance-weighted bound; without effect where the likelihood is exact."""
    seed: int = 0
    """Of the noise."""


def load_run(run: pathlib.Path) -> tuple[Config, Any, dgm.data.Dataset]:
    """Config, trained model and data of a finished run.

    Raises:
      FileNotFoundError: no run, or not finished.
    """
    config = config_from_dict(dgm.training.read_settings(run))
    if not (run / "model").exists():
        raise FileNotFoundError(
            f"{run} has no trained model yet; finish it with: python -m experiments.train {config.name} --workdir "
            f"{run}"
        )
    return config, dgm.load(run / "model"), load_data(config)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = tyro.cli(Options, args=arguments, prog="python -m experiments.evaluate")
    try:
        if options.importance_samples < 1:
            raise ValueError(
                f"--importance-samples must be at least 1, got {options.importance_samples}."
            )
        config, model, dataset = load_run(options.run)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        raise SystemExit(f"error: {error}") from error
    draws = NOISE_DRAWS if options.importance_samples == 1 else 1
    likelihood = likelihood_on(
        model,
        getattr(dataset, options.split),
        dataset.contexts(options.split) if config.conditional else None,
        seed=options.seed,
        num_samples=options.importance_samples,
        draws=draws,
    )
    print(f"{config.name}, {options.split}: {likelihood}")
    record = {"split": options.split, "seed": options.seed, **as_record(likelihood, draws=draws)}
    name = f"evaluation_{options.split}_k{options.importance_samples}_seed{options.seed}.json"
    write_json(options.run / name, record)


if __name__ == "__main__":
    main()
