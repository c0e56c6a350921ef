"""Evaluate a finished run: ``python -m experiments.evaluate runs/realnvp_digits --importance-samples 64``."""

import csv
import dataclasses
import pathlib
from typing import Annotated, Any, Literal

import numpy as np
import tyro

import dgmjax as dgm
from experiments.run.finished import load_other_data, load_run
from experiments.run.results import write_json
from experiments.run.runtime import Processes, run_in_first
from experiments.settings.config import Config
from experiments.settings.measured_likelihood import NOISE_DRAWS, as_record, likelihood_on
from experiments.settings.model import ModelConfig


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


def measure(
    config: Config, model: Any, dataset: dgm.data.Dataset, options: Options
) -> tuple[dict[str, Any], str, dgm.LogLikelihood | None]:
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


def write_rows(path: pathlib.Path, likelihood: dgm.LogLikelihood, record: dict[str, Any]) -> None:
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
