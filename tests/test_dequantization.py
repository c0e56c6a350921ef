"""The family of dequantizations: noise in the bin, its density, and bounds against masses known in closed form."""

import math
from collections.abc import Callable

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.scipy.stats import norm

import dgmjax as dgm
from dgmjax.testing import cast

LEVELS = 8


def logistic_noise(shape: tuple[int, ...]) -> dgm.Flow:
    base = dgm.distributions.IID(distrax.Logistic(jnp.zeros(()), jnp.ones(())), shape)
    return dgm.Flow(dgm.Logit(shape, 1.0, alpha=0.0), base)


def learned_noise(shape: tuple[int, ...]) -> dgm.Flow:
    flow = dgm.RealNVP(
        shape,
        depth=2,
        width=8,
        context_shape=shape,
        preprocess=dgm.Logit(shape, 1.0, alpha=0.0),
        base=logistic_noise(shape).base,
        rngs=nnx.Rngs(0),
    )
    keys = iter(jax.random.split(jax.random.key(3), 100))
    moved = [
        a + 0.05 * jax.random.normal(next(keys), a.shape, a.dtype) if a.ndim else a
        for a in jax.tree.leaves(flow)
    ]
    return jax.tree.unflatten(jax.tree.structure(flow), moved)


NOISES: dict[str, Callable[..., dgm.distributions.Dequantization]] = {
    "uniform": dgm.UniformDequantization,
    "truncated normal": lambda shape, **low: dgm.TruncatedNormalDequantization(
        shape, loc=0.2, log_scale=0.0, **low
    ),
    "logit-normal": lambda shape, **low: dgm.LogitNormalDequantization(shape, loc=0.3, **low),
    "variational, blind": lambda shape, **low: dgm.VariationalDequantization(
        logistic_noise(shape), LEVELS, **low
    ),
    "variational": lambda shape, **low: dgm.VariationalDequantization(
        learned_noise(shape), LEVELS, **low
    ),
}
ALL = NOISES | {"Gaussian": dgm.GaussianNoise}
# Its density and quantiles take long to compile, and have tests of their own.
SLOW = pytest.param("truncated normal", marks=pytest.mark.slow)
of_noise, of_all = (
    pytest.mark.parametrize(
        "name", [SLOW if name == "truncated normal" else name for name in kinds]
    )
    for kinds in (NOISES, ALL)
)


@jax.jit(static_argnames="dtype")
def dequantize(
    noise: dgm.distributions.Dequantization, y: jax.Array, seed: jax.Array, dtype: type
) -> tuple[jax.Array, jax.Array]:
    return noise.dequantize(y, seed=seed, dtype=dtype)


@jax.jit(static_argnames=("num_samples", "batch_size"))
def bound(model: dgm.Dequantized, y: jax.Array, seed: jax.Array, **samples: int) -> jax.Array:
    return model.log_prob(y, seed=seed, **samples)


def integers(num: int, dims: int = 2) -> jax.Array:
    return jax.random.randint(jax.random.key(1), (num, dims), 0, LEVELS, jnp.int32)


def normal_model(
    noise: dgm.distributions.Dequantization, loc: float, scale: float
) -> dgm.Dequantized:
    """``x ~ N(loc, scale^2)``, so ``P(y)`` is a difference of two values of a normal distribution function."""
    base = dgm.distributions.IID(
        distrax.Normal(jnp.asarray(loc), jnp.asarray(scale)), noise.event_shape
    )
    return cast(
        dgm.Dequantized(dgm.Flow(dgm.Permute.reverse(noise.event_shape), base), LEVELS, noise),
        jnp.float64,
    )


@of_noise
@pytest.mark.parametrize("low", [0.0, -0.5])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.one_in(2)
def test_noise_stays_in_the_bin(name, low, dtype):
    noise = cast(NOISES[name]((2,), low=low), dtype)
    y = integers(2_000)
    x, log_q = dequantize(noise, y, jax.random.key(0), dtype)
    assert (x.dtype, x.shape, log_q.shape) == (dtype, y.shape, y.shape[:1])
    left = np.asarray(y, dtype) + dtype(low)
    assert (x >= left).all()
    assert (x < left + 1).all()
    np.testing.assert_array_equal(noise.quantize(x, LEVELS), y)
    np.testing.assert_array_equal(noise.quantize(noise.centre(y, dtype), LEVELS), y)
    np.testing.assert_array_equal(noise.quantize(jnp.asarray([-9.0, 99.0], dtype), LEVELS), [0, 7])


@of_noise
def test_densities_of_noise_integrate_to_one_over_the_bin(name):
    """``E_q [1 / q] = 1``, the volume of the bin, for every ``y``."""
    noise = cast(NOISES[name]((2,)), jnp.float64)
    for y in ([0, 7], [3, 4]):
        rows = jnp.broadcast_to(jnp.asarray(y), (40_000, 2))
        _, log_q = dequantize(noise, rows, jax.random.key(2), jnp.float64)
        weights = np.exp(-np.asarray(log_q))
        error = 5 * weights.std() / math.sqrt(len(weights)) + 1e-9
        assert abs(weights.mean() - 1) < error < 0.2


