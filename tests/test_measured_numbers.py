"""Numbers of a trained model, on models that are known by hand: no training, more rows than a batch has."""

import csv
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
from dgmjax.numerics import prng
from experiments.commands import evaluate
from experiments.run import results
from experiments.settings import gans
from experiments.settings.classifiers import IRevNetConfig, PreActResNetConfig
from experiments.settings.gans import GANConfig
from experiments.settings.measured_likelihood import (
    NOISE_DRAWS,
    as_record,
    likelihood_on,
    log_marginal,
    plus_minus,
)
from experiments.settings.vector_flows import RealNVPConfig

pytestmark = pytest.mark.usefixtures("x32")

ROWS = 1_030  # two chunks of 512 and six rows, or one of 1,000 and thirty


class Logits(nnx.Module):
    """Its events are the logits of two classes, and what it reconstructs of them is off by their third element."""

    def logits(self, x):
        return x[:, :2]

    def scaled(self, x):
        return x

    def final_features(self, x):
        return x

    def invert(self, features):
        return features + features[:, 2:] * jnp.ones((1, 3))


def labelled_logits(rows, wrong):
    """Class 0 everywhere; the rows of ``wrong`` say 1, and the first of them is off by 0.25 in its reconstruction."""
    x = np.zeros((rows, 3), np.float32)
    x[:, 0] = math.log(3.0)
    x[wrong, :2] = 0.0, math.log(3.0)
    x[wrong[0], 2] = 0.25
    return x, np.tile(np.array([[1.0, 0.0]], np.float32), (rows, 1))


def test_the_standard_error_of_a_share_has_the_root_of_all_rows():
    """10 of 100 are wrong: 10 % +- 100 sqrt(0.1 0.9 / 100) = 3 %."""
    x, context = labelled_logits(100, np.arange(0, 100, 10))
    found = PreActResNetConfig().measure(Logits(), x, context, seed=0)
    assert (found["error_percent"], found["standard_error_percent"]) == (10.0, 3.0)
    assert (found["accuracy"], found["rows"]) == (0.9, 100)
    # A right row has probability 3/4, a wrong one 1/4.
    nats = -(0.9 * math.log(0.75) + 0.1 * math.log(0.25))
    assert found["nats"] == pytest.approx(nats, abs=1e-6)
    said = PreActResNetConfig().headline(found)
    assert said == f"10.00 +- 3.00 % wrong (accuracy 90.00 %), cross-entropy {nats:.4f} nats"
    one = PreActResNetConfig().measure(Logits(), x[:1], context[:1], seed=0)
    assert one["standard_error_percent"] is None
    assert " +- " not in PreActResNetConfig().headline(one)


@pytest.mark.parametrize("place", [0, 1_010])
def test_every_row_of_a_classifier_counts_once_and_with_its_own_label(place):
    """20 of 1,030 rows are wrong, in the first batch of 1,000 or in the last of 30."""
    wrong = np.arange(place, place + 20)
    x, context = labelled_logits(ROWS, wrong)
    found = IRevNetConfig().measure(Logits(), x, context, seed=0)
    assert found["error_percent"] == round(2_000 / ROWS, 4)
    assert found["accuracy"] == round(1_010 / ROWS, 6)
    nats = -(1_010 * math.log(0.75) + 20 * math.log(0.25)) / ROWS
    assert found["nats"] == pytest.approx(nats, abs=1e-6)
    assert found["largest_reconstruction_error"] == 0.25
    # The other class in all labels of the second batch: what was wrong there is right, and the reverse.
    context[1_000:] = context[1_000:, ::-1]
    other = IRevNetConfig().measure(Logits(), x, context, seed=0)
    assert other["error_percent"] == round(100 * (50 if place == 0 else 10) / ROWS, 4)


def test_validation_of_classifiers_is_without_statistics_of_the_batch():
    config = PreActResNetConfig()
    assert config.validation_loss() is dgm.objectives.classification_errors
    assert config.loss() is dgm.objectives.cross_entropy


class Shifted(nnx.Module):
    """``log p(x | c) = -x c``, plus a normal number of every row and draw where it is ``noisy``."""

    def __init__(self, *, noisy=False):
        self.event_shape, self.context_shape, self.noisy = (2, 3), (1,), noisy

    def bound(self, num_samples=1):
        return (
            dgm.densities.Bound("lower bound", num_samples, "test")
            if self.noisy
            else dgm.densities.EXACT
        )

    def log_prob(self, x, context=None, *, seed=None, num_samples=1):
        value = -x[:, 0, 0] * (1.0 if context is None else context[..., 0])
        if self.noisy:
            noise = prng.draw(jax.random.normal, seed, value.shape)
            value = value + noise + 1_000.0 * (num_samples - 1)
        return value


def numbered(rows=ROWS):
    x = np.zeros((rows, 2, 3), np.float32)
    x[:, 0, 0] = np.arange(rows)
    return x


