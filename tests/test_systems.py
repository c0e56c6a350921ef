"""Named coupling systems: identity at first, densities, trained by one call."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast, scramble

SYSTEMS = {"NICE": dgm.NICE, "NeuralSplineFlow": dgm.NeuralSplineFlow}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_fresh_system_is_the_identity_and_survives_saving(name, tmp_path):
    flow = SYSTEMS[name]((3,), depth=2, width=8, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (4, 3), jnp.float32)
    z, log_det = flow.bijector.inverse_and_log_det(x)
    np.testing.assert_allclose(z, x, atol=1e-6)
    np.testing.assert_allclose(log_det, 0.0, atol=1e-5)
    dgm.save(tmp_path / "model", flow)
    assert jax.tree.structure(dgm.load(tmp_path / "model")) == jax.tree.structure(flow)


def test_nice_changes_volume_only_by_its_diagonal():
    """L5-02: the log-determinant is the sum of the log-scales, whatever the couplings do."""
    flow = cast(scramble(dgm.NICE((4,), width=8, rngs=nnx.Rngs(0)), jax.random.key(0)), jnp.float64)
    x = jax.random.normal(jax.random.key(1), (5, 4))
    _, log_det = flow.bijector.inverse_and_log_det(x)
    log_scale = flow.bijector.layers[-1].log_scale[...]
    assert (log_scale != 0).all()
    np.testing.assert_allclose(log_det, -log_scale.sum(), rtol=1e-12)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.one_in(2)
def test_systems_are_densities(name):
    flow = SYSTEMS[name]((2,), depth=2, width=8, activation="tanh", rngs=nnx.Rngs(0))
    flow = cast(scramble(flow, jax.random.key(0)), jnp.float64)
    # A spline's density has kinks at its knots; the score law is for smooth ones.
    smooth = name == "NICE"
    dgm.testing.check_density(flow, seed=jax.random.key(1), smooth=smooth)


def test_couplings_are_undone_in_the_opposite_order():
    """E-L5-1: y1 = x1 + F(x2), y2 = x2 + G(y1) is undone by G first; as printed it is not, unless F = G."""

    def coupling(kept: list[bool], seed: int) -> dgm.Coupling:
        net = functools.partial(dgm.nets.MLP, width=8, activation="tanh", rngs=nnx.Rngs(seed))
        additive = dgm.bijectors.AdditiveTransformer()
        made = dgm.Coupling((4,), mask=kept, make_conditioner=net, transformer=additive)
        return cast(scramble(made, jax.random.key(seed)), jnp.float64)

    move_second = coupling([True, True, False, False], 0)
    move_first = coupling([False, False, True, True], 1)
    pair = dgm.Chain([move_second, move_first])  # applies its last layer first
    f, g = (lambda half, c=c: c.conditioner(half)[..., 0] for c in (move_first, move_second))
    x1, x2 = jax.random.normal(jax.random.key(1), (2, 5, 2))
    y1 = x1 + f(x2)
    y2 = x2 + g(y1)
    y = jnp.concatenate([y1, y2], -1)
    np.testing.assert_allclose(pair.forward(jnp.concatenate([x1, x2], -1)), y, rtol=1e-12)
    np.testing.assert_allclose(pair.inverse(y), jnp.concatenate([x1, x2], -1), rtol=1e-12)
    printed_x2 = y2 - f(y1)
    printed_x1 = y1 - g(printed_x2)
    assert (jnp.abs(printed_x2 - x2) > 1e-3).any()
    assert (jnp.abs(printed_x1 - x1) > 1e-3).any()


def test_wrong_shapes_say_what_to_do():
    with pytest.raises(
        ValueError, match=r"NICE: additive couplings of a single element only shift"
    ):
        dgm.NICE((1,), rngs=nnx.Rngs(0))
