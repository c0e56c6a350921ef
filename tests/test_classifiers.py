"""Classifiers in training: their optimizer, their configs and commands, accuracy on digits."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from experiments.commands import train
from experiments.configs import config_names, load_config
from experiments.figures import reversible_memory
from experiments.settings.classifiers import ClassifierConfig
from experiments.settings.config import OptimizerConfig

pytestmark = pytest.mark.usefixtures("x32")

NAMES = [name for name in config_names() if isinstance(load_config(name).model, ClassifierConfig)]
CIFAR = {
    "revnet38_cifar10": "0.46",
    "resnet32_cifar10": "0.46",
    "revnet110_cifar10": "1.73",
    "revnet164_cifar10": "1.75",
    "irevnet_cifar10": "6.27",
}


def test_sgd_is_that_of_the_papers():
    """v <- momentum v + gradient + decay w for kernels, w <- w - rate v, the rate falling at milestones."""
    optimizer = dgm.training.default_optimizer(
        learning_rate=0.5, steps=6, warmup_steps=2, weight_decay=0.1, algorithm="sgd",
        schedule="piecewise", momentum=0.8, milestones=(3, 5), decay=0.2,
    )  # fmt: skip
    params = {"a/kernel": jnp.asarray([2.0, -1.0]), "a/scale": jnp.ones((1, 2))}
    grads = {"a/kernel": jnp.asarray([0.3, 0.1]), "a/scale": jnp.asarray([[0.2, -0.4]])}
    w, v = ({n: np.asarray(a) for n, a in tree.items()} for tree in (params, params))
    v = {name: np.zeros_like(array) for name, array in w.items()}
    state = optimizer.init(params)
    for rate in (0.0, 0.25, 0.5, 0.1, 0.1, 0.02):
        updates, state = optimizer.update(grads, state, params)
        params = {name: params[name] + updates[name] for name in params}
        for name, decay in (("a/kernel", 0.1), ("a/scale", 0.0)):
            v[name] = 0.8 * v[name] + np.asarray(grads[name]) + decay * w[name]
            w[name] = w[name] - rate * v[name]
            np.testing.assert_allclose(params[name], w[name], rtol=1e-5)


def test_wrong_schedules_say_what_to_do():
    for options in ({"schedule": "piecewise"}, {"milestones": (3,)}):
        with pytest.raises(ValueError, match="milestones are the steps at which the schedule"):
            dgm.training.default_optimizer(learning_rate=1.0, steps=5, **options)
    with pytest.raises(ValueError, match="expected an algorithm of .'adamw', 'adamax', 'sgd'."):
        dgm.training.default_optimizer(learning_rate=1.0, steps=5, algorithm="adam")


@pytest.mark.parametrize(("name", "published"), CIFAR.items())
@pytest.mark.one_in(2)
def test_configs_build_the_networks_of_the_papers(name, published):
    config = load_config(name)
    images = np.zeros((10, 32, 32, 3), np.uint8)
    labels = {split: np.arange(10) for split in ("train", "validation", "test")}
    dataset = dgm.data.Dataset(
        "cifar10", images, images, images, num_levels=256, image_shape=(32, 32, 3), labels=labels
    )
    model = nnx.eval_shape(lambda: config.model.build(dataset, nnx.Rngs(0)))
    number = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert f"{number / 1e6:.2f}" == published
    assert config.optimizer == OptimizerConfig(
        algorithm="sgd", learning_rate=0.1, warmup_steps=0, clip_norm=None, schedule="piecewise",
        weight_decay=5e-4 if name == "irevnet_cifar10" else 2e-4,
        milestones=config.optimizer.milestones, decay=config.optimizer.decay,
    )  # fmt: skip


@pytest.mark.slow
def test_a_classifier_trains_by_the_command(tmp_path, capsys):
    arguments = ["--training.steps", "20", "--training.eval-every", "10", "--max-rows", "200"]
    sizes = ["--model.blocks", "2", "--model.pad-to", "8", "--model.strides", "1"]
    train.main(["irevnet_digits", *arguments, *sizes, "--workdir", str(tmp_path / "run")])
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    test = result["test"]
    assert test["rows"] == 200
    assert abs(test["accuracy"] + test["error_percent"] / 100 - 1) < 1e-4
    assert test["largest_reconstruction_error"] < 1e-3
    assert "% wrong (accuracy " in capsys.readouterr().out
    history = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    validation = [json.loads(line) for line in history if '"validation"' in line]
    assert [set(record) >= {"error", "nats"} for record in validation] == [True, True]
    assert validation[0]["bound"] == "no likelihood"
    before = load_config("irevnet_digits").model.build(
        dgm.data.load_dataset("digits").as_images(), nnx.Rngs(0)
    )
    trained = dgm.load(tmp_path / "run" / "model")
    assert jnp.abs(trained.last_norm.variance[...] - 1.0).min() > 1e-3  # running statistics arrived
    assert before.num_levels == trained.num_levels == 17


@pytest.mark.slow
@pytest.mark.parametrize("name", ["irevnet_cifar10", "resnet32_cifar10", "revnet164_cifar10"])
def test_smoke(name, tmp_path, monkeypatch, capsys):
    """No prepared data sets: the smoke size falls back to the digits."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no_data"))
    train.main([name, "--smoke", "--workdir", str(tmp_path / "run")])
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["config"] == f"{name}_smoke"
    assert result["data"] == "digits"
    assert all(np.isfinite(number) for number in result["test"].values())
    assert "its number means nothing" in capsys.readouterr().out


