"""Tables that commands write of several runs, by hand; what a run asks of `dgmjax.fit`."""

import dataclasses
import json
import types

import jax
import numpy as np
import pytest

import dgmjax as dgm
from experiments.commands import ablation, plane, train, vae_comparison
from experiments.configs import load_config
from experiments.settings.model import ModelConfig

pytestmark = pytest.mark.usefixtures("x32")


def numbers(test_elbo, test_iw=50.0):
    made = dict.fromkeys(vae_comparison._COLUMNS, 1.0) | {"log_n": 3.25, "parameters": 5}
    return made | {"test_elbo": test_elbo, "test_iw": test_iw}


def test_differences_of_priors_are_paired_over_seeds():
    """Differences -1, -2, -6: mean -3, standard deviation sqrt(7), standard error sqrt(7 / 3) = 1.53."""
    rows = {
        "normal": [numbers(90.0), numbers(95.0), numbers(100.0)],
        "maf": [numbers(89.0, 48.0), numbers(93.0, 48.0), numbers(94.0, 48.0)],
    }
    text = vae_comparison.table(rows, 512)
    assert "Means over 3 seeds" in text
    assert "K = 512" in text
    assert "at most 3.25" in text
    *_, first, second = text.splitlines()
    assert first.startswith("| normal | 1.00 | 95.00 | 50.00 | 1.00 | 1.00 | 1.000 | 1 |")
    assert (
        second
        == "| maf | 1.00 | 92.00 | 48.00 | 1.00 | 1.00 | 1.000 | 1 | -3.00 +- 1.53 | -2.00 +- 0.00 |"
    )


def test_a_row_of_the_comparison_is_measured_on_its_splits(monkeypatch):
    data = dgm.data.Dataset("a", *[np.full((n, 2), n) for n in (5, 4, 3)], num_levels=6)
    parts = {"elbo": -7.0, "mutual_information": 0.5, "marginal_kl": 1.5, "log_n": 2.0}
    monkeypatch.setattr(
        dgm.objectives,
        "elbo_surgery",
        lambda m, x, key: types.SimpleNamespace(**parts, rows=len(x)),
    )
    monkeypatch.setattr(dgm.objectives, "hole_mass", lambda model, x, key: len(x) / 100)
    asked = []

    def likelihood(model, x, **options):
        asked.append((len(x), options))
        return types.SimpleNamespace(negative_log_likelihood=6.5)

    monkeypatch.setattr(vae_comparison, "likelihood_on", likelihood)
    result = {"parameters": 9, "test": {"nats": 8.0}, "seconds_of_last_session": 2.0}
    found = vae_comparison.measure(None, data, result, samples=64)
    assert (found["train_elbo"], found["test_elbo"], found["test_iw"]) == (7.0, 8.0, 6.5)
    assert found["hole_mass"] == 0.05
    ((rows, options),) = asked
    assert rows == 3
    assert (options["num_samples"], options["draws"]) == (64, 1)


