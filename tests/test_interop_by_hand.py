"""Bridges to other packages on untrained flows: contexts, orders of columns, seeds, what an artifact holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.interop import table as tables
from dgmjax.interop.table import TableDensity

pytestmark = pytest.mark.usefixtures("x32")


class Scaled(dgm.Bijector):
    """``x = (1, 2, 3) exp(c) z``."""

    event_shape, context_shape = (3,), (1,)

    def forward_and_log_det(self, z, context):
        log_scale = self._log_scale(z, context)
        return z * jnp.exp(log_scale) * self._factors(z), np.log(6.0) + 3 * log_scale[..., 0]

    def inverse_and_log_det(self, x, context):
        log_scale = self._log_scale(x, context)
        return x / jnp.exp(log_scale) / self._factors(x), -np.log(6.0) - 3 * log_scale[..., 0]

    def _log_scale(self, x, context):
        return jnp.broadcast_to(context, (*x.shape[:-1], 1))

    def _factors(self, x):
        return jnp.broadcast_to(jnp.arange(1.0, 4.0), x.shape)


def plain():
    """``x = (1, 2, 3) z``."""
    layer = dgm.DiagonalLinear((3,))
    layer.log_scale[...] = jnp.log(jnp.arange(1.0, 4.0))
    return dgm.Flow(layer)


def normal(z):
    return -0.5 * (z**2 + np.log(2 * np.pi)).sum(-1)


def test_a_density_is_pulled_back_at_its_context():
    """``log N(x) + log |det dx/dz|`` with ``x = (1, 2, 3) e^c z``."""
    z = jnp.asarray([0.5, -1.0, 0.25])
    for context in (jnp.asarray([0.0]), jnp.asarray([0.7])):
        scale = jnp.exp(context) * jnp.arange(1.0, 4.0)
        expected = normal(scale * z) + jnp.log(scale).sum()
        for given in (Scaled(), dgm.Flow(Scaled())):
            found = dgm.interop.pull_back(normal, given, context)(z)
            np.testing.assert_allclose(found, expected, rtol=1e-5)


# Tables.


def frame(rows=10):
    pandas = pytest.importorskip("pandas")
    x = np.random.default_rng(0).normal(size=(rows, 3))
    return pandas.DataFrame(x, columns=["unit", "huge", "tiny"], index=np.arange(rows) + 7)


@pytest.mark.parametrize("batch_size", [4, 100])
def test_columns_are_those_of_the_fit_whatever_their_order(batch_size):
    """Ten rows, four at a time; the names are in no alphabetical order."""
    table, names = frame(), ["tiny", "unit", "huge"]
    density = TableDensity(plain(), names)
    x = table[names].to_numpy() / np.arange(1.0, 4.0)
    expected = normal(x) - np.log(6.0)
    for order in (["huge", "tiny", "unit"], names):
        found = density.log_prob(table[order], batch_size=batch_size)
        np.testing.assert_allclose(found.to_numpy(), expected, rtol=1e-4)
        assert found.index.equals(table.index)
        assert found.name == "log_prob"
    np.testing.assert_allclose(
        TableDensity(plain()).log_prob(table[names].to_numpy()), expected, rtol=1e-4
    )


def test_rows_that_are_drawn_have_their_columns_and_their_seed():
    density = TableDensity(plain(), ["tiny", "unit", "huge"])
    found = density.sample(4_000, jax.random.key(1))
    assert list(found.columns) == ["tiny", "unit", "huge"]
    np.testing.assert_allclose(found.std(), [1.0, 2.0, 3.0], rtol=0.1)
    again, other = (density.sample(4_000, jax.random.key(seed)) for seed in (1, 2))
    np.testing.assert_array_equal(found, again)
    assert not np.array_equal(found, other)


def test_rows_that_select_are_not_trained_on(monkeypatch):
    """A quarter of 40 rows, at random, in the order of the columns."""
    calls = []

    def fit(model, x, **options):
        calls.append((x, options))
        return dgm.FitResult(model, [], 0, 0)

    monkeypatch.setattr(tables, "fit", fit)
    table = frame(40)
    for seed in (0, 1):
        dgm.interop.fit_table(
            table,
            seed=jax.random.key(seed),
            model=plain(),
            steps=7,
            validation_share=0.25,
            batch_size=5,
        )
    (x, options), (other, _) = calls
    held = options["validation"]
    assert (len(x), len(held), options["steps"], options["batch_size"]) == (30, 10, 7, 5)
    rows = np.concatenate([x, held])
    whole = table.to_numpy().astype(np.float32)
    np.testing.assert_array_equal(rows[np.argsort(rows[:, 0])], whole[np.argsort(whole[:, 0])])
    assert not np.array_equal(held, whole[:10])
    assert not np.array_equal(x, other)


# numpyro.


def test_the_batch_of_contexts_is_a_batch_of_distributions():
    dist = pytest.importorskip("numpyro.distributions")
    context = jnp.asarray([[0.0], [0.5], [1.0]])
    site = dgm.interop.to_numpyro(dgm.Flow(Scaled()), context)
    assert (site.batch_shape, site.event_shape) == ((3,), (3,))
    x = site.sample(jax.random.key(0), (2_000,))
    expected = np.exp([[0.0], [0.5], [1.0]]) * np.arange(1.0, 4.0)
    np.testing.assert_allclose(x.std(0), expected, rtol=0.15)
    log_prob = normal(np.asarray(x) / expected) - np.log(expected).sum(-1)
    np.testing.assert_allclose(site.log_prob(x), log_prob, rtol=1e-4, atol=1e-4)
    value, intermediates = site.sample_with_intermediates(jax.random.key(1), (5,))
    np.testing.assert_allclose(
        site.log_prob(value, intermediates), site.log_prob(value), rtol=1e-4, atol=1e-4
    )
    assert isinstance(site, dist.Distribution)


@pytest.mark.parametrize(
    ("shape", "name"), [((3,), "unit_interval"), ((2, 3), "positive_ordered_vector")]
)
def test_a_support_covers_the_axes_of_an_event(shape, name):
    constraints = pytest.importorskip("numpyro.distributions.constraints")
    support = getattr(constraints, name)
    site = dgm.interop.to_numpyro(dgm.Flow(dgm.DiagonalLinear(shape)), support=support)
    assert site.support.event_dim == len(shape)
    inside = jnp.broadcast_to(jnp.asarray([0.2, 0.5, 0.9]), shape)
    assert site.support(inside).shape == ()
    assert bool(site.support(inside))
    assert not bool(site.support(-inside))
    real = dgm.interop.to_numpyro(dgm.Flow(dgm.DiagonalLinear(shape)))
    assert bool(real.support(-inside))


def test_arrays_of_a_guide_are_a_parameter_and_come_back():
    numpyro = pytest.importorskip("numpyro")
    flow = plain()
    params = dgm.training.partition(flow)[0]
    moved = jax.tree.map(lambda a: a + 1.0, params)

    def guide():
        return numpyro.sample("z", dgm.interop.numpyro_flow("z", flow))

    with numpyro.handlers.seed(rng_seed=0):
        trace = numpyro.handlers.trace(guide).get_trace()
        given = numpyro.handlers.trace(
            numpyro.handlers.substitute(guide, data={"z$params": moved})
        ).get_trace()
    assert trace["z$params"]["type"] == "param"
    x = jnp.asarray([0.5, -1.0, 0.25])
    back = dgm.interop.flow_from_numpyro("z", flow, {"z$params": moved})
    assert not np.allclose(back.log_prob(x), flow.log_prob(x))
    np.testing.assert_allclose(given["z"]["fn"].log_prob(x), back.log_prob(x), rtol=1e-5)
    np.testing.assert_allclose(trace["z"]["fn"].log_prob(x), flow.log_prob(x), rtol=1e-5)
    with pytest.raises(KeyError, match="there is no 'other\\$params'"):
        dgm.interop.flow_from_numpyro("other", flow, {"z$params": moved})


# jax.export.


def exported(model, folder, **options):
    pytest.importorskip("flatbuffers")
    dgm.interop.export(model, folder, platforms=("cpu",), **options)
    return dgm.interop.load_exported(folder)


def test_an_artifact_of_a_conditional_flow_has_a_context_an_event(tmp_path):
    flow = dgm.Flow(Scaled())
    found = exported(flow, tmp_path / "a")
    assert (found.event_shape, found.context_shape) == ((3,), (1,))
    assert found.description["dtype"] == "float32"
    assert found.description["differentiable"]
    context = jnp.asarray([[[0.0], [0.5]], [[1.0], [1.5]]])
    x = jnp.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_allclose(found.log_prob(x, context), flow.log_prob(x, context), rtol=1e-5)
    np.testing.assert_allclose(
        found.log_prob(x, context[0, 1]), flow.log_prob(x, context[0, 1]), rtol=1e-5
    )
    drawn = found.sample(seed=jax.random.key(0), sample_shape=(4_000,), context=context)
    assert drawn.shape == (4_000, 2, 2, 3)
    scale = np.exp(context) * np.arange(1.0, 4.0)
    np.testing.assert_allclose(drawn.std(0), scale, rtol=0.1)
    gradient = jax.grad(lambda x: found.log_prob(x, context).sum())(x)
    np.testing.assert_allclose(gradient, -x / scale**2, rtol=1e-5)
    plainly = exported(flow, tmp_path / "b", differentiable=False)
    assert not plainly.description["differentiable"]
    assert not plainly._functions["log_prob"].has_vjp()


class Noisy(nnx.Module):
    """A bound on levels: a normal number of every event, and ten for every sample."""

    def __init__(self):
        self.event_shape, self.num_levels, self.context_shape = (2,), 4, None

    def bound(self, num_samples=1):
        return dgm.densities.Bound("lower bound", num_samples, "test")

    def log_prob(self, x, *, seed=None, num_samples=1):
        return jax.random.normal(seed, x.shape[:-1]) + 10.0 * num_samples

    def sample(self, *, seed, sample_shape=()):
        return jax.random.randint(seed, (*sample_shape, 2), 0, 4)


def test_an_artifact_of_a_bound_has_its_samples_and_noise_of_every_event(tmp_path):
    found = exported(Noisy(), tmp_path / "a", num_samples=3)
    assert found.description["dtype"] == "int32"
    assert not found.description["differentiable"]
    assert str(found.bound()) == "importance-weighted bound, K=3 (test)"
    x = jnp.zeros((50, 4, 2), jnp.int32)
    values = np.asarray(found.log_prob(x, seed=jax.random.key(0)))
    assert values.shape == (50, 4)
    assert len(np.unique(values)) == 200
    np.testing.assert_allclose(values, 30, atol=5)
    np.testing.assert_array_equal(values, found.log_prob(x, seed=jax.random.key(0), num_samples=3))
    assert not np.array_equal(values, found.log_prob(x, seed=jax.random.key(1)))
    for wrong in ({}, {"seed": jax.random.key(0), "num_samples": 1}):
        with pytest.raises(ValueError, match="the artifact holds a importance-weighted bound, K=3"):
            found.log_prob(x, **wrong)
    drawn = np.asarray(found.sample(seed=jax.random.key(0), sample_shape=40))
    assert drawn.dtype == np.int32
    assert len(np.unique(drawn, axis=0)) > 8


class NoisyGiven(Noisy):
    """The same with a hundred times its context."""

    def __init__(self):
        super().__init__()
        self.context_shape = (1,)

    def log_prob(self, x, context, *, seed=None, num_samples=1):
        return super().log_prob(x, seed=seed, num_samples=num_samples) + 100.0 * context[..., 0]

    def sample(self, *, seed, context, sample_shape=()):
        shape = (*sample_shape, *context.shape[:-1], 2)
        return jnp.broadcast_to(context, shape).astype(jnp.int32)


def test_an_artifact_of_a_conditional_bound_has_both_noise_and_context(tmp_path):
    found = exported(NoisyGiven(), tmp_path / "a", num_samples=2)
    context = jnp.asarray([[0.0], [1.0], [2.0]])
    values = found.log_prob(jnp.zeros((3, 2), jnp.int32), context, seed=jax.random.key(0))
    noise = np.asarray(values) - 100.0 * np.arange(3) - 20.0
    assert 0 < np.abs(noise).max() < 6
    assert len(np.unique(noise.round(3))) == 3
    drawn = found.sample(seed=jax.random.key(0), context=context)
    np.testing.assert_array_equal(drawn, np.arange(3)[:, None] * np.ones((1, 2)))
