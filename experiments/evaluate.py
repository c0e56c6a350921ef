"""Evaluate a finished run: ``python -m experiments.evaluate runs/realnvp_digits --importance-samples 64``."""

import csv
import dataclasses
import pathlib
from typing import Annotated, Any, Literal

import numpy as np
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
    """Seed of the noise."""
    rows: pathlib.Path | None = None
    """A file for the log-likelihood of each row of the split, in their order, in nats: .npy, or .csv with the label of
    the bound in its header; what they are goes beside them (.json)."""
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


def load_other_data(
    config: Config, dataset: dgm.data.Dataset, name: str, *, labels: bool = True
) -> dgm.data.Dataset:
    """Another data set as the model of a run takes it.

    Args:
      config: of the run.
      dataset: its data.
      name: a name or a file, as in configs.
      labels: whether a conditional model needs the labels of the data.

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
    if labels and config.conditional and other.context_shape != dataset.context_shape:
        raise ValueError(
            f"the model of {config.name} has conditions of shape {dataset.context_shape}, but {name} has "
            f"{other.context_shape}; choose data with the same labels."
        )
    return other


def measure(
    config: Config, model: Any, dataset: dgm.data.Dataset, options: Options
) -> tuple[dict[str, Any], str, dgm.Likelihood | None]:
    """The numbers of a split, the same in words, and the likelihoods of its rows, if the model has any."""
    labelled = config.conditional or config.model.uses_labels
    x = getattr(dataset, options.split)
    context = dataset.contexts(options.split) if labelled else None
    if type(config.model).measure is not ModelConfig.measure:  # no likelihood
        numbers = config.model.measure(model, x, context, seed=options.seed)
        return numbers, config.model.headline(numbers), None
    draws = NOISE_DRAWS if options.importance_samples == 1 else 1
    likelihood = likelihood_on(
        model, x, context, seed=options.seed, num_samples=options.importance_samples, draws=draws
    )
    return as_record(likelihood, draws=draws), str(likelihood), likelihood


def check_rows(config: Config, path: pathlib.Path | None) -> None:
    """Before anything is computed.

    Raises:
      ValueError: another format, or a model without a likelihood.
    """
    if path is None:
        return
    if path.suffix not in (".npy", ".csv"):
        raise ValueError(f"--rows must end in .npy or .csv, got {path}.")
    if type(config.model).measure is not ModelConfig.measure:
        raise ValueError(
            f"--rows: {config.name} has no likelihood, so its rows have none; leave --rows out."
        )


def write_rows(path: pathlib.Path, likelihood: dgm.Likelihood, record: dict[str, Any]) -> None:
    """The log-likelihoods of all rows, and beside them what they are."""
    values = np.asarray(likelihood.log_prob)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["row", f"log-likelihood [nats], {likelihood.bound}"])
            writer.writerows(enumerate(values.tolist()))
    write_json(path.with_suffix(".json"), {"unit": "nats", **record})


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = tyro.cli(Options, args=arguments, prog="python -m experiments.evaluate")
    run_in_first(_evaluate, options)


def _evaluate(options: Options) -> None:
    if options.importance_samples < 1:
        raise ValueError(
            f"--importance-samples must be at least 1, got {options.importance_samples}."
        )
    config, model, dataset = load_run(options.run)
    check_rows(config, options.rows)
    if options.data is not None:
        dataset = load_other_data(config, dataset, options.data)
    numbers, headline, likelihood = measure(config, model, dataset, options)
    of = "" if options.data is None else f"{dataset.name} "
    print(f"{config.name}, {of}{options.split}: {headline}")
    record = {"data": dataset.name, "split": options.split, "seed": options.seed, **numbers}
    name = f"{options.split}_k{options.importance_samples}_seed{options.seed}.json"
    # Names of prepared sets may hold a slash.
    write_json(
        options.run / f"evaluation_{of.strip().replace('/', '_')}{'_' if of else ''}{name}", record
    )
    if options.rows is not None and likelihood is not None:
        write_rows(options.rows, likelihood, record)
        print(f"wrote {options.rows} and {options.rows.with_suffix('.json')}")


if __name__ == "__main__":
    main()
