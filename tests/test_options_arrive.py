"""Every option of a config changes what is built of it: none is parsed and dropped."""

import dataclasses
import types
import typing

import jax
import numpy as np
import optax
import pytest
from flax import nnx

import dgmjax as dgm
from experiments.configs import load_config
from experiments.run.data import load_data
from experiments.run.runtime import Runtime
from experiments.settings.config import AugmentConfig, OptimizerConfig
from experiments.settings.dequantization import DequantizationConfig
from experiments.settings.smoke import smoke
from experiments.settings.systems import SYSTEMS

pytestmark = pytest.mark.usefixtures("x32")

# What constructors and losses are called with; nothing is built.
RECORDED = (
    "GAN", "Logit", "HistogramGaussianize", "Standardize", "Dequantized", "FlowPPDequantizer", "RealNVP",
    "GaussianNoise", "UniformDequantization", "TruncatedNormalDequantization", "LogitNormalDequantization",
    "VariationalDequantization", "FlowPrior",
)  # fmt: skip
OF_PRIORS = ("GaussianMixture", "VampPrior", "AggregatedPosterior")
# Options that have an effect only beside others.
BESIDE = {
    "prior_components": {"prior": "mixture"},
    "prior_depth": {"prior": "realnvp"},
    "prior_width": {"prior": "maf"},
    "alpha": {"preprocess": "logit"},
    "pseudo_count": {"preprocess": "histogram"},
}


def recorder(name):
    return lambda *args, **kwargs: (name, args, {k: v for k, v in kwargs.items() if k != "rngs"})


@pytest.fixture
def recorded(monkeypatch):
    for name in RECORDED:
        monkeypatch.setattr(dgm, name, recorder(name))
    for name in OF_PRIORS:
        monkeypatch.setattr(dgm.priors, name, recorder(name))
    monkeypatch.setattr(dgm.objectives, "adversarial_losses", recorder("losses"))


def other(annotation, value):
    """A value of the same type that is another one."""
    if typing.get_origin(annotation) is typing.Literal:
        return next(choice for choice in typing.get_args(annotation) if choice != value)
    if isinstance(value, bool):
        return not value
    if value is None:
        kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        plain = {int: 1, float: 0.37, bool: False, str: "gelu"}
        return plain[kinds[0]] if kinds[0] in plain else other(kinds[0], ())
    if isinstance(value, tuple):
        return (*value[:-1], value[-1] + 1) if value else (3,)
    return {int: 3, float: 0.37, str: "gelu"}[type(value)] + (
        value if type(value) is int else type(value)()
    )


def fields_of(cls):
    """Names, types and defaults of the options of a settings class."""
    hints = typing.get_type_hints(cls)
    return {f.name: (hints[f.name], f.default) for f in dataclasses.fields(cls)}


def written(value):
    """Comparable: arrays by their values."""
    return jax.tree.map(lambda leaf: leaf.tolist() if isinstance(leaf, np.ndarray) else leaf, value)


def images():
    x = np.zeros((4, 4, 8, 1), np.uint8)
    labels = {split: np.arange(4) for split in ("train", "validation", "test")}
    return dgm.data.Dataset("images", x, x, x, num_levels=3, image_shape=(4, 8, 1), labels=labels)


def what_is_built(system, **changes):
    settings = SYSTEMS[system](**changes)
    kind = type("Recorded", (type(settings),), {"constructor": staticmethod(recorder("model"))})
    made = kind(**{f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)})
    dataset = images() if made.images else images().flattened()
    built = made.build(dataset, nnx.Rngs(0))
    optimizers = made.optimizers(optax.sgd(1.0))
    if isinstance(optimizers, dict):
        update = {"w": np.ones(1, np.float32)}
        steps = {k: o.update(update, o.init(update), update)[0] for k, o in optimizers.items()}
        optimizers = jax.tree.map(float, jax.tree.map(lambda a: a[0], steps))
    else:
        optimizers = None
    loss = made.loss()
    return written((built, repr(loss) if dataclasses.is_dataclass(loss) else loss, optimizers))


OPTIONS = [
    (system, name)
    for system, cls in SYSTEMS.items()
    for name, (_, default) in fields_of(cls).items()
    if name != "system" and default is not dataclasses.MISSING and default != ()
]


