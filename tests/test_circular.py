"""Angles: densities close where the circle does, and networks see them as one point there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.bijectors import CircularSplineTransformer, MixedTransformer, RotationTransformer
from dgmjax.testing import cast, scramble

SMALL = {"width": 8, "activation": "tanh"}
FLOWS = {
    "couplings": lambda rngs: dgm.NeuralSplineFlow(
        (2,), depth=2, circular=[True, True], rngs=rngs, **SMALL
    ),
    "couplings, one is real": lambda rngs: dgm.NeuralSplineFlow(
        (2,), depth=3, circular=[True, False], linear="affine", rngs=rngs, **SMALL
    ),
    "autoregressive": lambda rngs: dgm.MAF(
        (2,), depth=2, transformer="spline", circular=[True, True], rngs=rngs, **SMALL
    ),
    "one angle": lambda rngs: dgm.NeuralSplineFlow(
        (1,), depth=2, circular=[True], rngs=rngs, **SMALL
    ),
}


def make(name: str) -> dgm.Flow:
    return cast(scramble(FLOWS[name](nnx.Rngs(0)), jax.random.key(0)), jnp.float64)


@pytest.mark.parametrize("name", FLOWS)
def test_densities_are_equal_in_value_and_slope_where_the_circle_closes(name):
    flow, near = make(name), np.pi - 1e-9
    others = jnp.array([0.3])[: flow.event_shape[0] - 1]
    ends = [jnp.concatenate([jnp.array([end]), others]) for end in (-near, near)]
    values, slopes = zip(*(jax.value_and_grad(flow.log_prob)(x) for x in ends), strict=True)
    np.testing.assert_allclose(*values, atol=1e-6)
    np.testing.assert_allclose(*slopes, atol=1e-5)
    assert np.abs(slopes[0]).max() > 1e-3


def test_the_slope_of_a_closed_spline_is_the_same_at_both_ends():
    """And the ends stay where they are."""
    spline = CircularSplineTransformer(4)
    params = jax.random.normal(jax.random.key(0), (2, spline.num_params))
    ends = jnp.array([-np.pi + 1e-10, np.pi - 1e-10])
    x, log_slope = spline.forward(ends, jnp.stack([params[0]] * 2))
    np.testing.assert_allclose(x, ends, atol=1e-8)
    np.testing.assert_allclose(log_slope[0], log_slope[1], atol=1e-7)
    assert abs(log_slope[0]) > 0.1


@pytest.mark.parametrize("name", ["couplings", "autoregressive", "one angle"])
def test_densities_of_angles_have_the_mass_one(name):
    flow, num = make(name), 400
    size = flow.event_shape[0]
    grid = (np.arange(num) + 0.5) / num * 2.0 * np.pi - np.pi
    points = np.stack(np.meshgrid(*[grid] * size, indexing="ij"), -1).reshape(-1, size)
    mass = jnp.exp(flow.log_prob(jnp.asarray(points))).mean() * (2.0 * np.pi) ** size
    np.testing.assert_allclose(mass, 1.0, atol=2e-3)


@pytest.mark.parametrize("name", FLOWS)
def test_numbers_that_are_no_angles_have_no_density(name):
    flow = make(name)
    x = jnp.full((1, *flow.event_shape), 0.2)
    assert np.isfinite(flow.log_prob(x)).all()
    assert np.isneginf(flow.log_prob(x.at[0, 0].set(3.2))).all()
    drawn = flow.sample(seed=jax.random.key(1), sample_shape=500)[..., 0]
    assert np.abs(drawn).max() <= np.pi
    assert np.abs(drawn).max() > 2.5


@pytest.mark.slow
def test_two_angles_with_a_known_density(x32):
    """A mixture of von Mises distributions on the torus, to 0.02 nats."""
    stats = pytest.importorskip("scipy.stats")
    centres, weights = np.array([[0.0, 2.8], [-2.5, -2.9], [2.0, 0.5]]), np.array([0.5, 0.3, 0.2])

    def draw(num: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        of = centres[rng.choice(3, num, p=weights)]
        return stats.vonmises.rvs(4.0, loc=of, random_state=rng)

    def log_prob(x: np.ndarray) -> np.ndarray:
        parts = stats.vonmises.logpdf(x[:, None], 4.0, loc=centres[None]).sum(-1)
        return np.log((np.exp(parts) * weights).sum(-1))

    flow = dgm.NeuralSplineFlow((2,), circular=[True, True], linear="affine", rngs=nnx.Rngs(0))
    x = draw(20_000, 0).astype(np.float32)
    model = dgm.fit(flow, x, seed=jax.random.key(0), steps=3_000, batch_size=512).model
    test = draw(20_000, 1)
    found = np.asarray(model.log_prob(jnp.asarray(test, jnp.float32)))
    assert abs((log_prob(test) - found).mean()) < 0.02


def test_elements_of_several_kinds_have_their_own_maps():
    rotation, affine = RotationTransformer(), dgm.AffineTransformer("exp")
    mixed = MixedTransformer([affine, rotation, affine])
    params = jnp.array([[1.0, 0.5], [2.0, 9.0], [-1.0, 0.0]])
    x, log_derivative = mixed.forward(jnp.array([2.0, 2.0, 2.0]), params)
    np.testing.assert_allclose(x, [2.0 * np.exp(0.5) + 1.0, 4.0 - 2.0 * np.pi, 1.0], rtol=1e-6)
    np.testing.assert_allclose(log_derivative, [0.5, 0.0, 0.0], atol=1e-7)


def test_impossible_angles_say_what_was_expected():
    with pytest.raises(ValueError, match=r"a boolean for each element of \(3,\), got 2"):
        dgm.NeuralSplineFlow((3,), circular=[True, False], rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="angles are mapped by transformer='spline', got 'affine'"):
        dgm.MAF((2,), circular=[True, False], rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="angles cannot be mixed by a matrix"):
        dgm.NeuralSplineFlow((2,), circular=[True, False], linear="lu", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="expected num_bins of at least 1"):
        CircularSplineTransformer(0)
    with pytest.raises(ValueError, match="at least one transformer"):
        MixedTransformer([])
    with pytest.raises(ValueError, match="has transformers for 1 elements, got 2"):
        MixedTransformer([RotationTransformer()]).forward(jnp.zeros(2), jnp.zeros((2, 1)))
