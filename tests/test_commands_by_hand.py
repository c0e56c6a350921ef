"""Commands on models and data whose results are known by hand: options, chunks, signs, units."""

import dataclasses
import json
import math
import pathlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.numerics.prng import example_keys
from experiments.commands import outliers, sample, score
from experiments.configs import load_config
from experiments.run import pictures
from experiments.run.pictures import ProgressPictures, as_picture, draw, picture_of_samples
from experiments.run.surgery import SurgeryLog
from experiments.run.tensorboard import Events
from tests.test_attributes_by_hand import grey

pytestmark = pytest.mark.usefixtures("x32")
RUN = pathlib.Path("run")


class MinusSum(nnx.Module):
    """``log p(x)`` is minus the sum of the pixels."""

    def __init__(self):
        self.event_shape, self.context_shape = (4,), None

    def bound(self, num_samples=1):
        return dgm.densities.EXACT

    def log_prob(self, x, context=None):
        return -x.astype(jnp.float32).sum(-1)


def levels(name, seed, rows, top):
    random = np.random.default_rng(seed)
    parts = [random.integers(0, top, (n, 4)).astype(np.uint8) for n in rows]
    return dgm.data.Dataset(name, *parts, num_levels=16, image_shape=(2, 2, 1))


def by_pairs(inside, outside):
    difference = outside[:, None] - inside
    return (difference > 0).mean() + (difference == 0).mean() / 2


def test_scores_of_outliers_by_hand(monkeypatch, tmp_path):
    own, other = levels("own", 0, (30, 2, 8), 5), levels("other", 1, (2, 2, 5), 16)
    drawn = {}

    def spy(inside, outside, path, **options):
        drawn[path.stem] = np.asarray(inside), np.asarray(outside), options
        return path

    monkeypatch.setattr(dgm.plots, "score_histogram", spy)
    config = types.SimpleNamespace(name="a", conditional=False)
    options = outliers.Options(RUN, "other", out=tmp_path / "o.png")
    record, _ = outliers.compare(config, MinusSum(), own, other, options, None)
    nats = {"inside": own.test.sum(1) * 1.0, "outside": other.test.sum(1) * 1.0}
    assert record["rows"] == {"train": 30, "inside": 8, "outside": 5}
    for name, values in nats.items():
        assert record["bits_per_dim"][name] == pytest.approx(
            values.mean() / (4 * np.log(2)), abs=1e-5
        )
    mean = own.train.sum(1).mean()
    typical = {name: np.abs(values - mean) for name, values in nats.items()}
    complexity = {
        name: values / np.log(2) - dgm.analysis.code_length(data.test.reshape(-1, 2, 2, 1))
        for (name, values), data in zip(nats.items(), (own, other), strict=True)
    }
    expected = {"likelihood": nats, "typicality": typical, "complexity": complexity}
    for (name, scores), stem in zip(
        expected.items(), ("o", "o_typicality", "o_complexity"), strict=True
    ):
        area = by_pairs(scores["inside"], scores["outside"])
        assert record["auroc"][name] == pytest.approx(area, abs=1e-5)
        unit = 4 * np.log(2) if name == "likelihood" else 1.0
        for side, key in enumerate(("inside", "outside")):
            np.testing.assert_allclose(drawn[stem][side] * unit, scores[key], rtol=1e-4, atol=1e-4)
        assert drawn[stem][2]["labels"] == ("own test", "other test")
    assert record["auroc"]["likelihood"] > 0.5
    few = dataclasses.replace(options, num=4)
    record, _ = outliers.compare(config, MinusSum(), own, other, few, None)
    assert record["rows"] == {"train": 4, "inside": 4, "outside": 4}
    again, _ = outliers.compare(
        config, MinusSum(), own, other, dataclasses.replace(few, seed=1), None
    )
    assert again["bits_per_dim"] != record["bits_per_dim"]


class Drawn(nnx.Module):
    """Draws normal numbers times the temperature, plus the context."""

    def __init__(self, context_shape=None, num_levels=None):
        self.event_shape, self.context_shape, self.num_levels = (4,), context_shape, num_levels

    def sample(self, *, seed, sample_shape=(), temperature=1.0, context=None):
        batch = sample_shape if context is None else (*sample_shape, *context.shape[:-1])
        noise = temperature * jax.random.normal(seed, (*batch, 4))
        return noise if context is None else noise + context[..., :1]