@pytest.mark.slow
def test_the_memory_figure_shows_a_flat_line(tmp_path):
    record = reversible_memory.draw(
        tmp_path / "memory.png", blocks=(4, 16), side=8, batch_size=64, filters=8
    )
    growth = record["growth"]
    assert growth["RevNet, reversible"] <= 1.3
    assert growth["ResNet with as many convolutions"] > 2.5
    assert growth["the same, activations stored"] > 2.5
    twins = [record["parameters"][name][0] for name in list(growth)[1:]]
    assert abs(twins[0] / twins[1] - 1) < 0.1
    assert json.loads((tmp_path / "memory.json").read_text()) == record


@pytest.mark.slow
@pytest.mark.parametrize("cls", [dgm.RevNet, dgm.PreActResNet, dgm.IRevNet])
def test_classifiers_learn_the_digits(cls):
    dataset = dgm.data.load_dataset("digits").as_images()
    settings = {
        dgm.RevNet: {"filters": (16, 16, 32), "units": (2, 2)},
        dgm.PreActResNet: {"filters": (8, 8, 16), "units": (4, 4)},
        dgm.IRevNet: {"blocks": (2, 3), "strides": (1, 2), "pad_to": 32},
    }[cls]
    steps = 500 if cls is dgm.IRevNet else 300
    model = cls((8, 8, 1), 10, **settings, num_levels=17, rngs=nnx.Rngs(0))
    fitted = dgm.fit(
        model,
        dataset.train,
        context=dataset.labels["train"],
        validation=dataset.validation,
        validation_context=dataset.labels["validation"],
        loss=dgm.objectives.cross_entropy,
        validation_loss=dgm.objectives.classification_errors,
        seed=jax.random.key(0),
        steps=steps,
        batch_size=100,
        eval_every=50,
        optimizer=dgm.training.default_optimizer(
            algorithm="sgd", learning_rate=0.1, steps=steps, warmup_steps=20, weight_decay=5e-4
        ),
        ema_decay=0.0,
        watch=dgm.Watch(progress=False),
    )
    predicted = jax.jit(lambda model, x: model.predict(x))(fitted.model, jnp.asarray(dataset.test))
    assert (np.asarray(predicted) == dataset.labels["test"]).mean() > 0.93
    if cls is dgm.IRevNet:  # trained features are the image too
        x = jnp.asarray(dataset.test[:50])
        back = fitted.model.invert(fitted.model.final_features(x))
        np.testing.assert_allclose(back, x / 16, atol=1e-3)