@of_noise
def test_bounds_lie_below_the_mass_and_close_with_importance_samples(name):
    model = normal_model(NOISES[name]((2,)), 3.3, 0.8)
    y = jnp.asarray([[3, 2]])
    exact = sum(
        math.log(float(norm.cdf((v + 1 - 3.3) / 0.8) - norm.cdf((v - 3.3) / 0.8))) for v in (3, 2)
    )
    rows = jnp.broadcast_to(y, (4_000, 2))
    means = [
        float(model.log_prob(rows, seed=jax.random.key(0), num_samples=k, batch_size=8).mean())
        for k in (1, 8, 64)
    ]
    assert means == sorted(means)
    assert means[0] < exact - 0.01
    assert abs(means[-1] - exact) < 0.01


@pytest.mark.slow
def test_the_bound_is_exact_where_the_noise_is_the_posterior():
    """``p(u | y) = p(y + u) / P(y)`` of a normal density is a truncated normal."""
    noise = dgm.TruncatedNormalDequantization((1,), loc=0.3, log_scale=math.log(0.5))
    model = normal_model(noise, 3.3, 0.5)
    y = jnp.full((100, 1), 3)
    exact = math.log(float(norm.cdf(0.7 / 0.5) - norm.cdf(-0.3 / 0.5)))
    np.testing.assert_allclose(model.log_prob(y, seed=jax.random.key(0)), exact, atol=1e-6)


def test_uniform_noise_is_a_sigmoid_of_logistic_noise():
    """The special case of the variational family: equal draws, equal bounds."""
    variational = NOISES["variational, blind"]((2,))
    y, seed = integers(500), jax.random.key(5)
    x, log_q = cast(variational, jnp.float64).dequantize(y, seed=seed, dtype=jnp.float64)
    np.testing.assert_allclose(log_q, 0.0, atol=1e-10)
    expected, _ = dgm.UniformDequantization((2,)).dequantize(y, seed=seed, dtype=jnp.float64)
    np.testing.assert_allclose(x, expected, atol=1e-12)
    bounds = [
        normal_model(noise, 3.0, 2.0).log_prob(y, seed=seed, num_samples=3)
        for noise in (variational, dgm.UniformDequantization((2,)))
    ]
    np.testing.assert_allclose(*bounds, atol=1e-9)


def test_the_bound_is_an_expectation_over_the_noise():
    """Erratum E-L5-3: without the weight ``p(e)``, as printed, the integral is not the bound, nor any finite number."""
    model = normal_model(dgm.UniformDequantization((1,)), 3.4, 0.8)
    e = np.linspace(-40.0, 40.0, 80_001)
    log_p_noise = -np.logaddexp(0, e) - np.logaddexp(
        0, -e
    )  # logistic, so u = sigmoid(e) is uniform
    u = 1 / (1 + np.exp(-e))
    log_slope = log_p_noise  # of the sigmoid: the same function
    inside = np.asarray(norm.logpdf(3 + u, 3.4, 0.8)) - (log_p_noise - log_slope)
    weighted = np.trapezoid(np.exp(log_p_noise) * inside, e)
    y = jnp.full((20_000, 1), 3)
    draws = np.asarray(model.log_prob(y, seed=jax.random.key(0)))
    assert abs(draws.mean() - weighted) < 4 * draws.std() / math.sqrt(len(draws))
    assert weighted < math.log(float(norm.cdf(0.6 / 0.8) - norm.cdf(-0.4 / 0.8)))
    printed = np.trapezoid(inside, e)
    half = np.trapezoid(inside[20_000:-20_000], e[20_000:-20_000])
    assert abs(printed - weighted) > 10
    assert printed < 1.9 * half  # it grows with the interval


@of_all
def test_noise_belongs_to_its_example(name):
    noise = cast(ALL[name]((2,)), jnp.float32)
    y = integers(4)
    keys = jax.random.split(jax.random.key(0), 4)
    x, log_q = dequantize(noise, y, keys, jnp.float32)
    one, log_q_one = dequantize(noise, y[2:3], keys[2:3], jnp.float32)
    np.testing.assert_allclose(one[0], x[2], rtol=1e-6)
    np.testing.assert_allclose(log_q_one[0], log_q[2], rtol=1e-4)
    bins = np.asarray(x) - np.asarray(y)
    assert not np.allclose(bins[0], bins[1])


@pytest.mark.parametrize("name", ["uniform", "variational", "Gaussian"])
def test_samples_a_pass_change_memory_only(name):
    model = normal_model(ALL[name]((2,)), 3.0, 2.0)
    y, seed = integers(5), jax.random.key(0)
    bounds = [bound(model, y, seed, num_samples=7, batch_size=count) for count in (1, 3, 9)]
    np.testing.assert_allclose(bounds[1], bounds[0], rtol=1e-12)
    np.testing.assert_allclose(bounds[2], bounds[0], rtol=1e-12)


