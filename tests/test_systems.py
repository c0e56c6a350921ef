"""Named coupling systems: identity at first, densities, trained by one call."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from tests.instances import cast, scramble

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
def test_systems_are_densities(name):
    flow = SYSTEMS[name]((2,), depth=2, width=8, activation="tanh", rngs=nnx.Rngs(0))
    flow = cast(scramble(flow, jax.random.key(0)), jnp.float64)
    # A spline's density has kinks at its knots; the score law is for smooth ones.
    smooth = name == "NICE"
    dgm.testing.check_density(flow, seed=jax.random.key(1), smooth=smooth)


def test_wrong_shapes_say_what_to_do():
    with pytest.raises(
        ValueError, match=r"NICE: expected event_shape \(d,\) with d >= 2, got \(1,\)"
    ):
        dgm.NICE((1,), rngs=nnx.Rngs(0))