@pytest.mark.parametrize(("system", "name"), OPTIONS)
def test_every_option_of_a_model_changes_the_model_or_its_losses(system, name, recorded):
    annotation, default = fields_of(SYSTEMS[system])[name]
    value = other(annotation, default)
    beside = (
        BESIDE.get(name, {}) if set(BESIDE.get(name, {})) <= set(fields_of(SYSTEMS[system])) else {}
    )
    assert value != default
    assert what_is_built(system, **beside, **{name: value}) != what_is_built(system, **beside)


@pytest.mark.parametrize(
    "preprocess", ["none", "standardize", "logit", "histogram", "shared_histogram"]
)
def test_the_first_layer_is_the_one_of_the_name(preprocess, recorded):
    (_, ((_, _, options), levels, _), _), *_ = what_is_built(
        "realnvp", preprocess=preprocess, alpha=0.2, pseudo_count=3.0
    )
    assert levels == 3
    shared = {"pseudo_count": 3.0, "shared": preprocess == "shared_histogram"}
    assert (
        options["preprocess"]
        == {
            "none": None,
            "standardize": ("Standardize", ((32,),), {}),
            "logit": ("Logit", ((32,), 3.0), {"alpha": 0.2}),
            "histogram": ("HistogramGaussianize", ((32,), 3), shared),
            "shared_histogram": ("HistogramGaussianize", ((32,), 3), shared),
        }[preprocess]
    )


@pytest.mark.parametrize("prior", ["normal", "mixture", "vamp", "realnvp", "maf", "aggregated"])
def test_the_prior_is_the_one_of_the_name(prior, recorded):
    changes = {"latent_dim": 5, "prior_components": 6, "prior_depth": 7, "prior_width": 8}
    (_, _, options), *_ = what_is_built("vae", prior=prior, **changes)
    flow = ("FlowPrior", (5,), {"kind": prior, "depth": 7, "width": 8})
    expected = {
        "normal": None,
        "mixture": ("GaussianMixture", (5, 6), {}),
        "vamp": ("VampPrior", ((32,), 6), {"num_levels": 3}),
        "realnvp": flow,
        "maf": flow,
        "aggregated": ("AggregatedPosterior", (images().flattened().train.tolist(),), {}),
    }
    assert options["prior"] == expected[prior]


def test_a_checkerboard_has_the_sides_of_the_images(recorded):
    """Images are not square: neighbours in rows and in columns differ."""
    (_, ((_, _, options), *_), _), *_ = what_is_built("realnvp", mask="checkerboard")
    mask = np.reshape(options["mask"], (4, 8))
    assert (mask[1:] != mask[:-1]).all()
    assert (mask[:, 1:] != mask[:, :-1]).all()


def test_statistics_of_a_batch_have_no_reversible_stack(recorded):
    for normalization, reversible in (("actnorm", True), ("batch", False)):
        (_, ((_, _, options), *_), _), *_ = what_is_built(
            "realnvp_images", normalization=normalization, reversible=True
        )
        assert options["reversible"] is reversible


DEQUANTIZATION = [
    (name, size) for name in fields_of(DequantizationConfig) for size in ((4, 8, 1), (6,))
]


@pytest.mark.parametrize(("name", "shape"), DEQUANTIZATION)
def test_every_option_of_the_noise_changes_it(name, shape, recorded):
    kind = {"kind": "gaussian"} if name == "scale" else {"kind": "variational"}
    only_images = (
        "num_components", "coupling", "attention", "num_heads", "encoder_width", "encoder_depth", "pattern",
        "remat_blocks",
    )  # fmt: skip
    if name == "kind":
        made = {
            one: DequantizationConfig(kind=one).build(shape, 3, nnx.Rngs(0))
            for one in typing.get_args(fields_of(DequantizationConfig)["kind"][0])
        }
        assert len({repr(value) for value in made.values()}) == 5
        return
    annotation, default = fields_of(DequantizationConfig)[name]
    changed = DequantizationConfig(**kind, **{name: other(annotation, default)})
    same = changed.build(shape, 3, nnx.Rngs(0)) == DequantizationConfig(**kind).build(
        shape, 3, nnx.Rngs(0)
    )
    assert same == (len(shape) == 1 and name in only_images)