def test_every_row_is_given_its_own_context():
    context = 1.0 + np.arange(ROWS, dtype=np.float32)[:, None]
    found = likelihood_on(Shifted(), numbered(), context, seed=0)
    np.testing.assert_array_equal(found.log_prob, -np.arange(ROWS) * context[:, 0])
    assert (found.event_size, str(found.bound)) == (6, "exact")


def test_a_noisy_bound_is_the_mean_over_independent_draws():
    """The variance of a row is 1/16; other rows, batches and seeds have other noise."""
    x = np.zeros((ROWS, 2, 3), np.float32)
    found = np.asarray(likelihood_on(Shifted(noisy=True), x, seed=0).log_prob)
    assert NOISE_DRAWS == 16
    # The standard error of a variance of 1,030 normal rows is sqrt(2 / 1,030) = 4.4 % of it.
    assert found.var() == pytest.approx(1 / 16, rel=0.2)
    assert len(np.unique(found)) == ROWS
    assert abs(np.corrcoef(found[:512], found[512:1024])[0, 1]) < 0.2
    other = np.asarray(likelihood_on(Shifted(noisy=True), x, seed=1).log_prob)
    assert abs(np.corrcoef(found, other)[0, 1]) < 0.2
    one = np.asarray(likelihood_on(Shifted(noisy=True), x, seed=0, draws=1).log_prob)
    assert one.var() == pytest.approx(1.0, rel=0.2)


def test_importance_samples_reach_the_model():
    x = np.zeros((3, 2, 3), np.float32)
    found = likelihood_on(Shifted(noisy=True), x, seed=0, num_samples=3, draws=1)
    np.testing.assert_allclose(found.log_prob, 2_000.0, atol=5)
    assert found.bound.num_samples == 3
    mixture = np.ones((2, 1), np.float32), np.log([0.5, 0.5])
    found = likelihood_on(Shifted(noisy=True), x, seed=0, num_samples=3, draws=1, mixture=mixture)
    np.testing.assert_allclose(found.log_prob, 2_000.0, atol=5)


def test_a_marginal_likelihood_has_the_weights_of_its_conditions():
    x, weights = numbered(4), np.array([0.7, 0.2, 0.1])
    contexts = np.array([[0.5], [1.0], [2.0]], np.float32)
    expected = np.log((weights[:, None] * np.exp(-contexts * np.arange(4))).sum(0))
    found = log_marginal(Shifted(), jnp.asarray(x), contexts, np.log(weights))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    found = likelihood_on(Shifted(), x, seed=0, mixture=(contexts, np.log(weights)))
    np.testing.assert_allclose(found.log_prob, expected, rtol=1e-6, atol=1e-6)


def test_a_record_of_a_likelihood_by_hand():
    values = jnp.asarray([-1.0, -3.0, -5.0])
    exact = as_record(dgm.LogLikelihood(values, dgm.densities.EXACT, 2, discrete=True), draws=16)
    # The standard error is sqrt(8 / 3 / 3), 3 nats are 3 / (2 ln 2) bits a dimension.
    assert exact == {
        "nats": 3.0, "standard_error_nats": 0.9428, "bits_per_dim": 2.16404, "bound": "exact", "rows": 3,
    }  # fmt: skip
    noisy = dgm.densities.Bound("lower bound", 1, "test")
    assert (
        as_record(dgm.LogLikelihood(values, noisy, 2, discrete=True), draws=16)["noise_draws"] == 16
    )
    said = RealNVPConfig().headline(exact)
    assert said == "log-likelihood -3.00 +- 0.94 nats (2.164 bits/dim), exact"
    one = as_record(dgm.LogLikelihood(values[:1], dgm.densities.EXACT, 2, discrete=False), draws=16)
    assert "bits_per_dim" not in one
    assert RealNVPConfig().headline(one) == "log-likelihood -1.00 nats, exact"
    assert one["standard_error_nats"] is None
    assert plus_minus(None) == ""
    assert plus_minus(0.0) == " +- 0.00"
    assert plus_minus(0.456) == " +- 0.46"


def splits(**values):
    """A data set whose three splits hold different numbers."""
    x = {name: numbered(rows) for name, rows in (("train", 5), ("validation", 4), ("test", 3))}
    labels = {name: np.full((len(part), 1), values.get(name, 1.0)) for name, part in x.items()}
    return dgm.data.Dataset("numbers", **x, labels=labels)


def options(**changes):
    return evaluate.Options(pathlib.Path("run"), **changes)


@pytest.mark.parametrize(("split", "rows"), [("train", 5), ("validation", 4), ("test", 3)])
def test_evaluation_is_of_the_split_with_its_contexts(split, rows):
    config = types.SimpleNamespace(model=RealNVPConfig(), conditional=True)
    dataset = splits(train=2.0, validation=3.0, test=4.0)
    record, said, likelihood = evaluate.measure(config, Shifted(), dataset, options(split=split))
    factor = {"train": 2.0, "validation": 3.0, "test": 4.0}[split]
    np.testing.assert_array_equal(likelihood.log_prob, -factor * np.arange(rows))
    assert record["rows"] == rows
    assert f"{factor * (rows - 1) / 2:.2f} +- " in said


