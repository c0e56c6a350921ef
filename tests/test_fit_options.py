"""What `fit` can be asked for changes how a run is done, not what it computes."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax import training

pytestmark = pytest.mark.usefixtures("x32")
SEED = jax.random.key(0)
DATA = np.random.RandomState(0).normal(size=(300, 4)).astype(np.float32)
IMAGES = np.random.RandomState(1).randint(0, 256, (120, 4, 4, 1)).astype(np.uint8)
CLASSES = np.random.RandomState(2).randint(0, 3, 300)


def flow(**options) -> dgm.RealNVP:
    return dgm.RealNVP((4,), depth=2, width=16, dropout=0.3, rngs=nnx.Rngs(0), **options)


def fit(model=None, x=DATA, **options) -> dgm.FitResult:
    defaults = {"steps": 12, "eval_every": 6, "batch_size": 48, "validation": DATA[:50]}
    options = {"optimizer": optax.sgd(1e-2, momentum=0.9), **defaults, **options}
    return dgm.fit(flow() if model is None else model, x, seed=SEED, **options)


@pytest.fixture(scope="module")
def plain(x32) -> dgm.FitResult:
    del x32
    return fit()


class Rows:
    """Records in memory."""

    def __init__(self, x, **more):
        self.arrays = {"x": x} | more

    def __len__(self):
        return len(self.arrays["x"])

    def __getitem__(self, rows):
        return {name: array[rows] for name, array in self.arrays.items()}


SAME = {
    "gradient accumulation": {"execution": dgm.Execution(accumulate=4)},
    "several steps a call": {"execution": dgm.Execution(steps_per_call=3)},
    "rows on the device": {"execution": dgm.Execution(on_device=True)},
    "rows on the device, several steps a call": {
        "execution": dgm.Execution(on_device=True, steps_per_call=6)
    },
    "records": {"x": Rows(DATA), "validation": Rows(DATA[:50])},
    "looking at every step": {"watch": dgm.Watch(debug_nans=True)},
}


@pytest.mark.parametrize("name", SAME)
def test_the_result_is_the_same(name, plain):
    result = fit(**SAME[name])
    chex.assert_trees_all_close(result.model, plain.model, rtol=2e-5, atol=2e-6)
    assert result.best_step == plain.best_step
    for ours, theirs in zip(result.history, plain.history, strict=True):
        assert ours["step"] == theirs["step"]
        for metric in ("nats", "loss", "bits_per_dim", "grad_norm", "update_norm", "param_norm"):
            if metric in theirs:
                assert math.isclose(ours[metric], theirs[metric], rel_tol=1e-4), metric
        assert math.isclose(ours["nats"], theirs["nats"], rel_tol=1e-5)


def test_accumulation_needs_the_memory_of_a_part():
    working = {}
    for parts in (1, 8):
        fit(
            dgm.RealNVP((4,), depth=8, width=64, rngs=nnx.Rngs(0)),
            np.repeat(DATA, 4, 0),
            batch_size=1024,
            steps=1,
            eval_every=1,
            execution=dgm.Execution(accumulate=parts),
            watch=dgm.Watch(
                on_compile=lambda program, parts=parts: working.update(
                    {parts: program.working_bytes}
                )
            ),
        )
    assert working[8] < 0.4 * working[1], working


def test_the_whole_state_is_donated():
    """The compiler writes the new state over the old one: not a byte of it is held twice."""
    params, fixed, merge = training.partition(flow())
    optimizer = optax.adam(1e-3)
    loss = dgm.objectives.maximum_likelihood
    step = training.make_train_step(loss, merge, optimizer, key=SEED, ema_decay=0.9)
    state = training.init_state(params, fixed, optimizer)
    compiled = step.lower(state, {"x": DATA[:8]}).compile()
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    assert compiled.memory_analysis().alias_size_in_bytes == held


def test_records_of_the_run_say_how_much_is_computed():
    programs = []
    result = fit(watch=dgm.Watch(on_compile=programs.append))
    flops = programs[0].flops
    # 2 couplings, 3 products each (2 -> 16 -> 16 -> 4), forward and twice that backward; but for the first input.
    products = 48 * 2 * (2 * 16 + 16 * 16 + 16 * 4)
    assert 2 * 2 * products < flops <= 3 * 2 * products
    record = result.history[0]
    rounding = 0.006 * flops  # of steps_per_second
    assert math.isclose(
        record["flops_per_second"], flops * record["steps_per_second"], abs_tol=rounding
    )
    assert programs[0].state_bytes > 0
    fit(execution=dgm.Execution(steps_per_call=3), watch=dgm.Watch(on_compile=programs.append))
    assert programs[1].flops == flops, "of one step"


def test_a_transform_makes_the_events_and_validation_sees_it_too():
    """Dynamic binarisation: 256 levels in memory, 2 in the model."""
    transform = dgm.data.ImageTransform(binarize=True)
    seen = []

    def loss(model, batch, key):
        seen.append(batch["x"].shape)
        nats = -model.log_prob(batch["x"], seed=key)
        ones = (batch["x"].sum(), jnp.asarray(batch["x"].size, jnp.int32))
        large = (jnp.sum(batch["x"] > 1), ones[1])
        count = jnp.asarray(nats.size, nats.dtype)
        metrics = {"nats": (nats.sum(), count), "ones": ones, "large": large}
        return nats.mean(), {k: tuple(v.astype(jnp.float32) for v in p) for k, p in metrics.items()}

    def flat(x, keys):
        return transform(x, keys).reshape(len(x), 16)

    model = dgm.Dequantized(
        dgm.RealNVP((16,), depth=2, width=8, preprocess=dgm.Standardize((16,)), rngs=nnx.Rngs(0)), 2
    )
    result = fit(
        model, IMAGES, validation=IMAGES[:40], batch_size=40, transform=flat, loss=loss,
        validation_loss=loss,
    )  # fmt: skip
    assert set(seen) == {(40, 16)}
    expected = IMAGES.mean() / 255
    for record in result.history:
        assert record["large"] == 0.0
        assert abs(record["ones"] - expected) < 0.1
    mean = result.model.density.bijector.layers[0].mean[...]
    np.testing.assert_allclose(mean, expected + 0.5, atol=0.2)


def test_augmentation_comes_before_the_transform_and_in_training_only():
    """Rows of zeros: 1 more in training, then doubled with a column of 3 by the transform; noise has three keys."""

    def noise(keys):
        return jax.vmap(lambda key: jax.random.uniform(key, (), jnp.float32))(keys)

    def augment(x, keys):
        assert x.shape[1:] == (1,)
        return x + 1.0 + 0.1 * noise(keys)[:, None]

    def transform(x, keys):
        assert x.shape[1:] == (1,)
        return jnp.concatenate([2.0 * x, 3.0 + noise(keys)[:, None]], 1)

    def loss(model, batch, key):
        del model
        x, count = batch["x"], jnp.asarray(len(batch["x"]), jnp.float32)
        own = [noise(part) for part in (key, *dgm.numerics.prng.split(key))]
        seen = jnp.stack([(x[:, 0] / 2.0 - 1.0) / 0.1, x[:, 1] - 3.0, *own])
        same = jnp.abs(seen[:, None] - seen[None]) < 1e-4
        values = {"nats": x[:, 0], "second": x[:, 1], "same": same.sum((0, 1)).astype(x.dtype)}
        return x.sum(), {name: (value.sum(), count) for name, value in values.items()}

    model = dgm.Flow(dgm.DiagonalLinear((2,)))
    result = fit(
        model, np.zeros((96, 1), np.float32), validation=np.zeros((50, 1), np.float32), steps=1,
        eval_every=1, augment=augment, transform=transform, loss=loss, validation_loss=loss,
        optimizer=optax.sgd(0.0),
    )  # fmt: skip
    train, validation = result.history
    assert 2.05 < train["nats"] < 2.15
    assert validation["nats"] == 0.0
    assert 3.2 < train["second"] < 3.8
    assert 3.2 < validation["second"] < 3.8
    assert train["same"] < 5.1, "five numbers of a row, each equal to itself"


def test_every_row_has_noise_of_its_own_where_layers_are_set_from_data():
    """A transform that adds noise of deviation 3 to rows of zeros."""

    def transform(x, keys):
        return x + 3.0 * jax.vmap(lambda key: jax.random.normal(key, (4,), jnp.float32))(keys)

    model = flow(preprocess=dgm.Standardize((4,)))
    x = np.zeros((300, 4), np.float32)
    result = fit(model, x, validation=None, transform=transform, steps=1, eval_every=1)
    scale = np.exp(result.model.bijector.layers[0].log_std[...])
    np.testing.assert_allclose(scale, 3.0, rtol=0.2)


@pytest.mark.parametrize("noisy", [False, True])
def test_layers_that_are_set_from_data_see_contexts_and_have_a_seed_for_noise(noisy):
    class Model(nnx.Module):
        event_shape, context_shape = (4,), (3,)

        def bound(self, num_samples):
            return dgm.densities.Bound("lower bound" if noisy else "exact", num_samples)

        def with_data_init(self, x, context=None, *, seed=None):
            return x, context, seed

    batch = {"x": DATA, "context": CLASSES}
    x, context, seed = training.inputs.with_data_init(Model(), batch, SEED)
    np.testing.assert_array_equal(x, DATA)
    np.testing.assert_array_equal(context, np.eye(3)[CLASSES])
    assert (seed is not None) == noisy


def test_classes_are_one_hot_contexts():
    def trained(context):
        model = flow(context_shape=(3,))
        return fit(model, context=context, validation_context=context[:50]).model

    one_hot = np.eye(3, dtype=np.float32)[CLASSES]
    chex.assert_trees_all_equal(trained(CLASSES), trained(one_hot))
    records = Rows(DATA, context=CLASSES)
    streamed = fit(flow(context_shape=(3,)), records, validation=Rows(DATA[:50], context=CLASSES))
    chex.assert_trees_all_close(streamed.model, trained(one_hot), rtol=2e-5, atol=2e-6)


def test_a_class_that_does_not_exist_is_nan_and_not_another_one():
    """Records are read as they come; what the first rows did not show is a skipped step, and named."""
    context = CLASSES.copy()
    context[100:] = 3
    with pytest.raises(FloatingPointError, match="steps in a row"):
        fit(
            flow(context_shape=(3,)), Rows(DATA, context=context), validation=None,
            watch=dgm.Watch(max_skipped=3),
        )  # fmt: skip


def test_the_mode_for_bad_numbers_names_the_layer():
    model = flow(scale_fn="exp")
    kernel = model.bijector.layers[0].layer.conditioner.last.bias
    kernel[...] = kernel[...].at[1].set(-200.0)  # the second layer of the stack overflows
    with pytest.raises(
        FloatingPointError, match=r"step 1 gave .* first: nats\. The first inf"
    ) as e:
        fit(model, watch=dgm.Watch(debug_nans=True))
    assert "Stack.inverse[1] > Coupling.inverse" in str(e.value)


def test_a_trace_for_the_profiler_is_written(tmp_path):
    fit(steps=24, watch=dgm.Watch(profile=tmp_path / "profile"))
    assert list(tmp_path.glob("profile/**/*.xplane.pb"))


def test_data_dependent_layers_may_be_set_from_some_rows():
    def standardized(**options):
        model = flow(preprocess=dgm.Standardize((4,)))
        trained = fit(model, x, steps=1, eval_every=1, **options).model
        return trained.bijector.layers[0].mean[...]

    x = np.sort(DATA, axis=0)

    everything = standardized()
    np.testing.assert_allclose(everything, DATA.mean(0), atol=1e-5)
    some = standardized(init_rows=20)
    assert np.abs(some - everything).max() > 1e-3
    assert np.abs(some - everything).max() < 1.0, "not the first 20 of sorted rows"
    np.testing.assert_array_equal(some, standardized(init_rows=20))


def test_programs_are_kept_where_asked(tmp_path, monkeypatch):
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert training.use_compilation_cache() == tmp_path / "dgmjax" / "xla"
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "dgmjax" / "xla")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
        assert training.use_compilation_cache() == tmp_path / "dgmjax" / "xla", "configured before"
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


BAD = {
    "steps a call that do not divide": (
        {"execution": dgm.Execution(steps_per_call=5)}, r"steps_per_call 5 must divide steps"),
    "no steps a call": ({"execution": dgm.Execution(steps_per_call=0)}, "steps_per_call must be at least 1, got 0"),
    "parts that do not divide": (
        {"execution": dgm.Execution(accumulate=5)},
        "batch_size 48 does not divide by 1 devices times 5 parts; use 50, or"),
    "no parts": ({"execution": dgm.Execution(accumulate=0)}, "accumulate must be at least 1, got 10 and 0"),
    "records with a context of mine": (
        {"x": Rows(DATA), "context": CLASSES}, "x are records, which bring their own context"),
    "records of another shape": ({"x": Rows(DATA[:, :3])}, r"x: expected an array of shape"),
    "a transform to another shape": (
        {"transform": lambda x, keys: x[:, :3]}, r"x after transform: expected an array of shape"),
    "a class too many": (
        {"model": "conditional", "context": CLASSES + 1, "validation_context": CLASSES[:50]},
        r"context: classes must lie in 0 .. 2 .* got 1 .. 3"),
    "no context": ({"model": "conditional"}, r"conditional; pass context=..., of shape \[n, \*\(3,\)\]"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_impossible_options_say_what_to_do(name):
    options, message = BAD[name]
    if options.get("model") == "conditional":
        options = options | {"model": flow(context_shape=(3,))}
    with pytest.raises(ValueError, match=message):
        fit(**options)