@of_all
def test_the_bound_trains_what_the_noise_has_learned(name):
    model = normal_model(ALL[name]((2,)), 3.0, 2.0)

    def loss(noise: dgm.distributions.Dequantization) -> jax.Array:
        new = nnx.clone(model)
        new.dequantization = noise
        return -new.log_prob(integers(64), seed=jax.random.key(0)).mean()

    gradients = jax.tree.leaves(jax.jit(jax.grad(loss))(model.dequantization))
    moving = [g for g in gradients if g.ndim]
    assert len(moving) >= {"truncated normal": 2, "logit-normal": 2, "variational": 6}.get(name, 0)
    for gradient in moving:
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


@pytest.mark.usefixtures("x32")
@pytest.mark.slow
def test_training_the_noise_tightens_the_bound():
    density = normal_model(dgm.UniformDequantization((2,)), 3.4, 0.3).density
    y = np.asarray([[3, 3]] * 64)
    noise = dgm.TruncatedNormalDequantization((2,), log_scale=1.0)
    model = dgm.Dequantized(cast(density, jnp.float32), LEVELS, noise)
    before = float(model.log_prob(jnp.asarray(y), seed=jax.random.key(1)).mean())
    fitted = dgm.fit(
        model,
        y,
        seed=jax.random.key(0),
        steps=200,
        learning_rate=0.05,
        batch_size=64,
        watch=dgm.Watch(progress=False),
    ).model
    after = float(fitted.log_prob(jnp.asarray(y), seed=jax.random.key(1)).mean())
    exact = 2 * math.log(float(norm.cdf(0.6 / 0.3) - norm.cdf(-0.4 / 0.3)))
    assert before < after - 0.1
    assert after < exact + 1e-3


@pytest.mark.usefixtures("x32")
def test_gaussian_noise_says_that_it_is_no_bound():
    """With enough noise it lies above the mass it would have to bound."""
    model = cast(normal_model(dgm.GaussianNoise((1,), scale=3.0), 3.5, 3.0), jnp.float32)
    y = jnp.full((2_000, 1), 3)
    likelihood = dgm.log_likelihood(model, y, seed=jax.random.key(0))
    assert str(likelihood.bound) == "not a bound (Gaussian noise)"
    exact = math.log(float(norm.cdf(0.5 / 3) - norm.cdf(-0.5 / 3)))
    assert -likelihood.negative_log_likelihood > exact + 1
    record = dgm.fit(
        model, np.asarray(y), seed=jax.random.key(0), steps=1, watch=dgm.Watch(progress=False)
    ).history[0]
    assert record["bound"] == "not a bound (Gaussian noise)"


def test_names_travel_with_the_bound():
    names = {
        name: str(normal_model(noise((2,)), 3.0, 1.0).bound(16)) for name, noise in NOISES.items()
    }
    assert names["variational"] == "importance-weighted bound, K=16 (variational dequantization)"
    assert names["truncated normal"].endswith("(truncated-normal dequantization)")


def test_data_dependent_layers_of_the_noise_start_near_uniform():
    shape = (4, 4, 2)
    flow = dgm.Flow(dgm.Chain([dgm.Logit(shape, 1.0, alpha=0.0), dgm.ActNorm(shape)]))
    noise = dgm.VariationalDequantization(flow, LEVELS)
    y = jax.random.randint(jax.random.key(0), (256, *shape), 0, LEVELS)
    started = noise.with_data_init(y, seed=jax.random.key(1))
    u, log_q = started.noise(y, seed=jax.random.key(2), dtype=jnp.float32, key=None)
    np.testing.assert_allclose(np.quantile(u, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.02)
    assert abs(float(log_q.mean())) < 0.1 * y[0].size


@pytest.mark.parametrize("level", [3, 200])
def test_noise_next_to_one_stays_in_its_bin(level):
    class AlmostOne(dgm.distributions.Dequantization):
        def noise(self, y, *, seed, dtype, key):
            u = jnp.full(y.shape, 1.0 - 2.0**-24, dtype)
            return u, jnp.zeros(y.shape[:-1], dtype)

    noise = AlmostOne((1,))
    y = jnp.array([[level]])
    x, _ = noise.dequantize(y, seed=jax.random.key(0), dtype=jnp.float32)
    assert float(x[0, 0]) < level + 1
    assert int(noise.quantize(x, 256)[0, 0]) == level


def test_wrong_use_says_what_to_do():
    flow = dgm.RealNVP((2,), context_shape=(3,), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"expected context_shape \(2,\) or None, got \(3,\)"):
        dgm.VariationalDequantization(flow, LEVELS)
    with pytest.raises(ValueError, match=r"expected low in \(-1, 0\].* got 0.5"):
        dgm.UniformDequantization((2,), low=0.5)
    with pytest.raises(ValueError, match="scale must be positive"):
        dgm.GaussianNoise((2,), scale=0.0)
    with pytest.raises(ValueError, match=r"events of shape \(3,\), the density of shape \(2,\)"):
        dgm.Dequantized(logistic_noise((2,)), LEVELS, dgm.UniformDequantization((3,)))
    model = normal_model(dgm.UniformDequantization((2,)), 0.0, 1.0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        model.log_prob(integers(2), seed=jax.random.key(0), batch_size=0)
