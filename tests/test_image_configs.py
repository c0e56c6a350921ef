"""Image configs: each trains at its smoke size on real data; Glow's ablation; the optimizers of the papers."""

import json
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.training.inputs import with_data_init
from experiments.commands import ablation, sample, train
from experiments.configs import config_names, load_config
from experiments.run.data import load_data
from experiments.settings.config import AugmentConfig
from experiments.settings.smoke import smoke

pytestmark = pytest.mark.usefixtures("x32")

MODELS = {name: load_config(name).model for name in config_names()}
# Classifiers and adversarial models have other numbers.
IMAGES = sorted(
    name for name, m in MODELS.items() if m.images and m.monitor == "nats" and not m.uses_labels
)
# Trained to its end: the last config of each system; the first step of all is traced.
TRAINED = {type(MODELS[name]): name for name in ["nice_mnist", *IMAGES]}.values()


@pytest.fixture
def nothing_prepared(tmp_path, monkeypatch) -> pathlib.Path:
    """No prepared data sets: the smoke size falls back to the digits."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no_data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGES)
def test_every_config_takes_a_step_at_its_smoke_size(name, nothing_prepared):
    config = smoke(load_config(name))
    assert config.data == "digits"
    dataset = load_data(config)

    def step(x, key):
        model = config.model.build(dataset, nnx.Rngs(0), dequantization=config.dequantization)
        params, fixed, merge = dgm.training.partition(with_data_init(model, {"x": x}, key))
        batch = {"x": x}
        if config.conditional:
            batch["context"] = jnp.zeros((len(x), dataset.num_classes))

        def loss(params):
            return config.model.loss()(merge(params, fixed), batch, key)[0]

        return params, jax.grad(loss)(params)

    params, gradients = jax.eval_shape(step, dataset.train[:4], jax.random.key(0))
    assert params
    assert jax.tree.map(jnp.shape, gradients) == jax.tree.map(jnp.shape, params)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_smoke(name, nothing_prepared, capsys):
    run = nothing_prepared / "run"
    train.main([name, "--smoke", "--workdir", str(run)])
    result = json.loads((run / "result.json").read_text())
    assert result["data"] == "digits"
    assert result["config"] == f"{name}_smoke"
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    nats = [r["nats"] for r in history if r["split"] == "validation"]
    assert result["test"]["nats"] < min(nats) + 20.0
    assert nats[-1] < nats[0]
    assert "its number means nothing" in capsys.readouterr().out
    if name == "glow_natural32":
        picture = nothing_prepared / "levels.png"
        arguments = ["--num", "4", "--temperature", "0.5", "1.0", "--out", str(picture)]
        sample.main([str(run), *arguments])
        assert picture.stat().st_size > 0
        with pytest.raises(SystemExit, match="expected 2 values, one a level, got 3"):
            sample.main([str(run), "--temperature", "0.5", "1.0", "0.7", "--out", str(picture)])


@pytest.mark.slow
def test_the_papers_configs_build_the_papers_models():
    """Sizes of the published models, without their arrays."""
    images = jax.eval_shape(lambda: jnp.zeros((2, 32, 32, 3), jnp.uint8))
    dataset = dgm.data.Dataset("cifar10", *[np.zeros(images.shape, np.uint8)] * 3, num_levels=256,
                               image_shape=(32, 32, 3))  # fmt: skip

    def parameters(name: str) -> int:
        build = load_config(name).model.build
        params, _, _ = dgm.training.partition(jax.eval_shape(lambda: build(dataset, nnx.Rngs(0))))
        return sum(array.size for array in params.values())

    assert abs(parameters("realnvp_cifar10") / 6.4e6 - 1) < 0.01


@pytest.mark.slow
def test_ablation(nothing_prepared, capsys, monkeypatch):
    monkeypatch.setattr(ablation, "COUPLINGS", ("affine",))
    folder = nothing_prepared / "ablation"
    ablation.main(["glow_mnist", "--smoke", "--workdir", str(folder)])
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        f"{coupling}_{mixing}" for coupling in ablation.COUPLINGS for mixing in ablation.MIXINGS
    }
    table = (folder / "ablation.md").read_text()
    assert "| reverse | shuffle | conv1x1 |" in table
    assert table in capsys.readouterr().out
    assert (folder / "ablation.png").stat().st_size > 0
    sizes = {
        name: json.loads((folder / name / "result.json").read_text())["parameters"]
        for name in ("affine_reverse", "affine_shuffle", "affine_conv1x1")
    }
    assert sizes["affine_reverse"] == sizes["affine_shuffle"] < sizes["affine_conv1x1"]


@pytest.mark.slow
def test_the_ablation_of_flowpp_has_equal_sizes():
    table = ablation.variants(load_config("flowpp_digits"))
    columns = ["affine", "affine, no attention", "mixture", "mixture, no attention"]
    assert {row: list(by_column) for row, by_column in table.items()} == {
        "uniform dequantization": columns,
        "variational dequantization": columns,
    }
    dataset = dgm.data.load_dataset("digits").as_images()
    one = table["variational dequantization"]["mixture"]
    assert one.model == load_config("flowpp_digits").model
    assert one.dequantization.kind == "variational"
    sizes = [ablation._num_parameters(c, dataset) for row in table.values() for c in row.values()]
    assert max(sizes) < 1.3 * min(sizes)


def test_the_ablation_is_that_of_two_systems():
    message = "the ablations are those of Glow and Flow\\+\\+, and realnvp_digits is a realnvp"
    with pytest.raises(SystemExit, match=message):
        ablation.main(["realnvp_digits"])


def test_adamax_with_a_constant_rate_is_that_of_optax():
    optimizer = dgm.training.default_optimizer(
        learning_rate=0.1, steps=10, algorithm="adamax", schedule="constant", b2=0.99
    )
    expected = optax.adamax(0.1, b2=0.99)
    params = {"w": jnp.ones((2, 2)), "b": jnp.ones(3)}
    state, expected_state = optimizer.init(params), expected.init(params)
    for step in range(5):
        grads = jax.tree.map(lambda p, step=step: jnp.sin(p + step), params)
        updates, state = optimizer.update(grads, state, params)
        wanted, expected_state = expected.update(grads, expected_state, params)
        chex.assert_trees_all_close(updates, wanted, rtol=1e-6)
    with pytest.raises(ValueError, match="expected an algorithm of .*'adamax'.* got 'lion'"):
        dgm.training.default_optimizer(learning_rate=0.1, steps=10, algorithm="lion")


def test_a_shift_repeats_the_edge():
    image = jnp.arange(1, 10, dtype=jnp.uint8).reshape(1, 3, 3, 1)
    keys = jax.random.split(jax.random.key(0), 32)
    moved = [dgm.data.random_shift(image, key[None], max_shift=1, fill="edge") for key in keys]
    assert all(int(m.min()) > 0 for m in moved)
    assert any(not jnp.array_equal(m, image) for m in moved)


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({"warp": 0.1, "flip": True}, "choose one pair"),
        ({"shift": 0.1, "max_shift": 2}, "one pair"),
    ],
)
def test_augmentations_of_two_kinds(augment, message):
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**augment).build((8, 8, 1))