def test_evaluation_takes_its_seed_and_averages_bounds_of_one_sample_only():
    config = types.SimpleNamespace(model=RealNVPConfig(), conditional=False)
    model = Shifted(noisy=True)

    def found(**changes):
        record, _, likelihood = evaluate.measure(config, model, splits(), options(**changes))
        return record, np.asarray(likelihood.log_prob)

    record, values = found()
    assert record["noise_draws"] == NOISE_DRAWS
    expected = likelihood_on(model, splits().test, seed=0).log_prob
    np.testing.assert_array_equal(values, expected)
    assert not np.array_equal(values, found(seed=1)[1])
    record, many = found(importance_samples=4)
    assert record["noise_draws"] == 1
    assert "K=4" in record["bound"]
    np.testing.assert_allclose(many + np.arange(3), 3_000.0, atol=5)


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_rows_are_written_in_their_order(suffix, tmp_path):
    values = np.array([-2.0, -1.0, -3.0])
    path = tmp_path / f"rows{suffix}"
    likelihood = dgm.LogLikelihood(jnp.asarray(values), dgm.densities.EXACT, 2, discrete=False)
    evaluate.write_rows(path, likelihood, {"rows": 3})
    if suffix == ".npy":
        np.testing.assert_array_equal(np.load(path), values)
    else:
        rows = list(csv.reader(path.read_text().splitlines()))[1:]
        assert [(int(i), float(value)) for i, value in rows] == [(0, -2.0), (1, -1.0), (2, -3.0)]
    assert json.loads(path.with_suffix(".json").read_text()) == {"unit": "nats", "rows": 3}


class Judge(nnx.Module):
    """A GAN whose samples are uniform and whose discriminator's logit is the first element."""

    num_levels = 3

    def scaled(self, x):
        return x

    def sample(self, *, seed):
        return jax.random.uniform(seed, (2,))

    def discriminate(self, x):
        return x[:, 0] - 0.25


def test_numbers_of_a_game_by_hand(monkeypatch):
    """Real rows have the logits -1 and 2, samples -0.25 to 0.75; of 1,002 rows in three batches."""
    fakes = []
    look = gans._look

    def spy(*arguments):
        found = look(*arguments)
        fakes.append(np.asarray(found[1], np.float64))
        return found

    monkeypatch.setattr(gans, "_look", spy)
    x = np.zeros((1_002, 2), np.float32)
    x[:, 0] = np.where(np.arange(1_002) < 334, -0.75, 2.25)
    found = GANConfig().measure(Judge(), x, None, seed=3)
    assert [len(part) for part in fakes] == [500, 500, 500]
    fake = np.concatenate(fakes)[:1_002]
    assert len(np.unique(fake[:, 0])) == len(fake)  # no row has the noise of another
    logit = fake[:, 0] - 0.25
    real = (np.log1p(np.exp(1.0)) + 2 * np.log1p(np.exp(-2.0))) / 3
    loss = real + np.log1p(np.exp(logit)).mean()
    assert found["discriminator_loss"] == pytest.approx(loss, abs=1e-4)
    assert found["generator_loss"] == pytest.approx(np.log1p(np.exp(-logit)).mean(), abs=1e-4)
    accuracy = (2 / 3 + (logit < 0).mean()) / 2
    assert found["accuracy"] == pytest.approx(accuracy, abs=1e-4)
    # In units of the range [-1, 1] of scaled integers.
    means = np.abs(x.mean(0) - fake.mean(0)).mean() / 2
    deviations = np.abs(x.std(0) - fake.std(0)).mean() / 2
    assert found["difference_of_means"] == pytest.approx(means, abs=1e-4)
    assert found["difference_of_deviations"] == pytest.approx(deviations, abs=1e-4)
    other = GANConfig().measure(Judge(), x, None, seed=4)
    assert other["generator_loss"] != found["generator_loss"]


def test_a_result_has_the_numbers_of_each_split_and_the_step_that_was_chosen(tmp_path):
    config = types.SimpleNamespace(
        name="a", data="two_moons", model=RealNVPConfig(), seed=0, conditional=False
    )
    test = np.array([[0.0, 0.0], [1.0, 2.0]], np.float32)
    dataset = dgm.data.Dataset("two_moons", test, test, test)
    truth = types.SimpleNamespace(log_prob=lambda x: -x.sum(-1))
    fitted = types.SimpleNamespace(model=dgm.Flow(dgm.DiagonalLinear((2,))), best_step=3, steps=9)
    numbers = {"test": {"nats": 1.0}, "validation": {"nats": 2.0}}
    found = results.write_result(tmp_path, config, dataset, truth, fitted, numbers, seconds=1.25)
    assert found == json.loads((tmp_path / "result.json").read_text())
    assert found["test"] == {"nats": 1.0, "nats_of_the_true_density": 1.5}
    assert found["validation"] == {"nats": 2.0}
    assert (found["selected_step"], found["steps"]) == (3, 9)
    assert found["selected_on"] == "validation"
