"""Couplings of vectors: what passes through, the blocks of the Jacobian, scales, and the order of a chain."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.bijectors.coupling import seen
from dgmjax.testing import cast, scramble
from tests.instances import coupling


@pytest.mark.parametrize("scale_fn", ["tanh", "double_sigmoid", "softplus", "exp"])
def test_a_fresh_coupling_is_the_identity(scale_fn):

    layer = coupling(4, "alternating", scale_fn)(nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (5, 4), jnp.float32)
    z, log_det = layer.inverse_and_log_det(x)
    assert jnp.array_equal(z, x)
    assert jnp.array_equal(log_det, jnp.zeros(5, jnp.float32))


def test_a_conditioner_sees_numbers_up_to_a_quarter_of_the_exponents():
    """Its products with weights of as many again do not overflow: 128 / 4 - 4 exponents."""
    x = jnp.asarray([1e30, -1e30, 3.0], jnp.float32)
    assert jnp.array_equal(seen(x), jnp.asarray([2.0**28, -(2.0**28), 3.0], jnp.float32))


def test_masked_elements_pass_through_unchanged():
    mask = [True, False, True, True, False]

    layer = scramble(coupling(5, mask)(nnx.Rngs(0)), jax.random.key(0))
    z = jax.random.normal(jax.random.key(1), (7, 5), jnp.float32)
    x = layer.forward(z)
    kept = jnp.asarray(mask)
    assert jnp.array_equal(x[:, kept], z[:, kept])
    assert (x[:, ~kept] != z[:, ~kept]).all()


def test_coupling_jacobian_has_the_blocks_of_the_lecture():
    """D3-14: identity on the kept part, no dependence on the moved part, diagonal elsewhere."""

    layer = cast(scramble(coupling(5, "half")(nnx.Rngs(0)), jax.random.key(0)), jnp.float64)
    jacobian = jax.jacfwd(layer.forward)(jax.random.normal(jax.random.key(1), (5,)))
    assert jnp.array_equal(jacobian[:3, :3], jnp.eye(3))
    assert jnp.array_equal(jacobian[:3, 3:], jnp.zeros((3, 2)))
    moved = jacobian[3:, 3:]
    assert jnp.array_equal(moved, jnp.diag(jnp.diag(moved)))
    assert (jacobian[3:, :3] != 0).all()


def test_chain_applies_the_last_layer_first():
    double = dgm.Standardize((1,)).with_data_init(jnp.array([[-2.0], [2.0]], jnp.float32))
    shift = dgm.Standardize((1,)).with_data_init(jnp.array([[4.0], [6.0]], jnp.float32))
    chain = dgm.Chain([double, shift])  # double(shift(z)) = 2 (z + 5)
    x = chain.forward(jnp.array([1.0], jnp.float32))
    assert jnp.allclose(x, jnp.array([12.0], jnp.float32))


@pytest.mark.parametrize("scale_fn", ["tanh", "sigmoid", "double_sigmoid"])
def test_scales_are_bounded_at_extreme_outputs(scale_fn):
    raw = jnp.array([-1e4, -50.0, 0.0, 50.0, 1e4], jnp.float32)
    log_scale = dgm.bijectors.scale_fn(scale_fn)(raw)
    assert jnp.isfinite(log_scale).all()
    assert (log_scale <= 2.0).all()
