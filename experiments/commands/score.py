"""Score the samples of a run by a classifier: ``python -m experiments.score runs/gan_digits --num 10000``.

Any model of images with integer levels: Frechet distance, precision and recall of the classifier's features against the
test images, the share of samples it accepts, and their classes. Writes ``scores.json`` into the run. Without
``--classifier`` the run ``resnet_<data>`` beside it is taken, and trained first if it is not there.
"""

import dataclasses
import pathlib
from typing import Annotated, Any

import jax
import numpy as np
import tyro

import dgmjax as dgm
from dgmjax.numerics import map_rows, prng
from experiments.commands.train import Options as TrainOptions
from experiments.commands.train import train
from experiments.configs import load_config
from experiments.run.classes import conditions_to_draw
from experiments.run.finished import load_run
from experiments.run.results import write_json
from experiments.run.runtime import Runtime, run_in_all
from experiments.settings.config import Config

_DEFAULTS = {"digits": "resnet_digits", "mnist": "resnet_mnist"}


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the scores."""

    run: Annotated[pathlib.Path, tyro.conf.Positional]
    """Run directory of the model."""
    classifier: pathlib.Path | None = None
    """Run directory of a classifier of the same data."""
    num: int = 10_000
    """Samples."""
    temperature: float = 1.0
    """Factor on the latents."""
    k: int = 3
    """Neighbours, of precision and recall."""
    seed: int = 0
    """Seed of the samples."""
    runtime: Annotated[Runtime, tyro.conf.arg(name="")] = Runtime()


def score(
    run: pathlib.Path,
    *,
    classifier: pathlib.Path | None = None,
    num: int = 10_000,
    temperature: float = 1.0,
    k: int = 3,
    seed: int = 0,
    runtime: Runtime | None = None,
) -> dict[str, Any]:
    """The contents of ``scores.json``: the scores of samples and, to compare, of the training images.

    Where several processes take part, all call it: they train a missing classifier together, and the first does the
    rest.

    Raises:
      FileNotFoundError: an unfinished run.
      ValueError: no images of integers, or a classifier of others.
    """
    if num < 2 or temperature < 0:
        raise ValueError(
            f"expected --num >= 2 and --temperature >= 0, got {num} and {temperature}."
        )
    folder = _default_classifier(run, runtime or Runtime()) if classifier is None else classifier
    return dgm.training.agree(
        lambda: _write_scores(run, folder, num=num, temperature=temperature, k=k, seed=seed)
    )


def _write_scores(
    run: pathlib.Path, folder: pathlib.Path, *, num: int, temperature: float, k: int, seed: int
) -> dict[str, Any]:
    config, model, dataset = _load_images(run)
    judge_config, judge, judge_data = load_run(folder)
    _check(folder, judge, dataset)
    context = conditions_to_draw(dataset, num).context if config.conditional else None
    keys = prng.example_keys(jax.random.key(seed), num)
    samples = map_rows(
        lambda keys, context: np.asarray(_draw(model, keys, context, temperature)),
        keys,
        context,
        batch_size=500,
    )
    events = dataset.as_images()
    images = samples.reshape(-1, *events.test.shape[1:])
    scores = dgm.analysis.sample_scores(judge, images, events.test, k=k)
    of_data = dgm.analysis.sample_scores(judge, events.train[:num], events.test, k=k)
    of_test = dgm.analysis.sample_scores(judge, events.test, events.test, k=k)
    labels = judge_data.contexts("test").argmax(1)
    logits = map_rows(lambda rows: _logits(judge, rows), judge_data.test, batch_size=500)
    predicted = np.asarray(logits).argmax(1)
    record = {
        "config": config.name,
        "classifier": judge_config.name,
        "classifier_accuracy": round(float((predicted == labels).mean()), 4),
        "k": k,
        "temperature": temperature,
        "seed": seed,
        "samples": _rounded(scores),
        # What a perfect model of the training images would have, and the test images themselves.
        "training_images": _rounded(of_data),
        "test_images_accepted": round(of_test.accepted, 4),
    }
    write_json(run / "scores.json", record)
    return record | {"line": str(scores), "line_of_data": str(of_data)}


def _load_images(run: pathlib.Path) -> tuple[Config, Any, dgm.data.Dataset]:
    config, model, dataset = load_run(run)
    if not hasattr(model, "sample"):
        raise ValueError(f"{config.name} is a {type(model).__name__}, which has no samples.")
    if dataset.image_shape is None or dataset.num_levels is None:
        raise ValueError(
            f"{config.data} holds no images of integer levels, which classifiers here take."
        )
    return config, model, dataset


def _default_classifier(run: pathlib.Path, runtime: Runtime) -> pathlib.Path:
    """The run of the default classifier of the data, trained if it is not finished, by all processes."""
    config, _, _ = _load_images(run)
    if config.data not in _DEFAULTS or config.binarize or config.n_bits != 8:
        raise ValueError(
            f"there is no default classifier of {config.data} as {config.name} takes it; train one and pass "
            f"--classifier RUN."
        )
    name = _DEFAULTS[config.data]
    folder = run.parent / name
    if not dgm.training.agree((folder / "model").exists):
        if dgm.training.is_first():
            print(f"training the classifier {name} in {folder}", flush=True)
        judge = load_config(name)
        train(judge, TrainOptions(judge, runtime=runtime), workdir=folder)
    return folder


def _check(folder: pathlib.Path, judge: Any, dataset: dgm.data.Dataset) -> None:
    if not (hasattr(judge, "features") and hasattr(judge, "logits")):
        raise ValueError(f"--classifier {folder} holds a {type(judge).__name__}, no classifier.")
    expected = dataset.image_shape, dataset.num_levels
    if (tuple(judge.event_shape), judge.num_levels) != expected:
        raise ValueError(
            f"--classifier {folder} takes images {tuple(judge.event_shape)} of {judge.num_levels} levels; the run has "
            f"{expected[0]} of {expected[1]}."
        )


@jax.jit
def _draw(model: Any, keys: jax.Array, context: jax.Array | None, temperature: float) -> jax.Array:
    """A sample a key."""

    def one(key: jax.Array, context: jax.Array | None) -> jax.Array:
        condition = {} if context is None else {"context": context}
        return model.sample(seed=key, temperature=temperature, **condition)

    return jax.vmap(one)(keys, context)


@jax.jit
def _logits(judge: Any, x: jax.Array) -> jax.Array:
    return judge.logits(x)


def _rounded(scores: dgm.analysis.SampleScores) -> dict[str, Any]:
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in scores.as_record().items()
    }


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = tyro.cli(Options, args=arguments, prog="python -m experiments.score")
    run_in_all(_score, options)


def _score(options: Options) -> None:
    found = score(**{f.name: getattr(options, f.name) for f in dataclasses.fields(options)})
    if not dgm.training.is_first():
        return
    print(f"{found['config']}, by {found['classifier']}: {found['line']}")
    print(f"training images: {found['line_of_data']}")
    print(f"wrote {options.run / 'scores.json'}")
