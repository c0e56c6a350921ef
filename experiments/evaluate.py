"""Evaluate a finished run: ``python -m experiments.evaluate runs/realnvp_digits --importance-samples 64``."""

import dataclasses
import pathlib
from typing import Annotated, Any, Literal

import tyro

import dgmjax as dgm
from experiments.config import Config, config_from_dict
from experiments.data import load_data
from experiments.likelihoods import NOISE_DRAWS, as_record, likelihood_on
from experiments.models import ModelConfig
from experiments.results import write_json
from experiments.runtime import Processes, run_in_first


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of an evaluation."""

    run: Annotated[pathlib.Path, tyro.conf.Positional]
    """Run directory."""
    data: str | None = None
    """Another data set of the same event shape and levels, by name or path; default that of the run."""
    split: Literal["train", "validation", "test"] = "test"
    """Rows to evaluate."""
    importance_samples: int = 1
    """Samples K of the importance-weighted bound; without effect where the likelihood is exact."""
    seed: int = 0
    """Of the noise."""
    runtime: Annotated[Processes, tyro.conf.arg(name="")] = Processes()


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


def load_other_data(config: Config, dataset: dgm.data.Dataset, name: str) -> dgm.data.Dataset:
    """Another data set as the model of a run takes it.

    Args:
      config: of the run.
      dataset: its data.
      name: a name or a file, as in configs.

    Raises:
      TypeError: floats for a model of integers.
      ValueError: unknown data, or another shape of events, number of levels or shape of conditions.
    """
    other = load_data(dataclasses.replace(config, data=name, num_levels=dataset.num_levels))
    for what, expected, got in (
        ("events of shape", dataset.event_shape, other.event_shape),
        ("a number of levels of", dataset.num_levels, other.num_levels),
        ("images of shape", dataset.image_shape, other.image_shape),
    ):
        if expected != got and not (what.startswith("images") and None in (expected, got)):
            raise ValueError(
                f"the model of {config.name} has {what} {expected}, as in {config.data}, but {name} has {got}; choose "
                f"data of the same kind, or train on {name}."
            )
    if config.conditional and other.context_shape != dataset.context_shape:
        raise ValueError(
            f"the model of {config.name} has conditions of shape {dataset.context_shape}, but {name} has "
            f"{other.context_shape}; choose data with the same labels."
        )
    return other


def measure(
    config: Config, model: Any, dataset: dgm.data.Dataset, options: Options
) -> tuple[dict[str, Any], str]:
    """The numbers of a split, and the same in words."""
    labelled = config.conditional or config.model.uses_labels
    x = getattr(dataset, options.split)
    context = dataset.contexts(options.split) if labelled else None
    if type(config.model).measure is not ModelConfig.measure:  # no likelihood
        numbers = config.model.measure(model, x, context, seed=options.seed)
        return numbers, config.model.headline(numbers)
    draws = NOISE_DRAWS if options.importance_samples == 1 else 1
    likelihood = likelihood_on(
        model, x, context, seed=options.seed, num_samples=options.importance_samples, draws=draws
    )
    return as_record(likelihood, draws=draws), str(likelihood)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = tyro.cli(Options, args=arguments, prog="python -m experiments.evaluate")
    run_in_first(_evaluate, options)


def _evaluate(options: Options) -> None:
    try:
        if options.importance_samples < 1:
            raise ValueError(
                f"--importance-samples must be at least 1, got {options.importance_samples}."
            )
        config, model, dataset = load_run(options.run)
        if options.data is not None:
            dataset = load_other_data(config, dataset, options.data)
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        raise SystemExit(f"error: {error}") from error
    numbers, headline = measure(config, model, dataset, options)
    of = "" if options.data is None else f"{dataset.name} "
    print(f"{config.name}, {of}{options.split}: {headline}")
    record = {"data": dataset.name, "split": options.split, "seed": options.seed, **numbers}
    name = f"{options.split}_k{options.importance_samples}_seed{options.seed}.json"
    # Names of prepared sets may hold a slash.
    write_json(
        options.run / f"evaluation_{of.strip().replace('/', '_')}{'_' if of else ''}{name}", record
    )


if __name__ == "__main__":
    main()
