"""Tell data sets apart: ``python -m experiments.outliers runs/glow_mnist --against fashion_mnist --out outliers.png``.

Three scores of the test images of the run's own data and of another data set, the bigger the more outlying: the
negative log-likelihood, its distance from that of training data (typicality), and what is left of it after subtracting
the length of a PNG-like code (complexity). See `dgmjax.analysis`.

A run that is conditional on classes is scored marginally over its classes, `log sum_c w_c p(x | c)`, so the other data
need no labels and may have others; or, with ``--class``, given one class.
"""

import dataclasses
import pathlib
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import tyro

import dgmjax as dgm
from experiments.run.classes import chosen_classes, class_names, has_classes
from experiments.run.finished import load_other_data, load_run
from experiments.run.results import write_json
from experiments.run.runtime import Processes, run_in_first
from experiments.settings.config import Config
from experiments.settings.measured_likelihood import likelihood_on

_XLABELS = {
    "likelihood": "negative log-likelihood [{unit}]\n{bound}",
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
    class_: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """Score given this class of a conditional run, by name or number; of its own data the rows of this class."""
    prior: Literal["empirical", "uniform"] = "empirical"
    """Weights of the classes, where scores are marginal over them: as often as in the training data, or equal."""
    num: int = 2_000
    """Rows of each set, at most."""
    seed: int = 0
    """Seed of the choice of rows and of the noise."""
    out: pathlib.Path = pathlib.Path("outliers.png")
    """The histogram of likelihoods (.png); those of the other scores and the numbers (.json) go beside it."""
    runtime: Annotated[Processes, tyro.conf.arg(name="")] = Processes()


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = tyro.cli(Options, args=arguments, prog="python -m experiments.outliers")
    run_in_first(_outliers, options)


def _outliers(options: Options) -> None:
    if options.num < 2:
        raise ValueError(f"expected --num >= 2, got {options.num}.")
    if options.out.suffix != ".png":
        raise ValueError(f"--out must end in .png, got {options.out}.")
    config, model, dataset = load_run(options.run)
    if not hasattr(model, "log_prob"):
        raise ValueError(
            f"{config.name} is a {type(model).__name__}, which has no likelihood to score by."
        )
    conditioning = conditioning_of(config, dataset, options)
    other = load_other_data(config, dataset, options.against, labels=conditioning is None)
    record, pictures = compare(config, model, dataset, other, options, conditioning)
    unit, key = ("bits/dim", "bits_per_dim") if "bits_per_dim" in record else ("nats", "nats")
    inside, outside = (f"{record[key][name]:.3f} {unit}" for name in ("inside", "outside"))
    print(
        f"{config.name}, {_label(record)}: negative log-likelihood of {dataset.name} test {inside}, {other.name} test "
        f"{outside}"
    )
    for name, area in record["auroc"].items():
        print(f"AUROC of {name}: {area:.4f}")
    print(f"wrote {', '.join(map(str, [*pictures, options.out.with_suffix('.json')]))}")


class Conditioning(NamedTuple):
    """The stand-in for the class in the likelihood of a conditional model.

    Attributes:
      name: what to call it.
      mixture: one-hot classes and the logarithms of their weights.
      only: the class that rows of the run's own data have, or None for any.
    """

    name: str
    mixture: tuple[np.ndarray, np.ndarray]
    only: int | None


def conditioning_of(
    config: Config, dataset: dgm.data.Dataset, options: Options
) -> Conditioning | None:
    """The conditioning of a run; None if it is not conditional, or on something else than classes.

    Raises:
      ValueError: an unknown class, or one for a run without.
    """
    given = () if options.class_ is None else (options.class_,)
    chosen = chosen_classes(config, dataset, given, "--class")
    if not config.conditional or not has_classes(dataset):
        return None
    (size,) = dataset.context_shape
    one_hot = np.eye(size, dtype=np.float32)
    if chosen:
        name = f"given class {class_names(dataset)[chosen[0]]}"
        return Conditioning(name, (one_hot[list(chosen)], np.zeros(1, np.float32)), chosen[0])
    counts = np.bincount((dataset.labels or {})["train"], minlength=size)
    weights = counts if options.prior == "empirical" else np.ones(size)
    present = np.flatnonzero(weights)
    name = f"marginal over {len(present)} classes ({options.prior} prior)"
    log_weights = np.log(weights[present] / weights.sum()).astype(np.float32)
    return Conditioning(name, (one_hot[present], log_weights), None)


def compare(
    config: Config,
    model: Any,
    dataset: dgm.data.Dataset,
    other: dgm.data.Dataset,
    options: Options,
    conditioning: Conditioning | None,
) -> tuple[dict[str, Any], list[pathlib.Path]]:
    """Score all, write pictures and numbers; returns the numbers and the paths of the pictures."""
    rng = np.random.default_rng(options.seed)
    sets = {"train": (dataset, "train"), "inside": (dataset, "test"), "outside": (other, "test")}
    events, contexts = {}, []
    for name, (data, split) in sets.items():
        x = getattr(data, split)
        rows = np.arange(len(x))
        if conditioning is not None and conditioning.only is not None and data is dataset:
            rows = np.flatnonzero((dataset.labels or {})[split] == conditioning.only)
        rows = np.sort(rng.permutation(rows)[: options.num])
        if len(rows) < 2:
            raise ValueError(f"{data.name} {split} has {len(rows)} rows to score; two are needed.")
        events[name] = x[rows]
        if config.conditional and conditioning is None:
            contexts.append(data.contexts(split)[rows])
    likelihood = likelihood_on(
        model,
        np.concatenate(list(events.values())),
        np.concatenate(contexts) if contexts else None,
        seed=options.seed,
        draws=1,
        mixture=None if conditioning is None else conditioning.mixture,
    )
    ends = np.cumsum([len(x) for x in events.values()])[:-1]
    log_probs = dict(zip(events, np.split(np.asarray(likelihood.log_prob), ends), strict=True))
    unit, nll = "nats", {name: -values for name, values in log_probs.items()}
    if likelihood.discrete:
        unit = "bits/dim"
        size = likelihood.event_size
        nll = {name: dgm.densities.bits_per_dim(values, size) for name, values in nll.items()}
    record: dict[str, Any] = {
        "config": config.name,
        "inside": dataset.name,
        "outside": other.name,
        "rows": {name: len(x) for name, x in events.items()},
        "seed": options.seed,
        "bound": str(likelihood.bound),
        "bits_per_dim" if likelihood.discrete else "nats": {
            name: round(float(values.mean()), 5) for name, values in nll.items()
        },
    }
    if conditioning is not None:
        record["conditioning"] = conditioning.name
    scores = {
        "likelihood": [nll["inside"], nll["outside"]],
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
    own = f"{dataset.name} test"
    if conditioning is not None and conditioning.only is not None:
        own += f" of class {class_names(dataset)[conditioning.only]}"
    pictures = []
    areas = {}
    for name, (inside, outside) in scores.items():
        stem = options.out.stem if name == "likelihood" else f"{options.out.stem}_{name}"
        areas[name] = dgm.analysis.auroc(inside, outside)
        path = dgm.plots.score_histogram(
            inside,
            outside,
            options.out.with_stem(stem),
            labels=(own, f"{other.name} test"),
            xlabel=_XLABELS[name].format(bound=_label(record), unit=unit),
            title=f"{config.name}: {name}, AUROC {areas[name]:.4f}",
        )
        pictures.append(path)
    record["auroc"] = {name: round(area, 5) for name, area in areas.items()}
    write_json(options.out.with_suffix(".json"), record)
    return record, pictures


def _label(record: dict[str, Any]) -> str:
    """The label of the likelihoods: their bound and conditioning."""
    return ", ".join([record["bound"], *filter(None, [record.get("conditioning")])])