def test_augmentation_is_what_was_asked_for():
    shape = (4, 8, 1)
    assert AugmentConfig().build(shape) is None
    assert AugmentConfig(warp=0.3, shift=0.1).build(None) is None
    made = AugmentConfig(warp=0.3, shift=0.1).build(shape)
    assert (made.image_shape, made.warp, made.shift) == (shape, 0.3, 0.1)
    moved = AugmentConfig(flip=True, max_shift=2).build(shape)
    assert (moved.flip, moved.shift, moved.fill) == (True, 2, "edge")
    assert AugmentConfig(max_shift=2).build(shape).flip is False
    with pytest.raises(ValueError, match="choose one pair"):
        AugmentConfig(warp=0.3, flip=True).build(shape)


@pytest.mark.parametrize("name", fields_of(OptimizerConfig))
def test_every_option_of_the_optimizer_changes_its_steps(name):
    """Five steps; the gradients of the last two are above the bound of their norm."""
    defaults = {"learning_rate": 0.1, "warmup_steps": 2, "clip_norm": 1.0}
    beside = {
        "momentum": {"algorithm": "sgd"},
        "milestones": {"schedule": "constant"},
        "decay": {"schedule": "piecewise", "milestones": (3,)},
    }.get(name, {})
    start = dataclasses.asdict(OptimizerConfig(**defaults | beside))
    change = {
        "milestones": {"schedule": "piecewise", "milestones": (3,)},
        "schedule": {"schedule": "constant"},
        "clip_norm": {"clip_norm": None},
    }.get(name)
    annotation, _ = fields_of(OptimizerConfig)[name]
    changed = start | (change or {name: other(annotation, start[name])})

    def taken(settings):
        optimizer = dgm.training.default_optimizer(steps=6, **settings)
        params = {"a/kernel": np.full((2, 2), 2.0, np.float32)}
        state = optimizer.init(params)
        for gradient in (0.1, -0.2, 0.4, 1.0, -2.0):
            grads = {"a/kernel": np.full((2, 2), gradient, np.float32)}
            updates, state = optimizer.update(grads, state, params)
            params = jax.tree.map(lambda a, b: a + b, params, updates)
        return np.asarray(params["a/kernel"])

    assert not np.allclose(taken(changed), taken(start), rtol=1e-4, atol=1e-6)


def test_smoke_sizes_are_never_above_those_of_the_config(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    config = load_config("realnvp_digits")
    small = dataclasses.replace(config, model=dataclasses.replace(config.model, depth=1, width=4))
    found = smoke(small)
    assert (found.model.depth, found.model.width) == (1, 4)
    assert smoke(config).model.depth == 2
    assert smoke(config).model.width == 16
    assert (found.max_rows, found.training.steps, found.training.batch_size) == (512, 60, 16)
    sgd = load_config("revnet_mnist")
    assert sgd.optimizer.algorithm == "sgd"
    # The rate falls with the batch.
    rate = sgd.optimizer.learning_rate * 16 / sgd.training.batch_size
    assert smoke(sgd).optimizer.learning_rate == pytest.approx(rate)
    assert rate < sgd.optimizer.learning_rate


def data_of(**changes):
    return load_data(dataclasses.replace(load_config("realnvp_digits"), **changes))


def test_options_of_the_data_change_them():
    whole = data_of()
    few = data_of(max_rows=7)
    assert [len(few.train), len(few.validation), len(few.test)] == [7, 7, 7]
    np.testing.assert_array_equal(few.test, whole.test[:7])
    binary = data_of(data="digits", binarize=True)
    assert binary.num_levels == 2
    assert set(np.unique(binary.train)) == {0, 1}


def test_devices_are_those_that_divide_a_part_of_a_batch(monkeypatch):
    class Asked(tuple):
        def __new__(cls, *arguments):
            return super().__new__(cls, arguments)

        @staticmethod
        def for_batch(*arguments):
            return types.SimpleNamespace(num_devices=arguments)

    monkeypatch.setattr(dgm.training, "Parallel", Asked)
    assert Runtime().parallel(24, 3) == ("jit", 1, (24, 3))
    assert Runtime(fsdp=4).parallel(24, 1) == ("jit", 4, (24, 1))
    assert Runtime(num_devices=2, strategy="shard_map").parallel(24, 3) == ("shard_map", 1, 2)
