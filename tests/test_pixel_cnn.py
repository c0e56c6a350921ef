"""PixelCNN++, Gated PixelCNN, PixelCNN: what sees what, exact masses, samples with and without caches."""

import functools
import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.models.pixel_cnn import PixelCNNpp
from dgmjax.numerics.prng import example_keys

VARIANTS = ("pixelcnnpp", "gated", "plain")


@functools.cache
def scrambled(event_shape, num_levels, variant, dtype="float64", **options) -> PixelCNNpp:
    """Parameters away from where they start: nothing is zero, the outputs vary."""
    settings = {"depth": 1, "width": 4, "num_components": 2} | options
    if "context_shape" in settings:
        settings["context_shape"] = tuple(settings["context_shape"])
    model = PixelCNNpp(event_shape, num_levels, variant=variant, rngs=nnx.Rngs(0), **settings)
    params, fixed, merge = dgm.training.partition(model)
    keys = jax.random.split(jax.random.key(1), len(params))
    return merge(
        {
            name: a.astype(dtype) + 0.3 * jax.random.normal(k, a.shape, dtype)
            for k, (name, a) in zip(keys, params.items(), strict=True)
        },
        fixed,
    )


FIELDS = {
    "pixelcnnpp": {"resolutions": 2},
    "pixelcnnpp, 3 levels": {"variant": "pixelcnnpp", "resolutions": 3},
    "gated": {"depth": 4},
    "plain": {"depth": 4, "width": 16},
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if "3" in n else ()) for n in FIELDS]
)
def test_outputs_see_exactly_the_pixels_before(name):
    """The Jacobian of all outputs by all pixels and channels."""
    options = dict(FIELDS[name])
    variant = options.pop("variant", name)
    # XLA takes ten times as long to compile a convolution in float64.
    model = scrambled((4, 4, 3), 9, variant, "float32", **options)
    x = jax.random.normal(jax.random.key(2), (1, 4, 4, 3), jnp.float32)
    jacobian = jax.jit(jax.jacfwd(lambda x: model.net(x)[0]))(x)[:, :, :, 0]
    sees = np.abs(jacobian).max(2).reshape(16, 16, 3)  # output pixel, input pixel, channel
    earlier = np.tri(16, k=-1, dtype=bool)
    np.testing.assert_array_equal(sees[~earlier], 0.0)
    seen = (sees > 0.0).all(-1)
    if variant != "plain":
        np.testing.assert_array_equal(seen, earlier)
        return
    # The blind spot of masked convolutions: one row up they reach one column to the right, no more.
    for i, j in itertools.product(range(16), repeat=2):
        rows_up, right = i // 4 - j // 4, j % 4 - i % 4
        assert seen[i, j] == (j < i and right <= rows_up), (i, j)


SPACES = {
    "square": {"event_shape": (2, 2, 1)},
    "channels": {"event_shape": (1, 2, 2)},
}
# Variants and likelihoods do not meet: the slow checks have the rest of the table.
CASES = [
    pytest.param(
        *case, marks=() if "gated" in case or case[2] != "categorical" else pytest.mark.slow
    )
    for case in itertools.product(SPACES, VARIANTS, ("logistic_mixture", "categorical"))
    if case[0] == "square" or case[1] == "gated"
]


def all_images(event_shape, num_levels: int) -> jax.Array:
    values = itertools.product(range(num_levels), repeat=math.prod(event_shape))
    return jnp.asarray(list(values)).reshape(-1, *event_shape)


@pytest.mark.parametrize(("space", "variant", "likelihood"), CASES)
def test_masses_of_all_images_sum_to_one_and_samples_have_them(space, variant, likelihood):
    event_shape = SPACES[space]["event_shape"]
    resolutions = 2 if variant == "pixelcnnpp" else 1
    model = scrambled(event_shape, 3, variant, resolutions=resolutions, likelihood=likelihood)
    images = all_images(event_shape, 3)
    p = np.exp(model.log_prob(images))
    assert abs(p.sum() - 1.0) < 1e-12
    num = 4_000
    samples = np.asarray(model.sample(seed=jax.random.key(0), sample_shape=(num,)))
    counts = np.bincount(samples.reshape(num, -1) @ 3 ** np.arange(3, -1, -1), minlength=81)
    # Bernstein's inequality, 81 images: one seed in a million exceeds it.
    bound = np.sqrt(2 * 19.0 * num * p * (1 - p)) + 2 * 19.0 / 3
    assert (np.abs(counts - num * p) < bound).all()
    assert p.max() > 3.0 * p.min()


