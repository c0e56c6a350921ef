"""Bases of flows: each is a density, and the ends of those with ends have no gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

import dgmjax as dgm
from dgmjax.distributions import Normal, Product, StudentT, Uniform
from dgmjax.testing import scramble

KEY = jax.random.key(0)
NORMAL = dgm.distributions.standard_normal((1,))
BASES = {
    "normal": lambda: Normal((2,)),
    "normal, trained": lambda: scramble(Normal((2,), trainable=True), KEY),
    "student": lambda: StudentT((2,), df=6.0),
    "student, trained": lambda: scramble(StudentT((2,), df=8.0, trainable=True), KEY),
    "uniform": lambda: Uniform((2,), [-1.0, 0.0], [1.0, 3.0]),
    "product": lambda: Product([StudentT((1,), df=7.0), NORMAL]),
}
LIMITS = {"uniform": ((-1.0, 0.0), (1.0, 3.0))}


@pytest.mark.parametrize("name", BASES)
def test_samples_have_the_density(name):
    """Means of a smooth function over draws, and over a grid with the density."""
    base = BASES[name]()
    draws = np.asarray(base.sample(seed=KEY, sample_shape=200_000), np.float64)
    low, high = LIMITS.get(name, ((-30.0, -30.0), (30.0, 30.0)))
    grids = [np.linspace(a, b, 1_201) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*grids, indexing="ij"), -1)
    cell = np.prod([g[1] - g[0] for g in grids])
    edge = [np.where((g == g[0]) | (g == g[-1]), 0.5, 1.0) for g in grids]
    p = np.exp(np.asarray(base.log_prob(jnp.asarray(grid, jnp.float32)), np.float64))
    p = p * edge[0][:, None] * edge[1][None] * cell
    assert abs(p.sum() - 1.0) < 1e-3

    def function(x):
        return np.cos(x[..., 0] - 0.3) * np.tanh(x[..., 1] + 0.5) + np.sin(x[..., 1])

    assert abs((p * function(grid)).sum() - function(draws).mean()) < 0.01


@pytest.mark.parametrize("df", [1.0, 2.5, 30.0])
def test_student_has_the_density_of_scipy_far_out_too(df):
    z = np.array([0.0, 0.3, -5.0, 1e4, -1e25])
    ours = jax.vmap(StudentT((1,), df=df).log_prob)(jnp.asarray(z, jnp.float64)[:, None])
    theirs = (
        -(df + 1.0) * np.log(np.abs(z[-1]))
        + 0.5 * (df + 1.0) * np.log(df)
        + stats.t(df).logpdf(0.0)
    )
    np.testing.assert_allclose(ours[:-1], stats.t(df).logpdf(z[:-1]), rtol=1e-6)
    np.testing.assert_allclose(ours[-1], theirs, rtol=1e-6)
    slope = jax.grad(lambda z: StudentT((1,), df=df).log_prob(z))(jnp.array([1e30], jnp.float32))
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("method", ["log_prob", "log_prob_and_update"])
def test_events_outside_of_a_box_have_no_density_and_no_gradient(method):
    flow = scramble(
        dgm.RealNVP((2,), depth=2, width=4, base=Uniform((2,), -2.0, 2.0), rngs=nnx.Rngs(0)), KEY
    )
    x = jnp.array([[50.0, 50.0], [0.1, 0.2], [-70.0, 0.0]], jnp.float32)

    def log_prob(flow, x):
        out = getattr(flow, method)(x)
        return out[0] if isinstance(out, tuple) else out

    values = log_prob(flow, x)
    assert np.isneginf(values[jnp.array([0, 2])]).all()
    assert np.isfinite(values[1])
    of_all = jax.grad(lambda flow: log_prob(flow, x)[1])(flow)
    with_others = jax.grad(lambda flow: log_prob(flow, x).sum())(flow)
    for a, b in zip(jax.tree.leaves(of_all), jax.tree.leaves(with_others), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    slopes = jax.grad(lambda x: log_prob(flow, x).sum())(x)
    np.testing.assert_array_equal(slopes[jnp.array([0, 2])], 0.0)
    assert np.isnan(log_prob(flow, x.at[1, 0].set(jnp.nan))[1])


def test_moments_are_trained_where_one_asks_for_it(x32):
    rng = np.random.default_rng(0)
    x = np.asarray(3.0 + 0.5 * rng.normal(size=(2_000, 2)), np.float32)
    identity = dgm.Chain([dgm.Permute((2,), (0, 1))])
    flow = dgm.Flow(identity, Normal((2,), trainable=True))
    base = dgm.fit(flow, x, seed=KEY, steps=300, learning_rate=5e-2).model.base
    np.testing.assert_allclose(base.loc[...], 3.0, atol=0.1)
    np.testing.assert_allclose(jnp.exp(base.log_scale[...]), 0.5, atol=0.05)
    assert not jax.tree.leaves(nnx.state(Normal((2,)), nnx.Param))


def test_parts_are_independent():
    drawn = Product([Normal((1,)), Normal((1,))]).sample(seed=KEY, sample_shape=2_000)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.1


def test_bases_are_saved(tmp_path):
    for name, make in BASES.items():
        if name == "product":
            continue
        flow = dgm.Flow(dgm.ActNorm((2,)), make())
        dgm.save(tmp_path / name, flow)
        x = jnp.array([[0.1, 0.4]], jnp.float32)
        np.testing.assert_array_equal(dgm.load(tmp_path / name).log_prob(x), flow.log_prob(x))


def test_impossible_bases_say_what_was_expected():
    with pytest.raises(ValueError, match="expected a positive df, got 0"):
        StudentT((2,), df=0)
    with pytest.raises(ValueError, match="expected low < high, got 1.0 and 1.0"):
        Uniform((2,), 1.0, 1.0)
    with pytest.raises(ValueError, match="expected at least one part"):
        Product([])
    with pytest.raises(
        ValueError, match=r"events of shape \(2, 2\) and context_shape None in part 0"
    ):
        Product([Normal((2, 2))])
