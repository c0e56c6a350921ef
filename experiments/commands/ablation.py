"""Ablations of Glow and Flow++: ``python -m experiments.ablation glow_mnist [--training.steps 1500] [--workdir DIR]``.

Of a config of Glow: every mixing of channels, reverse, shuffle and 1x1 convolution, with both kinds of coupling,
additive and affine. Of one of Flow++: uniform and variational dequantization, with affine and mixture couplings, with
and without attention, all with about as many parameters, by the width of the networks. Writes the curves
(``ablation.png``) and the table of test numbers (``ablation.md``). Runs that are finished are not trained again.

Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 5.1 and figure 3; Ho et al., 2019, *Flow++*,
  arXiv:1902.00275, section 4.2 and table 3.
"""

import bisect
import dataclasses
import json
import pathlib
import sys
from typing import Annotated, Any, Literal

import jax
import tyro
from flax import nnx

import dgmjax as dgm
from experiments.commands.train import Options as TrainOptions
from experiments.commands.train import train
from experiments.configs import load_config
from experiments.run.data import load_data
from experiments.run.runtime import Runtime, run_in_all
from experiments.settings.config import Config
from experiments.settings.image_flows import FlowPPConfig, GlowConfig
from experiments.settings.smoke import smoke

MIXINGS: tuple[Literal["reverse", "shuffle", "conv1x1"], ...] = ("reverse", "shuffle", "conv1x1")
COUPLINGS: tuple[Literal["additive", "affine"], ...] = ("additive", "affine")
NOISES: tuple[Literal["uniform", "variational"], ...] = ("uniform", "variational")
FLOWPP_COUPLINGS: tuple[Literal["affine", "mixture"], ...] = ("affine", "mixture")

# Rows, that is panels, of columns, that is curves.
Table = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of the runs to train."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    workdir: pathlib.Path | None = None
    """Folder of the runs; default runs/<config>_ablation."""
    smoke: bool = False
    """Small versions in a few minutes: does everything fit together?"""
    runtime: Annotated[Runtime, tyro.conf.arg(name="")] = Runtime()


def variants(config: Config) -> dict[str, dict[str, Config]]:
    """The configs to train, by row and column of the table.

    Raises:
      ValueError: a config of another system.
    """
    if isinstance(config.model, GlowConfig):
        return {
            f"{coupling} couplings": {
                mixing: _named(
                    config,
                    f"{coupling}_{mixing}",
                    model=dataclasses.replace(config.model, coupling=coupling, mixing=mixing),
                )
                for mixing in MIXINGS
            }
            for coupling in COUPLINGS
        }
    if not isinstance(config.model, FlowPPConfig):
        raise ValueError(
            f"the ablations are those of Glow and Flow++, and {config.name} is a {config.model.system}."
        )
    dataset = load_data(config)
    target = _num_parameters(config, dataset)
    found: dict[str, dict[str, Config]] = {}
    for noise in NOISES:
        row = found[f"{noise} dequantization"] = {}
        for coupling in FLOWPP_COUPLINGS:
            for attention in (True, False):
                parts = (noise, coupling, *(() if attention else ("no_attention",)))
                model = dataclasses.replace(config.model, coupling=coupling, attention=attention)
                dequantization = dataclasses.replace(config.dequantization, kind=noise)
                one = _named(config, "_".join(parts), model=model, dequantization=dequantization)
                row[", ".join(parts[1:]).replace("_", " ")] = _equalized(one, target, dataset)
    return found


def run_ablation(config: Config, workdir: pathlib.Path, runtime: Runtime | None = None) -> Table:
    """Train the variants, write the curves and the table; returns the results by row and column."""
    results: Table = {}
    folders: dict[str, dict[str, pathlib.Path]] = {}
    for row, columns in variants(config).items():
        results[row], folders[row] = {}, {}
        for column, one in columns.items():
            folder = workdir / one.name.removeprefix(f"{config.name}_")
            options = TrainOptions(one, runtime=runtime or Runtime())
            results[row][column] = train(one, options, workdir=folder)
            folders[row][column] = folder
            jax.clear_caches()
    dgm.training.agree(lambda: _write(config, workdir, results, folders))
    return results


def _write(
    config: Config,
    workdir: pathlib.Path,
    results: Table,
    folders: dict[str, dict[str, pathlib.Path]],
) -> None:
    curves = {
        row: {column: _validation(folder) for column, folder in columns.items()}
        for row, columns in folders.items()
    }
    bounds = {str(result["test"]["bound"]) for row in results.values() for result in row.values()}
    bound = " or ".join(sorted(bounds))
    dgm.plots.curve_panels(
        curves,
        workdir / "ablation.png",
        xlabel="step",
        ylabel="validation bits/dim",
        title=f"{config.data}, {bound}",
    )
    (workdir / "ablation.md").write_text(_table(results, bound))


def _named(config: Config, name: str, **changes: Any) -> Config:
    return dataclasses.replace(config, name=f"{config.name}_{name}", **changes)


def _equalized(one: Config, target: int, dataset: dgm.data.Dataset) -> Config:
    """``one`` with the width of networks for which it has about ``target`` parameters."""
    model: Any = one.model
    heads = model.num_heads  # divides the width

    def with_width(units: int) -> Config:
        return dataclasses.replace(one, model=dataclasses.replace(model, width=units * heads))

    def size(units: int) -> int:
        return _num_parameters(with_width(units), dataset)

    most = 2 * model.width // heads
    above = bisect.bisect_left(range(1, most + 1), target, key=size) + 1
    nearest = min(
        {max(above - 1, 1), min(above, most)}, key=lambda units: abs(size(units) - target)
    )
    return with_width(nearest)


def _num_parameters(config: Config, dataset: dgm.data.Dataset) -> int:
    model = jax.eval_shape(
        lambda: config.model.build(
            dataset,
            nnx.Rngs(0),
            conditional=config.conditional,
            dequantization=config.dequantization,
        )
    )
    return sum(array.size for array in dgm.training.partition(model)[0].values())


def _validation(run: pathlib.Path) -> tuple[list[int], list[float]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    mine = [r for r in records if r["split"] == "validation" and "bits_per_dim" in r]
    return [r["step"] for r in mine], [r["bits_per_dim"] for r in mine]


def _table(results: Table, bound: str) -> str:
    columns = list(next(iter(results.values())))
    lines = [
        f"Test bits/dim, {bound}; parameters in brackets.",
        "",
        "| | " + " | ".join(columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for row, by_column in results.items():
        cells = [
            f"{result['test']['bits_per_dim']:.3f} ({result['parameters']:,})"
            for result in by_column.values()
        ]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(
            "usage: python -m experiments.ablation CONFIG [options], CONFIG a config of Glow or Flow++"
        )
        raise SystemExit(0 if arguments else 2)
    name, *rest = arguments
    try:
        default = Options(config=load_config(name))
        options = tyro.cli(
            Options, args=rest, default=default, prog=f"python -m experiments.ablation {name}"
        )
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        raise SystemExit(f"error: {error}") from error
    run_in_all(_ablate, options)


def _ablate(options: Options) -> None:
    config = smoke(options.config) if options.smoke else options.config
    workdir = options.workdir or pathlib.Path("runs") / f"{config.name}_ablation"
    run_ablation(config, workdir, options.runtime)
    if dgm.training.is_first():
        print((workdir / "ablation.md").read_text() + f"curves: {workdir / 'ablation.png'}")
