"""The command that moves images along an attribute, on a flow whose latents are known by hand."""

import pathlib
import types

import jax.numpy as jnp
import numpy as np
import pytest

import dgmjax as dgm
from experiments.commands import attributes

pytestmark = pytest.mark.usefixtures("x32")
RUN = pathlib.Path("run")


class Scaled(dgm.Bijector):
    """``x = (1 + c) z`` with ``c`` the class, which is given one-hot."""

    event_shape, context_shape = (4,), (3,)

    def _scale(self, context):
        return 1.0 + context @ jnp.arange(3.0)

    def forward_and_log_det(self, z, context):
        scale = self._scale(context)
        return z * scale[..., None], 4 * jnp.log(scale)

    def inverse_and_log_det(self, x, context):
        scale = self._scale(context)
        return x / scale[..., None], -4 * jnp.log(scale)


def grey():
    """Images of 2 x 2 floats, 60 of training and 50 of test, of three classes, of which 1 is brighter."""
    random = np.random.default_rng(0)
    made = {"train": np.arange(60) % 3, "validation": np.arange(3), "test": np.arange(50) % 3}
    x = {
        split: (random.normal(size=(len(c), 4)) + 4.0 * (c == 1)[:, None]).astype(np.float32)
        for split, c in made.items()
    }
    return dgm.data.Dataset("grey", **x, image_shape=(2, 2, 1), labels=made)


class FirstPixel:
    """The log-odds of an attribute are the first pixel less 1/2, or less the square of that."""

    square = False

    def __init__(self, train):
        self.rows = len(train.x)

    def log_odds(self, x):
        odds = x[:, 0].astype(np.float64) - 0.5
        return -(odds**2) + 2.25 if self.square else odds


@pytest.fixture
def moved(monkeypatch, tmp_path):
    """Runs the command on the run above; the numbers and what was drawn."""
    grids = []
    monkeypatch.setattr(
        dgm.plots, "image_grid", lambda x, path, **options: grids.append((x, options))
    )
    config = types.SimpleNamespace(name="scaled", data="grey", conditional=True)
    found = config, dgm.Flow(Scaled()), grey()
    monkeypatch.setattr(attributes, "load_run", lambda run: found)
    monkeypatch.setattr(attributes, "Classifier", FirstPixel)

    def command(**options):
        asked = {
            "attribute": "1",
            "strengths": (1.0, -1.0, 0.0),
            "out": tmp_path / "a.png",
        } | options
        record = attributes.manipulate_attribute(attributes.Options(RUN, **asked))
        return record, grids[-1]

    return command


def test_an_attribute_moves_images_by_the_difference_of_mean_latents(moved):
    """33 test images in chunks of 16, each with the scale of its own class."""
    data = grey()
    record, _ = moved(num=1_000, scored=1_000)
    latents = data.train / (1.0 + data.labels["train"][:, None])
    has = data.labels["train"] == 1
    direction = latents[has].mean(0) - latents[~has].mean(0)
    assert record["direction_norm"] == pytest.approx(np.linalg.norm(direction), abs=2e-4)
    rest = data.labels["test"] != 1
    steps = direction[0] * (1.0 + data.labels["test"][rest])
    odds = np.stack([data.test[rest, 0] + alpha * steps - 0.5 for alpha in (-1, 0, 1)])
    assert record["strengths"] == [-1, 0, 1]
    assert (record["train_rows"], record["scored_rows"]) == (60, 33)
    np.testing.assert_allclose(record["mean_log_odds"], odds.mean(1), atol=2e-4)
    np.testing.assert_allclose(
        record["mean_probability"], (1 / (1 + np.exp(-odds))).mean(1), atol=2e-4
    )
    right = (data.test[:, 0] > 0.5) == (data.labels["test"] == 1)
    assert record["classifier_accuracy"] == pytest.approx(right.mean(), abs=1e-4)
    assert record["monotone"] is True


def test_an_attribute_against_another_leaves_out_the_rest(moved):
    data = grey()
    record, _ = moved(against="2", num=1_000, scored=1_000)
    of = {split: data.labels[split] for split in ("train", "test")}
    assert record["train_rows"] == 40
    assert record["scored_rows"] == (of["test"] == 2).sum()
    latents = data.train / (1.0 + of["train"][:, None])
    direction = latents[of["train"] == 1].mean(0) - latents[of["train"] == 2].mean(0)
    assert record["direction_norm"] == pytest.approx(np.linalg.norm(direction), abs=2e-4)


def test_monotone_is_a_word_for_every_step(moved, monkeypatch):
    monkeypatch.setattr(FirstPixel, "square", True)
    record, _ = moved(num=1_000, scored=1_000, strengths=(-2.0, 0.0, 0.1, 0.5))
    odds = record["mean_log_odds"]
    assert odds[0] < odds[-1] < odds[1]
    assert record["monotone"] is False


def test_pictures_of_an_attribute_have_an_image_a_row(moved):
    """More rows than are scored; brightness is in units of the training data."""
    data = grey()
    record, (shown, options) = moved(num=20, rows=4, scored=2, seed=1)
    assert (record["train_rows"], record["scored_rows"]) == (20, 2)
    assert options["columns"] == 3
    shown = np.asarray(shown).reshape(4, 3, 4)
    low, high = data.train.min(), data.train.max()
    start = shown[:, 1] * (high - low) + low
    rest = data.test[data.labels["test"] != 1]
    nearest = np.abs(start[:, None] - rest[None]).max(-1).argmin(1)
    np.testing.assert_allclose(start, rest[nearest], atol=1e-5)
    np.testing.assert_allclose(shown[:, 2] - shown[:, 1], shown[:, 1] - shown[:, 0], atol=1e-5)
    assert np.abs(shown[:, 2] - shown[:, 0]).max(1).min() > 0.01
    _, (other, _) = moved(num=20, rows=4, scored=2, seed=2)
    assert not np.allclose(np.asarray(other).reshape(4, 3, 4), shown)
