"""Priors or posteriors of a VAE side by side: ``python -m experiments.vae_comparison priors [vae_digits] [--seeds 5]``.

Trains a config of a VAE once a prior (or posterior) and seed, and writes the table of ELBOs, importance-weighted
bounds, parts of the ELBO and times, with differences to the first row that are paired over seeds. Runs that are
finished are not trained again. The work directory holds ``<what>.md`` and ``<what>.json``.

Source: Tomczak and Welling, 2018, arXiv:1705.07120, tables 1 and 2; Chen et al., 2017, *Variational lossy
  autoencoder*, arXiv:1611.02731, section 3.2 (a flow in the prior against one in the posterior).
"""

import dataclasses
import functools
import math
import pathlib
import sys
from typing import Annotated, Any

import jax
import numpy as np
import tyro

import dgmjax as dgm
from experiments.commands.train import Options as TrainOptions
from experiments.commands.train import train
from experiments.configs import load_config
from experiments.run.data import load_data
from experiments.run.results import write_json
from experiments.run.runtime import Runtime, run_in_all
from experiments.settings.config import Config
from experiments.settings.measured_likelihood import likelihood_on
from experiments.settings.smoke import smoke
from experiments.settings.vaes import VAEConfig

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "priors": {
        name: {"prior": name}
        for name in ("normal", "mixture", "vamp", "realnvp", "maf", "aggregated")
    },
    "posteriors": {
        "gaussian": {},
        "planar": {"posterior": "planar"},
        "sylvester": {"posterior": "sylvester"},
        "coupling": {"posterior": "coupling"},
        "iaf": {"posterior": "iaf"},
        # 102 units: as many parameters as the posterior of inverse autoregressive flows has
        "maf prior, as large": {"prior": "maf", "prior_width": 102},
        "iaf, realnvp prior": {"posterior": "iaf", "prior": "realnvp"},
    },
}
_COLUMNS = {
    "train_elbo": "train ELBO",
    "test_elbo": "test ELBO",
    "test_iw": "test IW",
    "mutual_information": "MI",
    "marginal_kl": "marginal KL",
    "hole_mass": "holes",
    "seconds": "seconds",
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to compare."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    seeds: int = 3
    """Seeds of weights, batches and noise."""
    samples: int = 512
    """K of the importance-weighted bound."""
    only: tuple[str, ...] = ()
    """Rows; default all."""
    workdir: pathlib.Path | None = None
    """Folder of the runs; default runs/<config>_<what>."""
    smoke: bool = False
    """Small versions in a few minutes: does everything fit together?"""
    runtime: Annotated[Runtime, tyro.conf.arg(name="")] = Runtime()


def compare(
    what: str, options: Options, workdir: pathlib.Path
) -> dict[str, list[dict[str, float]]]:
    """Train what is missing and measure; the numbers of every row, one dict a seed, all in nats where they have a unit.

    Raises:
      ValueError: no config of a VAE, or an unknown row.
    """
    config = options.config
    if not isinstance(config.model, VAEConfig):
        raise ValueError(f"vae_comparison: {config.name} is a {config.model.system}, no VAE.")
    unknown = set(options.only) - set(VARIANTS[what])
    if unknown:
        raise ValueError(
            f"--only: unknown rows {sorted(unknown)}; the {what} are {', '.join(VARIANTS[what])}."
        )
    dataset = load_data(config)
    rows: dict[str, list[dict[str, float]]] = {}
    for name, changes in VARIANTS[what].items():
        if options.only and name not in options.only:
            continue
        rows[name] = []
        for seed in range(options.seeds):
            label = f"{name.replace(', ', '_').replace(' ', '_')}_{seed}"
            one = dataclasses.replace(
                config,
                name=f"{config.name}_{label}",
                seed=seed,
                model=dataclasses.replace(config.model, **changes),
            )
            train_options = TrainOptions(one, runtime=options.runtime)
            result = train(one, train_options, workdir=workdir / label)
            model = dgm.load(workdir / label / "model")
            found = functools.partial(measure, model, dataset, result, samples=options.samples)
            rows[name].append(dgm.training.agree(found))
            jax.clear_caches()
    return rows


def measure(
    model: Any, dataset: dgm.data.Dataset, result: dict[str, Any], *, samples: int
) -> dict[str, float]:
    """Bounds on train and test data, and the parts of the ELBO over the training data."""
    key = jax.random.key(0)
    surgery = dgm.objectives.elbo_surgery(model, dataset.train, key)
    weighted = likelihood_on(model, dataset.test, seed=0, num_samples=samples, draws=1)
    return {
        "parameters": result["parameters"],
        "train_elbo": -surgery.elbo,
        "test_elbo": result["test"]["nats"],
        "test_iw": weighted.negative_log_likelihood,
        "mutual_information": surgery.mutual_information,
        "marginal_kl": surgery.marginal_kl,
        "log_n": surgery.log_n,
        "hole_mass": dgm.objectives.hole_mass(model, dataset.train, key),
        "seconds": result["seconds_of_last_session"],
    }


def table(rows: dict[str, list[dict[str, float]]], samples: int) -> str:
    """Markdown: means over seeds, and differences to the first row with their standard error over seeds."""
    first = next(iter(rows))
    count = len(rows[first])
    lines = [
        f"Means over {count} seeds. Negative bounds in nats: ELBO (train: one sample an image; test: 16), and the "
        f"importance-weighted bound with K = {samples}; mutual information (at most "
        f"{rows[first][0]['log_n']:.2f}) and marginal KL are of the training data; holes is the share of the prior's "
        f"samples where the aggregated posterior is lower than at 99 % of its codes. Differences are to the first row, "
        f"paired over seeds, with their standard error.",
        "",
        "| | "
        + " | ".join([*_COLUMNS.values(), "test ELBO, difference", "test IW, difference"])
        + " |",
        "|---|" + "---:|" * (len(_COLUMNS) + 2),
    ]
    for name, seeds in rows.items():
        cells = []
        for column in _COLUMNS:
            mean = float(np.mean([seed[column] for seed in seeds]))
            digits = {"hole_mass": 3, "seconds": 0}.get(column, 2)
            cells.append(f"{mean:.{digits}f}")
        for column in ("test_elbo", "test_iw"):
            gaps = np.array(
                [a[column] - b[column] for a, b in zip(seeds, rows[first], strict=True)]
            )
            error = gaps.std(ddof=1) / math.sqrt(count) if count > 1 else math.nan
            cells.append("" if name == first else f"{gaps.mean():+.2f} +- {error:.2f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] not in VARIANTS:
        print("usage: python -m experiments.vae_comparison {priors,posteriors} [CONFIG] [options]")
        raise SystemExit(0 if arguments and arguments[0] in ("-h", "--help") else 2)
    what, *rest = arguments
    name = rest.pop(0) if rest and not rest[0].startswith("-") else "vae_digits"
    try:
        options = tyro.cli(
            Options,
            args=rest,
            default=Options(config=load_config(name)),
            prog=f"python -m experiments.vae_comparison {what} {name}",
        )
        if options.smoke:
            options = dataclasses.replace(options, config=smoke(options.config), seeds=2, samples=8)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        raise SystemExit(f"error: {error}") from error
    run_in_all(functools.partial(_compare, what), options)


def _compare(what: str, options: Options) -> None:
    workdir = options.workdir or pathlib.Path("runs") / f"{options.config.name}_{what}"
    rows = compare(what, options, workdir)
    dgm.training.agree(lambda: _write(what, options, workdir, rows))


def _write(
    what: str, options: Options, workdir: pathlib.Path, rows: dict[str, list[dict[str, float]]]
) -> None:
    text = table(rows, options.samples)
    write_json(workdir / f"{what}.json", {"samples": options.samples, "rows": rows})
    (workdir / f"{what}.md").write_text(text)
    print(text + f"in {workdir / f'{what}.md'}")
