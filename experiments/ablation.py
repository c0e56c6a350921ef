"""Glow's ablation: ``python -m experiments.ablation glow_mnist [--training.steps 1500] [--workdir DIR]``.

Trains a config of Glow with every mixing of channels, reverse, shuffle and 1x1 convolution, and both kinds of coupling,
additive and affine, and writes the curves (``ablation.png``) and the table of test numbers (``ablation.md``). Runs that
are finished are not trained again.

Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 5.1 and figure 3.
"""

import dataclasses
import json
import pathlib
import sys
from typing import Annotated, Any

import jax
import tyro

import dgmjax as dgm
from experiments.config import Config, load_config, smoke
from experiments.image_models import GlowConfig
from experiments.train import train

MIXINGS = ("reverse", "shuffle", "conv1x1")
COUPLINGS = ("additive", "affine")


@dataclasses.dataclass(frozen=True)
class Options:
    """What to train."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    workdir: pathlib.Path | None = None
    """Folder of the six runs; default runs/<config>_ablation."""
    smoke: bool = False
    """Six small versions in a few minutes: does everything fit together?"""


def run_ablation(config: Config, workdir: pathlib.Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Train the six, write the curves and the table; returns the result of each (coupling, mixing)."""
    if not isinstance(config.model, GlowConfig):
        raise ValueError(f"the ablation is Glow's, and {config.name} is a {config.model.system}.")
    results, curves = {}, {}
    for coupling in COUPLINGS:
        for mixing in MIXINGS:
            name = f"{coupling}_{mixing}"
            kind: dict[str, Any] = {"coupling": coupling, "mixing": mixing}
            model = dataclasses.replace(config.model, **kind)
            one = dataclasses.replace(config, name=f"{config.name}_{name}", model=model)
            results[coupling, mixing] = train(one, workdir=workdir / name)
            curves[coupling, mixing] = _validation(workdir / name)
            jax.clear_caches()
    bound = str(results[COUPLINGS[0], MIXINGS[0]]["test"]["bound"])
    dgm.plots.curve_panels(
        {
            f"{coupling} couplings": {mixing: curves[coupling, mixing] for mixing in MIXINGS}
            for coupling in COUPLINGS
        },
        workdir / "ablation.png",
        xlabel="step",
        ylabel="validation bits/dim",
        title=f"{config.data}, {bound}",
    )
    (workdir / "ablation.md").write_text(_table(results, bound))
    return results


def _validation(run: pathlib.Path) -> tuple[list[int], list[float]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    mine = [r for r in records if r["split"] == "validation" and "bits_per_dim" in r]
    return [r["step"] for r in mine], [r["bits_per_dim"] for r in mine]


def _table(results: dict[tuple[str, str], dict[str, Any]], bound: str) -> str:
    lines = [
        f"Test bits/dim, {bound}; parameters in brackets.",
        "",
        "| coupling | " + " | ".join(MIXINGS) + " |",
        "|---|" + "---:|" * len(MIXINGS),
    ]
    for coupling in COUPLINGS:
        cells = [
            f"{results[coupling, mixing]['test']['bits_per_dim']:.3f} "
            f"({results[coupling, mixing]['parameters']:,})"
            for mixing in MIXINGS
        ]
        lines.append(f"| {coupling} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m experiments.ablation CONFIG [options], CONFIG a config of Glow")
        raise SystemExit(0 if arguments else 2)
    name, *rest = arguments
    try:
        default = Options(config=load_config(name))
        options = tyro.cli(
            Options, args=rest, default=default, prog=f"python -m experiments.ablation {name}"
        )
        config = smoke(options.config) if options.smoke else options.config
        workdir = options.workdir or pathlib.Path("runs") / f"{config.name}_ablation"
        run_ablation(config, workdir)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        raise SystemExit(f"error: {error}") from error
    print((workdir / "ablation.md").read_text() + f"curves: {workdir / 'ablation.png'}")


if __name__ == "__main__":
    main()
