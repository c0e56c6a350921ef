"""Move images along an attribute: ``python -m experiments.attributes runs/glow_mnist --attribute 3 --against 5``.

The direction is the difference of the mean latents of training images with and without the attribute. A logistic
regression on the pixels of training images, which knows nothing of the flow, says how far the moved images have it.
"""

import dataclasses
import pathlib
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import tyro

import dgmjax as dgm
from dgmjax.numerics import map_rows
from experiments.commands.interpolate import check_latents
from experiments.run.classes import class_index, class_names
from experiments.run.finished import load_run
from experiments.run.pictures import as_picture
from experiments.run.results import write_json
from experiments.run.runtime import Processes, run_in_first

_CLASSIFIER_ROWS = 5_000


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a manipulation."""

    run: Annotated[pathlib.Path, tyro.conf.Positional]
    """Run directory."""
    attribute: str
    """Name or number of a class of the data, or of a binary attribute."""
    against: str | None = None
    """The class or attribute to compare with; default all images without the attribute."""
    strengths: tuple[float, ...] = (-1.0, -0.67, -0.33, 0.0, 0.33, 0.67, 1.0)
    """Factors on the direction, one a column; 1 is the whole difference of the means."""
    rows: int = 6
    """Test images without the attribute, one a row."""
    num: int = 30_000
    """Training images behind the direction, at most."""
    scored: int = 200
    """Test images without the attribute behind the scores, at most."""
    seed: int = 0
    """Seed of the choice of images."""
    out: pathlib.Path = pathlib.Path("attributes.png")
    """The picture (.png); the numbers go beside it (.json)."""
    runtime: Annotated[Processes, tyro.conf.arg(name="")] = Processes()


class Split(NamedTuple):
    """Images of one split that have the attribute, or are those it is compared with."""

    x: np.ndarray
    has: np.ndarray
    context: np.ndarray | None

    def only(self, index: np.ndarray) -> "Split":
        """The images at ``index``."""
        return Split(
            self.x[index], self.has[index], None if self.context is None else self.context[index]
        )


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = tyro.cli(Options, args=arguments, prog="python -m experiments.attributes")
    run_in_first(_attributes, options)


def _attributes(options: Options) -> None:
    record = manipulate_attribute(options)
    print(
        f"{record['attribute']} against {record['against']}: direction from {record['train_rows']:,} training images; "
        f"classifier on pixels right on {100 * record['classifier_accuracy']:.1f} % of the test images of both"
    )
    print(f"mean over {record['scored_rows']} test images without the attribute:")
    print("strength  log-odds  probability")
    for strength, odds, probability in zip(
        record["strengths"], record["mean_log_odds"], record["mean_probability"], strict=True
    ):
        print(f"{strength:8.2f}  {odds:8.2f}  {probability:11.3f}")
    print(f"log-odds monotone in the strength: {'yes' if record['monotone'] else 'no'}")
    print(f"wrote {options.out} and {options.out.with_suffix('.json')}")


def manipulate_attribute(options: Options) -> dict[str, Any]:
    """Write the picture and the numbers, and return these.

    Raises:
      ValueError: options out of range, data without images or labels, an unknown attribute, or too few images.
    """
    if min(options.rows, options.num, options.scored) < 1 or not options.strengths:
        raise ValueError("expected --rows, --num, --scored >= 1 and at least one of --strengths.")
    if options.out.suffix != ".png":
        raise ValueError(f"--out must end in .png, got {options.out}.")
    config, model, dataset = load_run(options.run)
    if dataset.image_shape is None:
        raise ValueError(f"{config.data} holds no images, and other events have no picture.")
    check_latents(config, model, encoder=True)
    rng = np.random.default_rng(options.seed)
    train, test = (
        labelled(dataset, split, options, rng, conditional=config.conditional)
        for split in ("train", "test")
    )
    used = train.only(np.arange(min(options.num, len(train.x))))
    eps = dgm.analysis.encode_in_batches(model, used.x, used.context)
    direction = dgm.analysis.attribute_direction(eps, used.has)

    without = test.only(np.flatnonzero(~test.has)[: max(options.rows, options.scored)])
    strengths = np.sort(np.array(options.strengths))
    moved = moved_by(model, without, direction, strengths)
    shown, maximum = as_picture(dataset, np.swapaxes(moved[:, : options.rows], 0, 1))
    against = "all others" if options.against is None else options.against
    dgm.plots.image_grid(
        shown,
        options.out,
        columns=len(strengths),
        maximum=maximum,
        title=f"{options.attribute} against {against}, strengths {', '.join(f'{s:g}' for s in strengths)}",
    )

    classifier = Classifier(train.only(np.arange(min(_CLASSIFIER_ROWS, len(train.x)))))
    odds = np.stack([classifier.log_odds(images[: options.scored]) for images in moved])
    record = {
        "config": config.name,
        "data": config.data,
        "attribute": options.attribute,
        "against": against,
        "train_rows": len(used.x),
        "seed": options.seed,
        "direction_norm": round(float(np.linalg.norm(direction)), 4),
        "classifier_accuracy": round(
            float(np.mean((classifier.log_odds(test.x) > 0) == test.has)), 4
        ),
        "scored_rows": odds.shape[1],
        "strengths": strengths.tolist(),
        "mean_log_odds": np.round(odds.mean(1), 4).tolist(),
        "mean_probability": np.round((1 / (1 + np.exp(-odds))).mean(1), 4).tolist(),
        "monotone": bool(np.all(np.diff(odds.mean(1)) > 0)),
    }
    write_json(options.out.with_suffix(".json"), record)
    return record


def labelled(
    dataset: dgm.data.Dataset,
    split: str,
    options: Options,
    rng: np.random.Generator,
    *,
    conditional: bool,
) -> Split:
    """The images of ``split`` with the attribute and those it is compared with, in random order.

    Raises:
      ValueError: no labels, an unknown attribute, or none of either kind.
    """
    if not dataset.labels:
        raise ValueError(f"data set {dataset.name!r} has no labels to take attributes from.")
    labels = dataset.labels[split]
    names = class_names(dataset)
    has = _rows_with(labels, class_index(options.attribute, names, "--attribute"))
    if options.against is None:
        compared = ~has
    else:
        compared = ~has & _rows_with(labels, class_index(options.against, names, "--against"))
    if not has.any() or not compared.any():
        raise ValueError(
            f"{split}: expected images with the attribute and others to compare with, got {has.sum()} and "
            f"{compared.sum()}; choose another --attribute or --against."
        )
    index = rng.permutation(np.flatnonzero(has | compared))
    context = dataset.contexts(split)[index] if conditional else None
    return Split(getattr(dataset, split)[index], has[index], context)


def _rows_with(labels: np.ndarray, index: int) -> np.ndarray:
    """A mask of the rows that have the class or the binary attribute."""
    if labels.ndim == 1:
        return labels == index
    values = np.unique(labels[:, index])
    if len(values) > 2:
        raise ValueError(
            f"attribute {index} is not binary: it takes {len(values)} values; attributes are 0 and 1, or -1 and 1."
        )
    return labels[:, index] > 0


def moved_by(model: Any, split: Split, direction: jax.Array, strengths: np.ndarray) -> np.ndarray:
    """`dgmjax.analysis.manipulate`, a few images at a time: ``[num_strengths, n, *event]``."""

    def moved(x: jax.Array, context: jax.Array | None) -> np.ndarray:
        images = dgm.analysis.manipulate(model, x, direction, strengths, context)
        return np.asarray(images).swapaxes(0, 1)

    return map_rows(moved, split.x, split.context, batch_size=16).swapaxes(0, 1)


class Classifier:
    """Logistic regression on pixels: does an image have the attribute?"""

    def __init__(self, train: Split):
        from sklearn.linear_model import LogisticRegression

        self._mean, self._std = float(train.x.mean()), float(train.x.std()) or 1.0
        self._fitted = LogisticRegression(C=0.01, max_iter=1_000).fit(
            self._features(train.x), train.has
        )

    def log_odds(self, x: np.ndarray) -> np.ndarray:
        """``[n]``."""
        return self._fitted.decision_function(self._features(x))

    def _features(self, x: np.ndarray) -> np.ndarray:
        return (x.reshape(len(x), -1).astype(np.float64) - self._mean) / self._std
