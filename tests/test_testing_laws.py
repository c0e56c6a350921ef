"""Each law of `dgmjax.testing` has an object that this law alone rejects; the grid and the tolerances by hand."""

import dataclasses
import inspect
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgmjax as dgm
from dgmjax.testing import LawViolation, Tolerance, cast, check_bijector, check_density, scramble
from dgmjax.testing._quadrature import Grid, default_limits, evaluate
from dgmjax.testing._report import Report, close


def data(shape):
    return jax.random.normal(jax.random.key(0), shape, jnp.float64)


class Sinh:
    """``x = arcsinh(z)``, elementwise."""

    event_shape = (3,)

    def forward_and_log_det(self, z):
        return jnp.arcsinh(z), -0.5 * jnp.log1p(z**2).sum(-1)

    def inverse_and_log_det(self, x):
        return jnp.sinh(x), jnp.log(jnp.cosh(x)).sum(-1)


class Cube(Sinh):
    """``x = z^3``, off by less than the tolerance, which the other direction makes much more of that near 0."""

    def forward_and_log_det(self, z):
        return z**3 + 5e-11, jnp.log(3 * z**2).sum(-1)

    def inverse_and_log_det(self, x):
        return jnp.cbrt(x), -jnp.log(3 * jnp.cbrt(x) ** 2).sum(-1)


LAST = float(np.asarray(data((4, 3)))[-1, 0])


class OneEvent(Sinh):
    """Its log-determinants are wrong at one event of the batch, the last."""

    def forward_and_log_det(self, z):
        x, log_det = super().forward_and_log_det(z)
        return x, log_det - self._wrong(x)

    def inverse_and_log_det(self, x):
        z, log_det = super().inverse_and_log_det(x)
        return z, log_det + self._wrong(x)

    def _wrong(self, x):
        return jnp.where(jnp.abs(x[..., 0] - LAST) < 1e-6, 0.5, 0.0)


class LogDetGradient(Sinh):
    """A branch of the log-determinant that no input takes has no derivative."""

    def inverse_and_log_det(self, x):
        branches = jnp.where(x > -100.0, jnp.log(jnp.cosh(x)), jnp.sqrt(x - 100.0))
        return jnp.sinh(x), branches.sum(-1)


class ForwardGradient(Sinh):
    """The same in the other direction."""

    def forward_and_log_det(self, z):
        x, log_det = super().forward_and_log_det(z)
        return jnp.where(z > -100.0, x, jnp.sqrt(z - 100.0)), log_det


class MixesAxes(Sinh):
    """Twice the event, or, behind two axes, the event and the mean over the first of them."""

    def forward_and_log_det(self, z):
        return z / 2, jnp.full(z.shape[:-1], -3 * np.log(2.0))

    def inverse_and_log_det(self, x):
        other = jnp.broadcast_to(x.mean(0, keepdims=True), x.shape) if x.ndim == 3 else x
        return x + other, jnp.full(x.shape[:-1], 3 * np.log(2.0))


class BatchLogDet(Sinh):
    """The log-determinant has the mean over the batch in it."""

    def forward_and_log_det(self, z):
        x, log_det = super().forward_and_log_det(z)
        return x, log_det + (log_det.mean() if z.ndim > 1 else 0.0)

    def inverse_and_log_det(self, x):
        z, log_det = super().inverse_and_log_det(x)
        return z, log_det + (log_det.mean() if x.ndim > 1 else 0.0)


class TracedLogDet(Sinh):
    """Another log-determinant under tracing, the right one at single events."""

    def inverse_and_log_det(self, x):
        z, log_det = super().inverse_and_log_det(x)
        return z, log_det + (0.5 if isinstance(x, jax.core.Tracer) and x.ndim == 2 else 0.0)


class KeyOneWay(Sinh):
    """Dropout on the way from data to latents only."""

    def forward_and_log_det(self, z, *, key=None):
        del key
        return super().forward_and_log_det(z)

    def inverse_and_log_det(self, x, *, key=None):
        keep = 1.0 if key is None else jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 2.0, 1.0)
        return jnp.sinh(keep * x), (jnp.log(jnp.cosh(keep * x)) + jnp.log(keep)).sum(-1)