CACHED = {
    "pixelcnnpp": {"resolutions": 3, "context_shape": (2,)},
    "gated": {"depth": 2, "context_shape": (2,)},
    "plain": {"depth": 2, "likelihood": "categorical", "context_shape": (2,)},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_cached_and_naive_samples_are_equal(variant):
    """Three resolutions and sides that differ: every parity of rows and columns occurs."""
    shape = (8, 4, 2) if variant == "pixelcnnpp" else (3, 4, 2)
    model = scrambled(shape, 256, variant, **CACHED[variant])
    context = jax.random.normal(jax.random.key(1), (3, 2), jnp.float64)
    draw = functools.partial(model.sample, seed=jax.random.key(0), sample_shape=2, context=context)
    fast, slow = draw(), draw(cached=False)
    assert fast.shape == (2, 3, *shape)
    assert fast.dtype == jnp.uint8
    np.testing.assert_array_equal(fast, slow)
    assert len(np.unique(fast)) > 20


def test_temperature_is_a_factor_on_the_spread_of_a_logistic():
    """One logistic, and so many levels that rounding hides nothing."""
    model = nnx.clone(scrambled((1, 1, 1), 60_001, "plain", num_components=1))
    model.net.last.bias[...] = model.net.last.bias[...].at[2].set(-2.5)  # narrow, inside the range
    cold, half, warm = (
        np.asarray(model.sample(seed=jax.random.key(0), sample_shape=200, temperature=t), float)
        for t in (0.0, 0.5, 1.0)
    )
    assert np.ptp(cold) == 0
    inside = (warm > 0) & (warm < 60_000)
    assert inside.mean() > 0.9
    assert warm.std() > 1_000
    np.testing.assert_allclose((half - cold)[inside], 0.5 * (warm - cold)[inside], atol=2)


def test_temperature_is_a_power_of_the_masses_of_categories():
    model = scrambled((1, 1, 1), 3, "plain", likelihood="categorical")
    mass = np.exp(model.log_prob(jnp.arange(3).reshape(3, 1, 1, 1))) ** 2
    mass /= mass.sum()
    samples = model.sample(seed=jax.random.key(0), sample_shape=4_000, temperature=0.5)
    counts = np.bincount(np.ravel(samples), minlength=3)
    assert (np.abs(counts - 4_000 * mass) < 5 * np.sqrt(4_000 * mass * (1 - mass))).all()
    assert np.ptp(mass) > 0.1


@functools.cache
def conditional() -> PixelCNNpp:
    return scrambled((4, 4, 1), 5, "pixelcnnpp", resolutions=1, context_shape=(3,), dropout=0.5)


def some_images() -> jax.Array:
    return jnp.asarray(np.random.RandomState(0).randint(0, 5, (6, 4, 4, 1)), jnp.int32)


def test_a_context_changes_every_pixel_and_broadcasts():
    model, y = conditional(), some_images()
    context = jax.random.normal(jax.random.key(1), (2, 3), jnp.float64)
    both = model.pixel_params(jnp.concatenate([y[:3], y[:3]]), jnp.repeat(context, 3, axis=0))
    assert (np.abs(both[:3] - both[3:]).max(-1) > 1e-6).all()
    rows = jnp.broadcast_to(context[0], (6, 3))
    expected = model.log_prob(y, rows)
    np.testing.assert_allclose(model.log_prob(y, context[0]), expected, rtol=1e-12)
    cube = model.log_prob(y.reshape(2, 3, 4, 4, 1), context[:, None])
    assert cube.shape == (2, 3)
    np.testing.assert_allclose(cube[0], expected[:3], rtol=1e-12)
    assert (np.abs(cube[1] - expected[3:]) > 1e-6).all()


def test_jit_vmap_and_single_events_agree():
    model, y = conditional(), some_images()
    context = jnp.ones((6, 3), jnp.float64)
    expected = model.log_prob(y, context)
    assert expected.dtype == jnp.float64
    compiled = jax.jit(lambda model, y, c: model.log_prob(y, c))(model, y, context)
    np.testing.assert_allclose(compiled, expected, rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(model.log_prob)(y, context), expected, rtol=1e-12)
    single = model.log_prob(np.asarray(y[0], np.uint8), context[0])
    assert single.shape == ()
    np.testing.assert_allclose(single, expected[0], rtol=1e-12)


def test_a_key_drops_units_and_an_example_has_its_own():
    model, y = conditional(), some_images()
    context = jnp.ones((3,), jnp.float64)
    keys = example_keys(jax.random.key(3), 6)
    together = model.log_prob(y, context, key=keys)
    assert (np.abs(together - model.log_prob(y, context)) > 1e-6).all()
    turned = model.log_prob(y[::-1], context, key=keys[::-1])
    np.testing.assert_allclose(turned[::-1], together, rtol=1e-12)
    again, other = (model.log_prob(y, context, key=jax.random.key(k)) for k in (5, 6))
    assert (np.abs(again - other) > 1e-6).any()


@pytest.mark.slow
def test_the_start_from_data_standardises_every_layer():
    images = jax.random.randint(jax.random.key(0), (32, 4, 4, 1), 0, 5)
    model = PixelCNNpp((4, 4, 1), 5, resolutions=2, depth=2, width=4, rngs=nnx.Rngs(0))
    model = model.with_data_init(images)
    outputs = model.pixel_params(images)
    np.testing.assert_allclose(outputs.mean((0, 1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(outputs.std((0, 1, 2)), 0.1, rtol=1e-3)
    assert model.log_prob(images).dtype == jnp.float32


def test_the_layout_of_the_paper():
    """53.5 million for CIFAR-10, from the sizes of the authors' convolutions."""
    model = jax.eval_shape(lambda: PixelCNNpp((32, 32, 3), rngs=nnx.Rngs(0)))
    params, _, _ = dgm.training.partition(model)
    kernels = sum(a.size for name, a in params.items() if name.endswith("direction"))
    f = 160
    up = 6 * (2 * f * f + 4 * f * f) + 4 * (2 * f * f + 4 * f * f) + 2 * f * f
    down = up + 2 * f * f + 2 * f * f
    resize = 2 * 2 * (6 + 4) * f * f
    first, last = 4 * f * (6 + 3 + 2), f * 100
    assert kernels == 15 * up + 17 * down + resize + first + last
    assert abs(kernels / 53.5e6 - 1) < 0.005, kernels


@pytest.mark.usefixtures("x32")
@pytest.mark.slow
def test_the_program_does_not_grow_with_the_depth():
    def size(depth: int) -> int:
        model = PixelCNNpp((4, 4, 1), 5, resolutions=1, depth=depth, width=4, rngs=nnx.Rngs(0))
        params, fixed, merge = dgm.training.partition(model)
        loss = jax.grad(lambda p, y: -merge(p, fixed).log_prob(y).mean())
        return len(jax.jit(loss).lower(params, some_images()).as_text())

    assert size(8) < 1.05 * size(2)


@pytest.mark.usefixtures("x32")
@pytest.mark.slow
def test_mixed_precision_is_of_the_network_only():
    make = functools.partial(PixelCNNpp, (4, 4, 1), 5, variant="gated", depth=1, width=8)
    model = make(rngs=nnx.Rngs(0))
    half = make(compute_dtype="bfloat16", rngs=nnx.Rngs(0))
    got, expected = half.log_prob(some_images()), model.log_prob(some_images())
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, atol=0.3)
    assert (got != expected).any()
    assert half.sample(seed=jax.random.key(0), sample_shape=2).shape == (2, 4, 4, 1)


@pytest.mark.slow
@pytest.mark.usefixtures("x32")
def test_fit_trains_it_on_integers_and_save_writes_it(tmp_path):
    rng = np.random.RandomState(0)
    # The first row is noise, the others repeat it.
    y = np.repeat(rng.randint(0, 5, (64, 1, 4, 1)), 4, axis=1).astype(np.uint8)
    model = PixelCNNpp(
        (4, 4, 1), 5, variant="gated", depth=2, width=16, dropout=0.1, rngs=nnx.Rngs(0)
    )
    result = dgm.fit(
        model, y, seed=jax.random.key(0), validation=y, steps=80, eval_every=40, batch_size=32,
        learning_rate=2e-2, watch=dgm.Watch(progress=False),
    )  # fmt: skip
    record = result.history[-1]
    assert record["bound"] == "exact"
    assert record["nats"] < 0.6 * 16 * math.log(5)  # 4 log 5 at best
    likelihood = dgm.objectives.log_likelihood(result.model, jnp.asarray(y))
    assert str(likelihood.bound) == "exact"
    np.testing.assert_allclose(likelihood.negative_log_likelihood, min(
        r["nats"] for r in result.history if r["split"] == "validation"
    ), rtol=1e-4)  # fmt: skip
    dgm.save(tmp_path / "model", result.model)
    again = dgm.load(tmp_path / "model")
    chex.assert_trees_all_equal(again.log_prob(y[:2]), result.model.log_prob(y[:2]))


BAD = {
    "no image": (lambda: PixelCNNpp((8,), rngs=nnx.Rngs(0)), r"expected image events \(h, w, c\)"),
    "sides": (
        lambda: PixelCNNpp((30, 30, 1), width=4, depth=1, rngs=nnx.Rngs(0)),
        r"divisible by 4, got 30x30; pad the images to 32x32",
    ),
    "variant": (
        lambda: PixelCNNpp((4, 4, 1), variant="gatd", rngs=nnx.Rngs(0)), "got 'gatd'",
    ),
    "levels": (
        lambda: PixelCNNpp((4, 4, 1), variant="gated", resolutions=2, rngs=nnx.Rngs(0)),
        "only 'pixelcnnpp' has several resolutions",
    ),
    "likelihood": (
        lambda: PixelCNNpp((4, 4, 1), likelihood="normal", rngs=nnx.Rngs(0)), "got 'normal'",
    ),
    "one level": (lambda: PixelCNNpp((4, 4, 1), 1, rngs=nnx.Rngs(0)), "at least 2 and"),
    "context": (
        lambda: PixelCNNpp((4, 4, 1), context_shape=(2, 2), rngs=nnx.Rngs(0)), "vector context",
    ),
    "no context": (lambda: conditional().log_prob(some_images()), "this model is conditional"),
    "dropout": (
        lambda: PixelCNNpp((4, 4, 1), dropout=1.0, rngs=nnx.Rngs(0)), "dropout must be in",
    ),
    "dtype": (
        lambda: PixelCNNpp((4, 4, 1), compute_dtype="int8", rngs=nnx.Rngs(0)), "compute_dtype",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_impossible_settings_say_what_to_do(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        make()


def test_floats_are_refused():
    with pytest.raises(TypeError, match="expected integer levels"):
        conditional().log_prob(some_images().astype(float), jnp.ones(3))


@pytest.mark.slow
def test_caches_save_time(x32):
    """A pixel of the cached sampler costs far less than a pass of the network."""
    import time

    model = PixelCNNpp((16, 16, 1), 256, depth=1, width=16, num_components=5, rngs=nnx.Rngs(0))

    def seconds(*, cached: bool) -> float:
        def draw(seed: int) -> jax.Array:
            key = jax.random.key(seed)
            return model.sample(seed=key, sample_shape=(16,), cached=cached).block_until_ready()

        draw(0)
        start = time.perf_counter()
        draw(1)
        return time.perf_counter() - start

    assert seconds(cached=False) > 10.0 * seconds(cached=True)
