"""Tell data sets apart: ``python -m experiments.outliers runs/glow_mnist --against fashion_mnist --out outliers.png``.

Three scores of the test images of the run's own data and of another data set, the bigger the more outlying: the
negative log-likelihood, its distance from that of training data (typicality), and what is left of it after subtracting
the length of a PNG-like code (complexity). See `dgmjax.analysis`.
"""

import dataclasses
import pathlib
from typing import Annotated, Any

import numpy as np
import tyro

import dgmjax as dgm
from experiments.config import Config
from experiments.evaluate import load_other_data, load_run
from experiments.likelihoods import likelihood_on
from experiments.results import write_json
from experiments.runtime import Processes, run_in_first

_XLABELS = {
    "likelihood": "negative log-likelihood [bits/dim], {bound}",
    "typicality": "distance of the negative log-likelihood from that of training data [nats]",
    "complexity": "negative log-likelihood - length of a PNG-like code [bits]",
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a comparison."""

    run: Annotated[pathlib.Path, tyro.conf.Positional]
    """Run directory."""
    against: str
    """Another data set of the same event shape and levels, by name or path."""
    num: int = 2_000
    """Rows of each set, at most."""
    seed: int = 0
    """Of the choice of rows and of the noise."""
    out: pathlib.Path = pathlib.Path("outliers.png")
    """The histogram of likelihoods (.png); those of the other scores and the numbers (.json) go beside it."""
    runtime: Annotated[Processes, tyro.conf.arg(name="")] = Processes()


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = tyro.cli(Options, args=arguments, prog="python -m experiments.outliers")
    run_in_first(_outliers, options)


def _outliers(options: Options) -> None:
    try:
        if options.num < 2:
            raise ValueError(f"expected --num >= 2, got {options.num}.")
        if options.out.suffix != ".png":
            raise ValueError(f"--out must end in .png, got {options.out}.")
        config, model, dataset = load_run(options.run)
        other = load_other_data(config, dataset, options.against)
        record, pictures = compare(config, model, dataset, other, options)
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        raise SystemExit(f"error: {error}") from error
    bits = record["bits_per_dim"]
    print(
        f"{config.name}, {record['bound']}: {dataset.name} test {bits['inside']:.3f} bits/dim, {other.name} test "
        f"{bits['outside']:.3f} bits/dim"
    )
    for name, area in record["auroc"].items():
        print(f"AUROC of {name}: {area:.4f}")
    print(f"wrote {', '.join(map(str, [*pictures, options.out.with_suffix('.json')]))}")


def compare(
    config: Config,
    model: Any,
    dataset: dgm.data.Dataset,
    other: dgm.data.Dataset,
    options: Options,
) -> tuple[dict[str, Any], list[pathlib.Path]]:
    """Score all, write pictures and numbers; returns the numbers and the paths of the pictures."""
    rng = np.random.default_rng(options.seed)
    sets = {"train": (dataset, "train"), "inside": (dataset, "test"), "outside": (other, "test")}
    events, contexts = {}, []
    for name, (data, split) in sets.items():
        x = getattr(data, split)
        rows = np.sort(rng.permutation(len(x))[: options.num])
        events[name] = x[rows]
        if config.conditional:
            contexts.append(data.contexts(split)[rows])
    likelihood = likelihood_on(
        model,
        np.concatenate(list(events.values())),
        np.concatenate(contexts) if contexts else None,
        seed=options.seed,
        draws=1,
    )
    ends = np.cumsum([len(x) for x in events.values()])[:-1]
    log_probs = dict(zip(events, np.split(np.asarray(likelihood.log_prob), ends), strict=True))
    bits = {
        name: dgm.densities.bits_per_dim(-values, likelihood.event_size)
        for name, values in log_probs.items()
    }
    bound = str(likelihood.bound)
    scores = {
        "likelihood": [bits["inside"], bits["outside"]],
        "typicality": [
            np.asarray(dgm.analysis.typicality(log_probs[name], log_probs["train"]))
            for name in ("inside", "outside")
        ],
    }
    if dataset.image_shape is not None and (dataset.num_levels or 257) <= 256:
        scores["complexity"] = [
            dgm.analysis.complexity_corrected(
                log_probs[name], events[name].reshape(-1, *dataset.image_shape)
            )
            for name in ("inside", "outside")
        ]
    pictures = []
    areas = {}
    for name, (inside, outside) in scores.items():
        stem = options.out.stem if name == "likelihood" else f"{options.out.stem}_{name}"
        areas[name] = dgm.analysis.auroc(inside, outside)
        path = dgm.plots.score_histogram(
            inside,
            outside,
            options.out.with_stem(stem),
            labels=(f"{dataset.name} test", f"{other.name} test"),
            xlabel=_XLABELS[name].format(bound=bound),
            title=f"{config.name}: {name}, AUROC {areas[name]:.4f}",
        )
        pictures.append(path)
    record = {
        "config": config.name,
        "inside": dataset.name,
        "outside": other.name,
        "rows": {name: len(x) for name, x in events.items()},
        "seed": options.seed,
        "bound": bound,
        "bits_per_dim": {name: round(float(values.mean()), 5) for name, values in bits.items()},
        "auroc": {name: round(area, 5) for name, area in areas.items()},
    }
    write_json(options.out.with_suffix(".json"), record)
    return record, pictures


if __name__ == "__main__":
    main()