KEY = {"key": jax.random.key(3)}
BROKEN = {
    "one event": (OneEvent, {}, {"log-det"}, r"worst at batch index \(3,\) \(1 of 4 values"),
    "gradient of the log-determinant": (LogDetGradient, {}, {"gradient"}, r"d\['x'\] is finite"),
    "gradient of the other direction": (ForwardGradient, {}, {"gradient"}, r"d\['z'\] is finite"),
    "mixes axes": (MixesAxes, {}, {"batching"}, "one more leading batch axis = batched"),
    "log-determinant of the batch": (BatchLogDet, {}, {"batching"}, "inverse log-det: jax.vmap"),
    "log-determinant under tracing": (TracedLogDet, {}, {"jit"}, "inverse log-det: jax.jit"),
    "key in one direction": (KeyOneWay, KEY, {"round trip", "log-det cancellation"}, "with|undo|inverse"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_layer_is_rejected_by_its_law_alone(name):
    make, options, laws, message = BROKEN[name]
    gradients = any("gradient" in law for law in laws)
    with pytest.raises(LawViolation, match=message) as error:
        check_bijector(make(), data((4, 3)), check_gradients=gradients, **options)
    assert set(error.value.laws) == laws


def test_the_way_back_is_checked_from_the_latents_too():
    x = 1e-9 * (1 + jnp.abs(data((4, 3))))
    with pytest.raises(LawViolation, match=r"\[round trip\] inverse\(forward\(z\)\) = z") as error:
        check_bijector(Cube(), x, check_gradients=False)
    assert error.value.laws == ("round trip",)


class Normal:
    """Standard normal in the plane."""

    event_shape = (2,)

    def log_prob(self, x):
        return -0.5 * (x**2 + np.log(2 * np.pi)).sum(-1)

    def sample(self, *, seed, sample_shape=()):
        return jax.random.normal(seed, (*sample_shape, *self.event_shape))

    def sample_and_log_prob(self, *, seed, sample_shape=()):
        x = self.sample(seed=seed, sample_shape=sample_shape)
        return x, self.log_prob(x)


class TwoAxes(Normal):
    """Behind two axes the mean over the first of them is in it."""

    def log_prob(self, x):
        return super().log_prob(x) + (x.mean((0, -1))[None] if x.ndim == 3 else 0.0)


def test_a_density_is_rejected_by_the_law_on_batch_axes_alone():
    with pytest.raises(LawViolation, match="two batch axes = one") as error:
        check_density(TwoAxes(), seed=jax.random.key(1))
    assert error.value.laws == ("batching",)


class ThreeSides:
    """A coin that shows 2 once in a hundred times, which no frequency of 0 and 1 gives away."""

    event_shape = ()

    def log_prob(self, x):
        return jnp.log(jnp.where(x == 1, 0.3, 0.7))

    def sample(self, *, seed, sample_shape=()):
        coin = jax.random.bernoulli(seed, 0.3, sample_shape).astype(jnp.int32)
        edge = jax.random.bernoulli(jax.random.fold_in(seed, 1), 0.01, sample_shape)
        return jnp.where(edge, 2, coin)

    def sample_and_log_prob(self, *, seed, sample_shape=()):
        x = self.sample(seed=seed, sample_shape=sample_shape)
        return x, self.log_prob(x)


def test_samples_outside_of_the_support_are_seen():
    with pytest.raises(
        LawViolation, match=r"samples lie in the support\n *\d+ of 4096 do not"
    ) as error:
        check_density(ThreeSides(), seed=jax.random.key(1), support=[0, 1])
    assert error.value.laws == ("samples",)


def test_tolerances_are_absolute_plus_relative():
    """``|got - expected| <= t + t |expected|``."""
    for expected, allowed in ((0.0, 0.1), (9.0, 1.0), (-9.0, 1.0)):
        assert close(expected + 0.99 * allowed, expected, 0.1)
        assert not close(expected + 1.01 * allowed, expected, 0.1)

    class Drift(Sinh):
        def forward_and_log_det(self, z):
            x, log_det = super().forward_and_log_det(z)
            return x + self.drift, log_det

    Drift.drift = 0.9e-10
    check_bijector(Drift(), 0.01 * data((4, 3)), check_gradients=False)
    Drift.drift = 1.2e-10
    with pytest.raises(LawViolation, match=r"\[round trip\]"):
        check_bijector(Drift(), 0.01 * data((4, 3)), check_gradients=False)


def test_tolerances_are_those_of_the_table():
    rows = re.findall(r"^(\w+\d+) +(\S+) +(\S+) +(\S+)$", inspect.getdoc(Tolerance), re.MULTILINE)
    assert len(rows) == 4
    for dtype, *values in rows:
        assert dataclasses.astuple(Tolerance.for_dtype(dtype)) == tuple(map(float, values))


def test_nan_is_the_worst_difference():
    report = Report("a")
    report.close("law", "what", [1.0, np.nan, 2.0], [1.0, 1.0, 1.0], 0.1, batch_ndims=1)
    with pytest.raises(LawViolation, match=r"worst at batch index \(1,\) \(2 of 3 values differ\)"):
        report.raise_if_broken()


# The grid.


def plane_grid():
    """``p = x y^2`` over [0, 2] x [1, 3]: the integral is 2 * 26/3."""
    return evaluate(
        lambda points: np.log(points[:, 0]) + 2 * np.log(points[:, 1]),
        np.array([0.0, 1.0]),
        np.array([2.0, 3.0]),
    )


def test_a_grid_has_the_midpoints_of_its_cells():
    grid = evaluate(lambda points: points[:, 0] * 0.0, np.array([-1.0]), np.array([3.0]))
    assert isinstance(grid, Grid)
    width = 4 / 2**14
    np.testing.assert_allclose(grid.points[[0, -1], 0], [-1 + width / 2, 3 - width / 2])
    np.testing.assert_allclose(grid.widths, [width])
    assert grid.mass.sum() == pytest.approx(4.0)
    low, high = default_limits(np.array([[0.0, 5.0], [2.0, 6.0]]))
    np.testing.assert_allclose((low, high), [[-2.0, 4.0], [4.0, 7.0]])


def test_integrals_over_a_grid_of_the_plane():
    grid = plane_grid()
    assert grid.shape == (512, 512)
    assert grid.mass.sum() == pytest.approx(52 / 3, rel=1e-5)
    # The coarse one takes the left neighbours: less mass, by half a cell, 2 / 512, of each coordinate.
    assert grid.coarse_integral() == pytest.approx(52 / 3, rel=2e-2)
    assert grid.boundary_mass() == pytest.approx(1.0)
    # x^2 / 4 and (y^3 - 1) / 26.
    np.testing.assert_allclose(grid.cdf(0), grid.edges[0] ** 2 / 4, atol=1e-5)
    np.testing.assert_allclose(grid.cdf(1), (grid.edges[1] ** 3 - 1) / 26, atol=1e-5)
    np.testing.assert_allclose(grid.mean(grid.points), [4 / 3, 30 / 13], rtol=1e-5)


def test_scramble_moves_what_is_trained_by_its_scale_and_cast_what_is_a_float():
    layer = dgm.BatchNorm((4_000,))
    moved = scramble(layer, jax.random.key(0), scale=0.5)
    before, _, _ = dgm.training.partition(layer)
    params, fixed, _ = dgm.training.partition(moved)
    for name, value in params.items():
        noise = np.asarray(value - before[name])
        assert abs(noise.std() - 0.5) < 0.03, name
        assert value.dtype == before[name].dtype
    chex.assert_trees_all_equal(fixed, dgm.training.partition(layer)[1])
    tree = cast({"a": jnp.ones(2, jnp.float32), "b": jnp.arange(2, dtype=jnp.int32)}, jnp.bfloat16)
    assert (tree["a"].dtype, tree["b"].dtype) == (jnp.bfloat16, jnp.int32)