def test_draws_take_seed_temperature_and_context():
    one = draw(Drawn(), num=3)
    assert one.shape == (3, 4)
    np.testing.assert_allclose(draw(Drawn(), num=3, temperature=0.5), 0.5 * one, rtol=1e-6)
    assert np.abs(draw(Drawn(), num=3, seed=1) - one).min() > 0
    context = np.arange(5.0, dtype=np.float32)[:, None]
    given = draw(Drawn((1,)), num=5, temperature=0.0, context=context)
    np.testing.assert_allclose(given, context * np.ones((1, 4)))


def test_pictures_of_floats_are_in_the_range_of_the_data():
    """Low is black, also where it is not 0."""
    data = dgm.data.Dataset(
        "a", *[np.array([[2.0, 4.0], [6.0, 3.0]], np.float32)] * 3, image_shape=(1, 2, 1)
    )
    images, maximum = as_picture(data, np.array([[2.0, 6.0], [4.0, 3.0]]))
    np.testing.assert_allclose(images[..., 0], [[[0.0, 1.0]], [[0.5, 0.25]]])
    assert maximum == 1.0
    integers = dataclasses.replace(data, num_levels=7)
    images, maximum = as_picture(integers, np.array([[2, 6]]))
    assert (images.shape, maximum) == ((1, 1, 2, 1), 6)


@pytest.mark.parametrize(("num", "columns"), [(6, 2), (33, 6), (60, 10), (63, 7)])
def test_images_of_a_class_fill_rows_of_at_most_ten(num, columns, monkeypatch):
    """21 images of a class are three rows of seven, 11 two rows of six."""
    asked = []
    monkeypatch.setattr(
        dgm.plots, "image_grid", lambda x, path, **options: asked.append((x, options))
    )
    picture_of_samples(RUN, Drawn((3,)), grey(), None, num=num, conditional=True)
    ((images, options),) = asked
    assert len(images) == num
    assert options["columns"] == columns
    assert options["row_labels"] == ["0", "1", "2"]


def test_about_ten_pictures_are_drawn_along_a_run(monkeypatch, tmp_path):
    steps = []
    monkeypatch.setattr(
        pictures, "picture_of_samples", lambda path, *a, **k: steps.append(path.stem)
    )
    config = load_config("realnvp_digits")
    training = dataclasses.replace(config.training, steps=1_000, eval_every=10)
    config = dataclasses.replace(config, training=training)
    events = types.SimpleNamespace(picture=lambda path, step: None)
    watch = ProgressPictures(config, grey(), None, tmp_path, events)
    for step in range(10, 1_001, 10):
        watch(step, Drawn())
    assert steps == [f"step_{step:06}" for step in range(100, 1_001, 100)]


@pytest.fixture
def asked(monkeypatch):
    """Arguments that `experiments.sample` gives its two functions, by the name of the function."""
    calls = {}
    config = types.SimpleNamespace(name="a", data="grey", conditional=False)
    monkeypatch.setattr(sample, "load_run", lambda run: (config, Drawn(), grey()))

    def drawn(model, **options):
        calls["draw"] = options
        return np.zeros((options["num"], 4))

    monkeypatch.setattr(sample, "draw", drawn)
    monkeypatch.setattr(
        sample, "picture_of_samples", lambda *a, **options: calls.update(picture=options)
    )
    return calls


@pytest.mark.parametrize(("name", "suffix"), [("draw", ".npy"), ("picture", ".png")])
def test_options_of_samples_arrive(name, suffix, asked, tmp_path):
    out = tmp_path / f"s{suffix}"
    sample.sample(sample.Options(RUN, num=7, temperature=(0.7,), seed=5, out=out))
    found = {key: asked[name][key] for key in ("num", "temperature", "seed")}
    assert found == {"num": 7, "temperature": 0.7, "seed": 5}
    sample.sample(sample.Options(RUN, out=out))
    assert asked[name]["num"] == (64 if name == "draw" else None)
    assert asked[name]["temperature"] == 1.0


class Judge(nnx.Module):
    """A classifier of three classes whose logits are all 0 but that of the first pixel."""

    def __init__(self):
        self.event_shape, self.num_levels = (2, 2, 1), 3

    def features(self, x):
        return x.reshape(len(x), -1).astype(jnp.float32)

    def logits(self, x):
        return 9.0 * jax.nn.one_hot(x.reshape(len(x), -1)[:, 0], 3)


