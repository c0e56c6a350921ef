"""The 2-D suite: ``python -m experiments.plane [--systems maf iaf] [--toys spirals] [--workdir runs/plane]``.

Trains every config of ``experiments/configs/plane.py`` that has no result yet, then writes the table of test numbers
(``plane.md``) and the table of learned densities (``plane.png``) of all that have one.
"""

import dataclasses
import pathlib
from typing import Annotated, Any

import jax
import tyro

import dgmjax as dgm
from experiments.commands.train import Options as TrainOptions
from experiments.commands.train import train
from experiments.configs import load_config
from experiments.configs.plane import MODELS
from experiments.run.results import finished_result
from experiments.run.runtime import Runtime, run_in_all

SYSTEMS = tuple(model.system for model in MODELS)
TOYS = tuple(dgm.data.TOYS)


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of the runs to train."""

    systems: tuple[str, ...] = SYSTEMS
    """Systems to train."""
    toys: tuple[str, ...] = TOYS
    """Data sets to train on."""
    workdir: pathlib.Path = pathlib.Path("runs/plane")
    """Folder of the runs, one a config."""
    steps: int | None = None
    """Optimizer steps, instead of those of the configs."""
    runtime: Annotated[Runtime, tyro.conf.arg(name="")] = Runtime()


def run_suite(options: Options) -> None:
    """Train what is missing and write both tables."""
    for toy in options.toys:
        for system in options.systems:
            config = load_config(f"{system}_{toy}")
            if options.steps is not None:
                training = dataclasses.replace(config.training, steps=options.steps)
                config = dataclasses.replace(config, training=training)
            training_options = TrainOptions(config, runtime=options.runtime)
            train(config, training_options, workdir=options.workdir / config.name)
            jax.clear_caches()  # hundreds of programs otherwise
    dgm.training.agree(lambda: _write(options))


def _write(options: Options) -> None:
    results = {
        (system, toy): result
        for system in SYSTEMS
        for toy in TOYS
        if (result := finished_result(options.workdir / f"{system}_{toy}")) is not None
    }
    (options.workdir / "plane.md").write_text(_table(results))
    _picture(options.workdir, results)
    print((options.workdir / "plane.md").read_text())


def _table(results: dict[tuple[str, str], dict[str, Any]]) -> str:
    toys = [toy for toy in TOYS if any(toy == of for _, of in results)]
    truth = {
        toy: next(
            r["test"]["nats_of_the_true_density"] for (_, of), r in results.items() if of == toy
        )
        for toy in toys
    }
    lines = [
        "Test negative log-likelihood in nats, exact; the first row is the density the data came from.",
        "",
        "| system | " + " | ".join(toys) + " |",
        "|---|" + "---|" * len(toys),
        "| true density | " + " | ".join(f"{truth[toy]:.2f}" for toy in toys) + " |",
    ]
    for system in SYSTEMS:
        cells = [
            f"{results[system, toy]['test']['nats']:.2f}" if (system, toy) in results else ""
            for toy in toys
        ]
        if any(cells):
            lines.append(f"| {system} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _picture(workdir: pathlib.Path, results: dict[tuple[str, str], dict[str, Any]]) -> None:
    toys = [toy for toy in TOYS if any(toy == of for _, of in results)]
    rows: dict[str, dict[str, Any]] = {
        "true density": {toy: dgm.data.TOYS[toy].log_prob for toy in toys}
    }
    for system, toy in results:
        model = dgm.load(workdir / f"{system}_{toy}" / "model")
        rows.setdefault(system, {})[toy] = model.log_prob
    data = {
        toy: dgm.data.TOYS[toy].sample(seed=jax.random.key(0), sample_shape=(5_000,))
        for toy in toys
    }
    dgm.plots.density_table(rows, workdir / "plane.png", data=data)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = tyro.cli(Options, args=arguments, prog="python -m experiments.plane")
    run_in_all(run_suite, options)
