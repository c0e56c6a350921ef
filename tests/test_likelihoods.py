"""Likelihoods: masses and densities, samples, means, batch axes and extremes, as laws over a table."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.distributions.likelihoods import (
    Bernoulli,
    Categorical,
    ConditionalModel,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    Likelihood,
    likelihood,
)
from dgmjax.layers.serialization.recorded import build, record_of
from dgmjax.numerics.prng import example_keys

L = 5


class Row(NamedTuple):
    """One element or pixel, of which all events can be listed, and an event of several."""

    one: Callable[[], Likelihood]
    several: Callable[[], Likelihood]


def row(make: Callable[..., Likelihood], shape: tuple[int, ...], *args: Any, **options: Any) -> Row:
    one = (*(1 for _ in shape[:-1]), shape[-1]) if len(shape) == 3 else (1,)
    return Row(*(functools.partial(make, s, *args, **options) for s in (one, shape)))


DISCRETE = {
    "bernoulli": row(Bernoulli, (4,)),
    "categorical": row(Categorical, (2, 2, 1), L),
    "logistic": row(DiscretizedLogistic, (4,), L),
    "logistic, global": row(DiscretizedLogistic, (2, 2, 1), L, scale="global"),
    "mixture": row(DiscretizedLogisticMixture, (4,), L, num_components=3),
    "mixture, one channel": row(DiscretizedLogisticMixture, (2, 2, 1), L, num_components=3),
    "mixture, RGB": row(DiscretizedLogisticMixture, (2, 2, 3), 4, num_components=2),
}
CONTINUOUS = {
    "gaussian": row(Gaussian, (4,), scale=0.7),
    "gaussian, global": row(Gaussian, (2, 2, 1), "global", scale=0.5),
    "gaussian, pixel": row(Gaussian, (4,), variance="pixel"),
}
discrete = pytest.mark.parametrize("row", DISCRETE.values(), ids=DISCRETE)
every = pytest.mark.parametrize(
    "row", (DISCRETE | CONTINUOUS).values(), ids=list(DISCRETE | CONTINUOUS)
)

LOG_PROB = jax.jit(lambda model, x, output: model.log_prob(x, output))
SAMPLE = jax.jit(lambda model, output, seed: model.sample(output, seed=seed))
MEAN = jax.jit(lambda model, output: model.mean(output))


def trained(model: Likelihood) -> Likelihood:
    """Learned scales away from their start."""
    return jax.tree.map(lambda leaf: leaf - 0.4, model)


def outputs(model: Likelihood, *batch: int, seed: int = 0, dtype: Any = np.float64) -> np.ndarray:
    shape = (*batch, *model.output_shape)
    return np.random.RandomState(seed).normal(size=shape).astype(dtype)


def events(model: Likelihood, *batch: int) -> np.ndarray:
    random = np.random.RandomState(1)
    shape = (*batch, *model.event_shape)
    if model.num_levels is None:
        return random.normal(size=shape)
    return random.randint(model.num_levels, size=shape)


def all_events(model: Likelihood) -> np.ndarray:
    size = math.prod(model.event_shape)
    values = list(itertools.product(range(model.num_levels), repeat=size))
    return np.asarray(values).reshape(-1, *model.event_shape)


@discrete
def test_masses_of_all_events_sum_to_one_and_give_the_mean(row):
    model = trained(row.one())
    output = outputs(model, seed=2)
    values = all_events(model)
    masses = np.exp(LOG_PROB(model, values, output))
    assert masses.shape == (len(values),)
    assert np.isclose(masses.sum(), 1.0, atol=1e-12)
    assert masses.max() < 0.999  # a sum that could have failed
    expected = np.tensordot(masses, values, 1)
    mean = MEAN(model, output)
    assert mean.shape == model.event_shape
    # Later channels of a mixture are taken at the means of the earlier ones.
    coupled = isinstance(model, DiscretizedLogisticMixture) and model.event_shape[-1] > 1
    assert np.allclose(mean, expected, atol=0.05 if coupled else 1e-12)
    assert np.allclose(mean[..., 0], expected[..., 0], atol=1e-12)


@discrete
def test_samples_have_the_frequencies_of_the_masses(row):
    """A public assignment draws ``uniform > mean`` where ``<`` is right, so images are negatives: erratum E-A4-8."""
    model, num = trained(row.one()), 20_000
    output = outputs(model, seed=2)
    values = all_events(model).reshape(-1, math.prod(model.event_shape))
    masses = np.exp(LOG_PROB(model, values.reshape(-1, *model.event_shape), output))
    drawn = np.asarray(
        SAMPLE(model, np.broadcast_to(output, (num, *output.shape)), jax.random.key(0))
    )
    assert drawn.dtype == np.uint8
    assert drawn.shape == (num, *model.event_shape)
    base = model.num_levels ** np.arange(values.shape[1])[::-1]
    counts = np.bincount(drawn.reshape(num, -1) @ base, minlength=len(values))
    errors = counts - num * masses
    chi_squared = (errors**2 / np.maximum(num * masses, 1.0)).sum()
    assert chi_squared < len(values) + 5.0 * math.sqrt(2.0 * len(values))


@pytest.mark.parametrize("row", CONTINUOUS.values(), ids=CONTINUOUS)
def test_densities_integrate_to_one_and_have_the_moments_of_samples(row):
    model = trained(row.one())
    output = outputs(model, seed=2)
    grid = np.linspace(-15.0, 15.0, 4001).reshape(-1, *model.event_shape)
    density = np.exp(LOG_PROB(model, grid, output))
    points, step = grid.ravel(), 30.0 / 4000
    mean = (points * density).sum() * step
    variance = ((points - mean) ** 2 * density).sum() * step
    assert np.isclose(density.sum() * step, 1.0, atol=1e-9)
    assert np.allclose(MEAN(model, output), mean, atol=1e-9)
    drawn = SAMPLE(model, np.broadcast_to(output, (20_000, *output.shape)), jax.random.key(0))
    assert drawn.dtype == output.dtype
    assert np.isclose(drawn.mean(), mean, atol=4.0 * math.sqrt(variance / 20_000))
    assert np.isclose(drawn.var(), variance, rtol=0.05)


@pytest.mark.parametrize(
    ("model", "peer"),
    [
        (Bernoulli((4,)), lambda o: distrax.Bernoulli(logits=o)),
        (Categorical((4,), L), lambda o: distrax.Categorical(logits=o)),
        (Gaussian((4,), scale=0.7), lambda o: distrax.Normal(o, jnp.full_like(o, 0.7))),
        (
            Gaussian((4,), "pixel"),
            lambda o: distrax.Normal(o[..., 0], jnp.exp(7.0 * jnp.tanh(o[..., 1] / 7.0))),
        ),
        (
            DiscretizedLogistic((4,), L),
            lambda o: dgm.densities.DiscretizedFromCDF(
                distrax.Logistic(2.0 * (o[..., 0] + 1.0), 2.0 * jnp.exp(o[..., 1]) / jnp.pi), L
            ),
        ),
    ],
    ids=["bernoulli", "categorical", "gaussian", "gaussian, pixel", "logistic"],
)
def test_the_log_probability_is_the_one_of_distrax(model, peer):
    output, x = outputs(model, 3), events(model, 3)
    # distrax's own arithmetic mixes dtypes.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        expected = peer(jnp.asarray(output)).log_prob(x).sum(-1)
    assert np.allclose(LOG_PROB(model, x, output), expected, atol=1e-10)


def test_the_mixture_of_an_image_is_the_one_of_pixelcnnpp():
    model = DISCRETE["mixture, RGB"].several()
    output, x = outputs(model, 3), events(model, 3)
    pixels = jax.jit(dgm.densities.rgb_mixture_log_prob, static_argnums=1)(x, 4, output)
    assert np.allclose(LOG_PROB(model, x, output), pixels.sum((1, 2)))
    assert DiscretizedLogisticMixture((32, 32, 3), 256).output_shape == (32, 32, 100)


BATCHES = [((), ()), ((2, 3), (3,)), ((3,), (2, 1))]


@every
def test_batch_axes_broadcast(row):
    model = trained(row.several())
    x, output = events(model, 2, 3), outputs(model, 2, 3)

    def first(values, batch):
        """Of the axes (2, 3) the last ones of ``batch``, of an axis of length 1 the first element."""
        values = values[(0,) * (2 - len(batch))]
        return values[:, :1] if batch == (2, 1) else values

    @jax.jit
    def calls(model, x, output, key):
        every = model.log_prob(x[:, None, :, None], output[None, :, None, :])  # all pairs
        some = [model.log_prob(first(x, a), first(output, b)) for a, b in BATCHES]
        one = model.mean(first(output, ())), model.sample(first(output, ()), seed=key)
        return every, some, one, (model.mean(output), model.sample(output, seed=key))

    pairs, some, one, all_six = calls(model, x, output, jax.random.key(0))
    at = np.arange(6).reshape(2, 3)
    pairs = np.asarray(pairs).transpose(0, 2, 1, 3).reshape(6, 6)
    for (of_x, of_output), log_probs in zip(BATCHES, some, strict=True):
        assert log_probs.shape == np.broadcast_shapes(of_x, of_output)
        assert np.allclose(log_probs, pairs[first(at, of_x), first(at, of_output)])
    assert one[0].shape == one[1].shape == model.event_shape
    assert all_six[0].shape == all_six[1].shape == (2, 3, *model.event_shape)
    assert np.allclose(all_six[0][0, 0], one[0])


@every
def test_a_key_of_its_own_gives_an_output_its_own_sample(row):
    model = trained(row.several())
    output, keys = outputs(model, 3, 2), example_keys(jax.random.key(0), 3)
    drawn = SAMPLE(model, output, keys)
    for i in range(3):
        assert np.allclose(SAMPLE(model, output[i], keys[i]), drawn[i], atol=1e-12)
    output[:] = output[:1]
    drawn = SAMPLE(model, output, keys)
    assert len(np.unique(drawn.reshape(6, -1), axis=0)) > 1
    with pytest.raises(ValueError, match="keys of shape"):
        model.sample(output, seed=keys[:2])


@every
def test_extreme_outputs_have_finite_values_and_gradients(row):
    model = row.several()
    x = events(model, 40)
    x = x.astype(np.float32) if model.num_levels is None else x.astype(np.uint8)

    @jax.jit
    def calls(model, output):
        def loss(both):
            return both[0].log_prob(x, both[1]).sum()

        return *jax.value_and_grad(loss)((model, output)), model.mean(output)

    for size in (0.0, 50.0):
        output = size * np.sign(outputs(model, 40)).astype(np.float32)
        value, gradients, mean = jax.device_get(calls(model, output))
        assert value.dtype == mean.dtype == np.float32
        for leaf in (value, mean, *jax.tree.leaves(gradients)):
            assert np.isfinite(leaf).all()
        if size == 0.0:
            assert all(np.abs(leaf).max() > 1e-6 for leaf in jax.tree.leaves(gradients))


@every
def test_outputs_of_16_bits_are_summed_in_32(row):
    model = row.several()
    output = jnp.asarray(outputs(model, 3), jnp.bfloat16)
    log_probs = LOG_PROB(model, events(model, 3), output)
    assert log_probs.dtype == jnp.float32
    assert np.allclose(
        log_probs, LOG_PROB(model, events(model, 3), output.astype(jnp.float64)), rtol=1e-5
    )


@every
def test_a_likelihood_is_rebuilt_from_its_description(row):
    model = row.several()
    new = build(record_of(model), rngs=nnx.Rngs(0))
    output, x = outputs(model, 3), events(model, 3)
    assert np.array_equal(LOG_PROB(new, x, output), LOG_PROB(model, x, output))


@discrete
def test_what_is_no_level_has_no_mass_and_floats_are_refused(row):
    model = row.several()
    output, x = outputs(model, 2), events(model, 2)
    for bad in (-1, model.num_levels):
        x[1].flat[0] = bad
        log_probs = LOG_PROB(model, x, output)
        assert np.isfinite(log_probs[0])
        assert log_probs[1] == -np.inf
    with pytest.raises(TypeError, match="integer levels"):
        model.log_prob(x.astype(np.float32), output)


def test_outputs_of_zero_spread_over_all_levels():
    """Logistics have the moments of the uniform distribution; mixtures are nearly uniform."""
    levels = np.arange(256)[:, None]
    uniform = levels.std()
    for model in (DiscretizedLogistic((1,), 256), DiscretizedLogistic((1,), 256, scale="global")):
        masses = np.exp(LOG_PROB(model, levels, np.zeros(model.output_shape)))
        assert 0.85 < math.sqrt(masses @ (levels[:, 0] - 127.5) ** 2) / uniform < 1.0
        assert np.allclose(MEAN(model, np.zeros(model.output_shape)), 127.5)
    model = DiscretizedLogisticMixture((1,), 256)
    masses = np.exp(LOG_PROB(model, levels, np.zeros(model.output_shape)))
    assert masses[1:-1].min() > 0.5 / 256
    assert masses.max() < 0.1


def test_log_scales_have_a_floor():
    model = DiscretizedLogistic((1,), 256)
    at_floor, below = (np.asarray([[0.1, raw]]) for raw in (math.log(math.pi) - 7.0, -30.0))
    x = np.asarray([[140]])
    assert np.allclose(LOG_PROB(model, x, at_floor), LOG_PROB(model, x, below), atol=1e-9)
    assert not np.allclose(LOG_PROB(model, x, at_floor + [0.0, 0.1]), LOG_PROB(model, x, below))


@pytest.fixture(scope="module")
def lossy() -> ConditionalModel:
    """A small PixelCNN with a vector as its context."""
    model = dgm.PixelCNNpp(
        (2, 2, 1), 3, variant="plain", depth=1, width=4, num_components=2, dropout=0.5,
        context_shape=(3,), rngs=nnx.Rngs(0),
    )  # fmt: skip
    return ConditionalModel(
        jax.tree.map(
            lambda a: a + 0.3 * jnp.sin(jnp.arange(a.size, dtype=a.dtype)).reshape(a.shape), model
        )
    )


def test_a_conditional_model_is_a_likelihood(lossy):
    assert (lossy.event_shape, lossy.output_shape, lossy.num_levels) == ((2, 2, 1), (3,), 3)
    values, output = all_events(lossy), outputs(lossy, 2, 1, dtype=np.float32)
    log_probs = LOG_PROB(lossy, values, output)
    assert log_probs.shape == (2, len(values))
    assert np.allclose(np.exp(log_probs).sum(-1), 1.0, atol=1e-5)
    assert np.abs(log_probs[0] - log_probs[1]).max() > 1e-3
    direct = jax.jit(lossy.model.log_prob)(values, output[1, 0])
    assert np.allclose(log_probs[1], direct, atol=1e-5)


@pytest.mark.parametrize("own", [False, True])
def test_samples_of_a_conditional_model_have_its_masses(lossy, own):
    """With one key, or with one an output."""
    num, output = 2000, outputs(lossy, dtype=np.float32)
    seed = example_keys(jax.random.key(0), num) if own else jax.random.key(0)
    drawn = np.asarray(SAMPLE(lossy, np.broadcast_to(output, (num, 3)), seed))
    assert drawn.shape == (num, 2, 2, 1)
    counts = np.bincount(drawn.reshape(num, 4) @ [27, 9, 3, 1], minlength=81)
    expected = num * np.exp(LOG_PROB(lossy, all_events(lossy), output))
    assert ((counts - expected) ** 2 / np.maximum(expected, 1.0)).sum() < 81 + 5 * 13


def test_a_key_reaches_the_dropout_of_the_conditional_model(lossy):
    x, output = events(lossy, 3), outputs(lossy, 3, dtype=np.float32)
    log_prob = jax.jit(lambda model, x, output, key: model.log_prob(x, output, key=key))
    dropped = log_prob(lossy, x, output, jax.random.key(0))
    assert np.abs(dropped - LOG_PROB(lossy, x, output)).max() > 1e-3
    simple = Bernoulli((2,))
    arguments = events(simple, 3), outputs(simple, 3)
    assert np.array_equal(
        simple.log_prob(*arguments, key=jax.random.key(0)), simple.log_prob(*arguments)
    )


def test_a_conditional_flow_is_a_continuous_likelihood():
    flow = dgm.MAF((2,), depth=1, width=4, context_shape=(3,), rngs=nnx.Rngs(0))
    model = ConditionalModel(flow)
    x, output = events(model, 4).astype(np.float32), outputs(model, dtype=np.float32)
    assert model.num_levels is None
    assert np.allclose(
        model.log_prob(x, output), flow.log_prob(jnp.asarray(x), jnp.asarray(output))
    )


def test_a_conditional_model_says_what_it_cannot_do(lossy):
    with pytest.raises(NotImplementedError, match="sample"):
        lossy.mean(outputs(lossy))
    with pytest.raises(ValueError, match="context_shape"):
        ConditionalModel(
            dgm.PixelCNNpp((2, 2, 1), 3, variant="plain", depth=1, width=4, rngs=nnx.Rngs(0))
        )
    flow = dgm.MAF((2,), depth=1, width=4, context_shape=(3,), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="draws noise"):
        ConditionalModel(dgm.Dequantized(flow, 3))


def test_a_conditional_model_starts_from_data(lossy):
    x, output = events(lossy, 8), jnp.asarray(outputs(lossy, 8, dtype=np.float32))
    new = lossy.with_data_init(x, output)
    assert np.abs(LOG_PROB(new, x, output) - LOG_PROB(lossy, x, output)).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("bernoulli", {}, (4,)),
        ("bernoulli", {"num_levels": 2}, (4,)),
        ("gaussian", {"variance": "pixel"}, (4, 2)),
        ("categorical", {"num_levels": 3}, (4, 3)),
        ("discretized_logistic", {"num_levels": 3, "scale": "global"}, (4,)),
        ("discretized_logistic_mixture", {"num_levels": 3, "num_components": 5}, (4, 15)),
    ],
)
def test_likelihoods_have_names(name, options, expected):
    model = likelihood(name, (4,), **options)
    assert model.output_shape == expected
    assert model.num_levels == (None if name == "gaussian" else options.get("num_levels", 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: likelihood("poisson", (4,)), r"expected one of \['bernoulli', 'categorical'"),
        (lambda: likelihood("bernoulli", (4,), 256), "binarize"),
        (lambda: likelihood("gaussian", (4,), 256), "continuous data"),
        (lambda: likelihood("categorical", (4,)), "needs num_levels"),
        (lambda: Categorical((4,), 1), "at least 2"),
        (lambda: Gaussian((4,), "full"), "variance"),
        (lambda: Gaussian((4,), scale=0.0), "positive"),
        (lambda: DiscretizedLogistic((4,), 3, scale="channel"), "scale"),
        (lambda: DiscretizedLogisticMixture((4,), 3, num_components=0), "at least 1"),
        (lambda: Bernoulli((4,)).log_prob(np.zeros(4, int), np.zeros(3)), "output of the network"),
        (lambda: Bernoulli((4,)).mean(np.zeros(3)), "output of the network"),
        (
            lambda: Bernoulli((4,)).log_prob(np.zeros((2, 4), int), np.zeros((3, 4))),
            "do not broadcast",
        ),
    ],
)
def test_what_does_not_fit_says_so(make, message):
    with pytest.raises(ValueError, match=message):
        make()
