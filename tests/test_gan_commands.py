"""Commands that train adversarial models, score samples of any model, and draw their figures."""

import json
import math

import numpy as np
import optax
import pytest

from experiments.commands import score, train
from experiments.configs import load_config
from experiments.figures import __main__ as figures
from tests.drawing import drawn

pytestmark = pytest.mark.usefixtures("x32")

CONFIGS = ["gan_digits", "dcgan_digits", "gan_mlp_mnist", "dcgan_mnist"]


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_have_losses_and_optimizers_of_the_same_names(name):
    model = load_config(name).model
    optimizers = model.optimizers(optax.adam(1e-3))
    assert list(model.loss()) == ["generator", "discriminator"] == list(optimizers)
    assert model.validation_loss() is None
    generator, discriminator = model.generator_widths, model.discriminator_widths
    network = "conv" if name.startswith("dcgan") else "mlp"
    assert model.parts(None, None) == {"network": network}
    mirrored = generator[::-1] == discriminator
    assert mirrored == name.startswith("dcgan")
    # The generator of images comes from the coarsest resolution, which has the most channels.
    assert (generator[0] > generator[-1]) == name.startswith("dcgan")


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_a_smoke_run_ends_with_numbers_and_pictures(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no_data"))
    run = tmp_path / "run"
    train.main([name, "--smoke", "--workdir", str(run)])
    result = json.loads((run / "result.json").read_text())
    assert result["selected_on"] is None
    assert result["selected_step"] == result["steps"] == 60
    assert 0 < result["test"]["discriminator_loss"] < 5
    assert 0 <= result["test"]["difference_of_means"] < 1
    assert (run / "curves.png").exists()
    assert (run / "samples" / "final.png").exists()
    assert "log 4 = 1.386 at the equilibrium" in capsys.readouterr().out
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"generator_loss", "discriminator_accuracy", "bound"} <= set(history[-1])


@pytest.mark.slow
def test_samples_of_any_run_are_scored_by_a_classifier(tmp_path, capsys):
    runs = {name: tmp_path / name for name in ("gan_digits", "vae_digits", "resnet_digits")}
    for name, run in runs.items():
        train.main([name, "--smoke", "--workdir", str(run)])
    for name in ("gan_digits", "vae_digits"):
        score.main([str(runs[name]), "--classifier", str(runs["resnet_digits"]), "--num", "600"])
        found = json.loads((runs[name] / "scores.json").read_text())
        assert found["classifier"] == "resnet_digits_smoke"
        assert sum(found["samples"]["counts"]) == found["samples"]["num_samples"] == 600
        # The smoke model is far from the data, which are near themselves.
        assert found["samples"]["frechet_distance"] > found["training_images"]["frechet_distance"]
        assert 0 <= found["samples"]["recall"] <= 1
    assert "training images: accepted" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="holds a GAN, no classifier"):
        score.main([str(runs["vae_digits"]), "--classifier", str(runs["gan_digits"])])


def test_scores_say_what_they_need(tmp_path):
    with pytest.raises(
        SystemExit, match="expected --num >= 2 and --temperature >= 0, got 1 and 1.0"
    ):
        score.main([str(tmp_path), "--num", "1"])
    with pytest.raises(SystemExit, match="error: "):
        score.main([str(tmp_path / "none")])


@pytest.mark.slow
def test_samples_come_to_the_data_and_stay_apart(tmp_path):
    record = drawn(tmp_path, "gan_samples")
    assert record["epochs"] == [0, 1, 2, 30, 60]
    assert record["difference_of_means"][-1] < 0.4 * record["difference_of_means"][0]
    assert record["standard_deviation_over_samples"][-1] > 0.1


@pytest.mark.slow
def test_losses_come_near_their_equilibrium(tmp_path):
    record = drawn(tmp_path, "gan_curves")
    assert record["epochs"][-1] == 60
    assert record["equilibrium"]["discriminator_loss"] == math.log(4)
    assert abs(record["discriminator_loss"][-1] - math.log(4)) < 0.6
    assert 0.4 < record["discriminator_accuracy"][-1] < 1


@pytest.mark.slow
def test_paths_but_the_great_circle_come_near_the_origin(tmp_path):
    squares = drawn(tmp_path, "gan_interpolation")["mean_square_of_latents"]
    assert list(squares) == ["cube", "spherical", "linear"]
    for values in squares.values():
        np.testing.assert_allclose((values[0], values[-1]), 1.0, atol=0.05)
    middle = {kind: values[len(values) // 2] for kind, values in squares.items()}
    np.testing.assert_allclose(middle["linear"], 0.5, atol=0.03)
    np.testing.assert_allclose(middle["cube"], 0.363, atol=0.03)
    assert middle["spherical"] > 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["gan_samples", "--epochs", "20"],
            "expected --epochs >= 38, so that the panels differ, got 20",
        ),
        (["gan_curves", "--data", "two_moons"], "--data two_moons: expected one of digits, mnist"),
    ],
)
def test_bad_figures_say_what_to_do(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        figures.main(options)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_gan_of_digits_comes_to_samples_with_the_moments_of_the_data(tmp_path):
    """A third of the training: pixels have the means and the deviations of the digits, and both parts still play."""
    run = tmp_path / "run"
    train.main(["gan_digits", "--training.steps", "2100", "--workdir", str(run)])
    test = json.loads((run / "result.json").read_text())["test"]
    assert test["difference_of_means"] < 0.06
    assert test["difference_of_deviations"] < 0.06
    assert 0.9 < test["discriminator_loss"] < 1.5