def test_the_comparison_trains_every_row_with_every_seed(monkeypatch, tmp_path):
    trained = []
    monkeypatch.setattr(
        vae_comparison, "train", lambda config, options, workdir: trained.append(config)
    )
    monkeypatch.setattr(dgm, "load", lambda path: None)
    monkeypatch.setattr(vae_comparison, "measure", lambda *a, samples: {"samples": samples})
    monkeypatch.setattr(jax, "clear_caches", lambda: None)
    options = vae_comparison.Options(
        load_config("vae_digits"), seeds=2, samples=7, only=("normal", "maf")
    )
    rows = vae_comparison.compare("priors", options, tmp_path)
    assert rows == {"normal": [{"samples": 7}] * 2, "maf": [{"samples": 7}] * 2}
    assert [(one.model.prior, one.seed) for one in trained] == [
        ("normal", 0), ("normal", 1), ("maf", 0), ("maf", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("target", "width"), [(10, 4), (36, 12), (44, 12), (57, 16), (1_000, 32)])
def test_widths_of_an_ablation_are_those_of_the_nearest_size(target, width, monkeypatch):
    """Sizes are 10, 20, 40, 60, ... at widths of 4, 8, 12, 16, ...: below and above are both looked at."""
    config = load_config("flowpp_digits")
    model = dataclasses.replace(config.model, width=16, num_heads=4)
    sizes = {4: 10, 8: 20, 12: 40, 16: 60, 20: 80, 24: 100, 28: 120, 32: 140}
    monkeypatch.setattr(ablation, "_num_parameters", lambda one, dataset: sizes[one.model.width])
    found = ablation._equalized(dataclasses.replace(config, model=model), target, None)
    assert found.model.width == width


def test_the_variants_of_an_ablation_have_its_size(monkeypatch):
    config = load_config("flowpp_digits")

    def size(one, dataset):
        return one.model.width * (2 if one.model.coupling == "affine" else 4)

    monkeypatch.setattr(ablation, "_num_parameters", size)
    found = [one for row in ablation.variants(config).values() for one in row.values()]
    target = size(config, None)
    assert {size(one, None) for one in found} == {target}
    assert {one.dequantization.kind for one in found} == {"uniform", "variational"}
    assert len({one.name for one in found}) == 8


def test_the_table_and_the_curves_of_an_ablation(tmp_path):
    result = {
        "test": {"bits_per_dim": 1.25},
        "validation": {"bits_per_dim": 1.5},
        "parameters": 1_234,
    }
    text = ablation._table({"row": {"a": result, "b": result}}, "exact")
    assert "| row | 1.250 (1,234) | 1.250 (1,234) |" in text
    records = [
        {"step": step, "split": split, "bits_per_dim": step / 100 + (split == "train")}
        for step in (10, 20)
        for split in ("train", "validation")
    ]
    lines = [*records, {"step": 20, "split": "validation", "seconds": 1.0}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert ablation._validation(tmp_path) == ([10, 20], [0.1, 0.2])


def test_the_table_of_the_plane_has_test_numbers():
    system, toy = plane.SYSTEMS[1], plane.TOYS[2]
    result = {"test": {"nats": 2.5, "nats_of_the_true_density": 2.25}, "validation": {"nats": 9.0}}
    rows = [f"| system | {toy} |", "|---|---|", "| true density | 2.25 |", f"| {system} | 2.50 |"]
    assert plane._table({(system, toy): result}).splitlines()[2:] == rows


@pytest.fixture
def fitted(monkeypatch, tmp_path):
    """Calls of `dgmjax.fit` that train nothing, and of the measurement afterwards."""
    calls, measured = [], []

    def fit(model, x, **options):
        calls.append((model, x, options))
        return dgm.FitResult(model, [], 3, 9)

    def measure(self, model, x, context, *, seed):
        measured.append((np.asarray(x), context, seed))
        return {"nats": float(len(measured))}

    monkeypatch.setattr(dgm, "fit", fit)
    monkeypatch.setattr(dgm, "save", lambda *arguments: None)
    monkeypatch.setattr(train, "write_pictures", lambda *arguments: None)

    def command(name, **changes):
        config = load_config(name)
        sizes = {
            "depth": 2,
            "width": 4,
            "filters": (4, 4),
            "units": (2,),
            "generator_widths": (4, 8),
        }
        mine = {size: value for size, value in sizes.items() if hasattr(config.model, size)}
        model = dataclasses.replace(config.model, **mine)
        monkeypatch.setattr(type(model), "measure", measure)
        monkeypatch.setattr(type(model), "monitor", "the_monitor")
        config = dataclasses.replace(config, model=model, **changes)
        measured.clear()
        result = train.train(config, workdir=tmp_path / f"{name}_{len(calls)}")
        return *calls[-1], list(measured), result

    return command


def same(found, expected):
    assert (found is None) == (expected is None)
    if expected is not None:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("name", "labelled"),
    [("realnvp_digits", False), ("realnvp_digits", True), ("resnet_digits", True)],
)
def test_a_run_trains_selects_and_tests_on_three_splits(name, labelled, fitted):
    classifier = name == "resnet_digits"
    _, x, options, measured, result = fitted(name, conditional=labelled and not classifier, seed=3)
    config, data = load_config(name), dgm.data.load_dataset("digits")
    shape = (-1, 8, 8, 1) if classifier else (-1, 64)
    contexts = {s: data.contexts(s) if labelled else None for s in ("train", "validation", "test")}
    np.testing.assert_array_equal(x, data.train.reshape(shape))
    same(options["context"], contexts["train"])
    np.testing.assert_array_equal(options["validation"], data.validation.reshape(shape))
    same(options["validation_context"], contexts["validation"])
    assert options["monitor"] == "the_monitor"
    assert options["validation_loss"] is config.model.validation_loss()
    assert jax.random.key_data(options["seed"]).tolist() == [0, 3]
    assert options["augment"] == config.augment.build(data.image_shape)
    training = dataclasses.asdict(config.training)
    given = options | vars(options["execution"])
    assert {key: given[key] for key in training} == training
    for (rows, context, seed), split in zip(measured, ("validation", "test"), strict=True):
        np.testing.assert_array_equal(rows, getattr(data, split).reshape(shape))
        same(context, contexts[split])
        assert seed == 3
    assert (result["validation"], result["test"]) == ({"nats": 1.0}, {"nats": 2.0})
    assert (result["selected_step"], result["steps"]) == (3, 9)


def test_a_game_selects_nothing_and_has_its_own_losses(fitted):
    _, _, options, _, result = fitted("gan_digits")
    assert options["patience"] is None
    assert "validation" not in options
    assert set(options["loss"]) == set(options["optimizer"]) == {"generator", "discriminator"}
    assert result["selected_on"] is None


def test_the_seed_of_a_run_is_that_of_its_weights(fitted):
    models = [fitted("realnvp_digits", seed=seed)[0] for seed in (0, 0, 1)]
    first, same_seed, other = (
        np.concatenate([np.ravel(a) for a in dgm.training.partition(model)[0].values()])
        for model in models
    )
    np.testing.assert_array_equal(first, same_seed)
    assert not np.array_equal(first, other)


def test_the_seed_of_a_measurement_reaches_the_likelihood(monkeypatch):
    asked = []

    def likelihood(model, x, context, *, seed):
        asked.append(seed)
        return dgm.LogLikelihood(np.zeros(3), dgm.densities.EXACT, 2, discrete=True)

    monkeypatch.setattr("experiments.settings.model.likelihood_on", likelihood)
    ModelConfig.measure(load_config("realnvp_digits").model, None, np.zeros((3, 2)), None, seed=5)
    assert asked == [5]