def test_samples_are_scored_with_keys_and_contexts_of_their_own(monkeypatch, tmp_path):
    """1,200 samples, 500 at a time; the last 300 of 1,500 fill up a batch."""
    random = np.random.default_rng(0)
    x = [random.integers(0, 3, (n, 4)).astype(np.uint8) for n in (40, 2, 1_030)]
    labels = dict(
        zip(("train", "validation", "test"), (np.arange(len(part)) % 3 for part in x), strict=True)
    )
    labels["test"] = x[2][:, 0].astype(int)
    labels["test"][-30:] = (labels["test"][-30:] + 1) % 3  # wrong in the last batch
    data = dgm.data.Dataset("levels", *x, num_levels=3, image_shape=(2, 2, 1), labels=labels)
    config = types.SimpleNamespace(name="a", data="levels", conditional=True)
    runs = {
        RUN: (config, Drawn((3,)), data),
        pathlib.Path("judge"): (config, Judge(), data.as_images()),
    }
    monkeypatch.setattr(score, "load_run", lambda run: runs[run])
    monkeypatch.setattr(score, "write_json", lambda path, record: None)
    calls, scored = [], []

    def drawn(model, keys, context, temperature):
        calls.append((keys, context, temperature))
        return np.full((len(keys), 4), len(calls) - 1, np.uint8)

    monkeypatch.setattr(score, "_draw", drawn)
    scores = dgm.analysis.sample_scores(Judge(), data.as_images().test, data.as_images().test)
    monkeypatch.setattr(
        dgm.analysis, "sample_scores", lambda judge, a, b, k=3: scored.append((a, b, k)) or scores
    )
    found = score._write_scores(RUN, pathlib.Path("judge"), num=1_200, temperature=0.7, k=5, seed=3)
    keys, contexts, temperatures = zip(*calls, strict=True)
    assert [len(part) for part in keys] == [500, 500, 500]
    keys = np.concatenate([jax.random.key_data(part) for part in keys])[:1_200]
    np.testing.assert_array_equal(keys, jax.random.key_data(example_keys(jax.random.key(3), 1_200)))
    assert set(temperatures) == {0.7}
    context = np.concatenate(contexts)[:1_200]
    np.testing.assert_array_equal(context, np.eye(3)[np.arange(1_200) % 3])
    assert [k for *_, k in scored] == [5, 5, 5]
    images, against, _ = scored[0]
    assert images.shape == (1_200, 2, 2, 1)
    np.testing.assert_array_equal(images[:, 0, 0, 0], np.repeat([0, 1, 2], [500, 500, 200]))
    np.testing.assert_array_equal(scored[1][0], data.as_images().train)
    for _, against, _ in scored:
        np.testing.assert_array_equal(against, data.as_images().test)
    assert found["classifier_accuracy"] == round(1_000 / 1_030, 4)
    assert (found["k"], found["temperature"], found["seed"]) == (5, 0.7, 3)


def test_surgery_is_of_all_data_and_forgets_steps_that_come_again(monkeypatch, tmp_path):
    parts = {
        "elbo": -3.0,
        "reconstruction": -1.0,
        "mutual_information": 0.5,
        "marginal_kl": 1.5,
        "log_n": 2.0,
    }
    calls = []

    def surgery(model, data, key, *, num_codes):
        calls.append((len(data), num_codes, jax.random.key_data(key).tolist()))
        return types.SimpleNamespace(**parts)

    monkeypatch.setattr(dgm.objectives, "elbo_surgery", surgery)
    written = []
    log = SurgeryLog(
        np.zeros((30, 4)),
        tmp_path,
        types.SimpleNamespace(write=written.append),
        seed=0,
        num_codes=20,
    )
    for step in (10, 20, 30, 20):
        log(step, None)
    records = [json.loads(line) for line in (tmp_path / "surgery.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [10, 20]
    assert records[1] == {"step": 20, "split": "surgery", **parts}
    assert written[-1] == records[1]
    assert {call[:2] for call in calls} == {(30, 20)}
    assert len({tuple(call[2]) for call in calls}) == 1


def test_tensorboard_has_numbers_by_split_and_step():
    scalars = []
    writer = types.SimpleNamespace(add_scalar=lambda *arguments: scalars.append(arguments))
    Events(writer).write({"step": 7, "split": "validation", "nats": 1.5, "bound": "exact"})
    assert scalars == [("validation/nats", 1.5, 7)]
    Events(None).write({"step": 7, "split": "train", "nats": math.inf})


def test_samples_to_score_have_a_key_and_a_context_each():
    keys, context = example_keys(jax.random.key(0), 5), np.arange(5.0, dtype=np.float32)[:, None]
    found = score._draw(Drawn((1,)), keys, context, 0.5)
    noise = [0.5 * jax.random.normal(key, (4,)) for key in keys]
    np.testing.assert_allclose(found, np.stack(noise) + context, rtol=1e-6)
    np.testing.assert_allclose(score._draw(Drawn(), keys, None, 0.5), np.stack(noise), rtol=1e-6)
