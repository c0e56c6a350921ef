"""Autoregressive structure, the equality of its directions, and what an inversion costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.bijectors.made_masks import made_degrees
from dgmjax.layers.autoregressive import MaskedAutoregressive
from dgmjax.testing import cast, scramble


def layer(size: int = 5, **options) -> MaskedAutoregressive:
    settings = {"width": 16, "activation": "tanh", "rngs": nnx.Rngs(0)} | options
    transformer = dgm.bijectors.AffineTransformer()
    made = MaskedAutoregressive((size,), transformer=transformer, **settings)
    return cast(scramble(made, jax.random.key(0)), jnp.float64)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]])
def test_parameters_depend_on_earlier_elements_only_and_on_all_of_them(order):
    """L7-01: exact zeros, not small numbers."""
    made = layer(order=order).conditioner
    jacobian = jax.jacfwd(made)(jnp.linspace(-1.0, 1.0, 5))  # [element, parameter, input]
    depends = (jacobian != 0).any(1)
    rank = np.argsort(order)
    np.testing.assert_array_equal(depends, rank[None, :] < rank[:, None])


@pytest.mark.parametrize(("order", "zeros"), [("sequential", np.triu), ("reverse", np.tril)])
def test_orders_by_name_begin_with_the_first_or_the_last_element(order, zeros):
    latent = layer(3, order=order).inverse
    jacobian = jax.jacobian(latent)(jnp.array([0.1, -0.3, 0.2]))
    strictly = {np.triu: 1, np.tril: -1}[zeros]
    np.testing.assert_array_equal(zeros(jacobian, strictly), 0.0)
    assert (jacobian.T if zeros is np.triu else jacobian)[0, 2] != 0.0


def test_a_context_reaches_the_first_element():
    made = layer(context_shape=(3,)).conditioner
    x = jnp.zeros(5)
    gradient = jax.jacfwd(lambda context: made(x, context)[0])(jnp.ones(3))
    assert (gradient != 0).any()


def test_the_incremental_direction_equals_the_naive_one():
    """D passes of the whole network, each fixing one more element, end at the same point."""
    made = layer(order=[2, 0, 4, 1, 3])
    z = jax.random.normal(jax.random.key(1), (7, 5))
    x = jnp.zeros_like(z)
    for _ in range(5):
        x, _ = made.transformer.forward(z, made.conditioner(x))
    np.testing.assert_allclose(made.forward(z), x, rtol=1e-12)


@pytest.mark.parametrize("order", ["reverse", [2, 0, 4, 1, 3]])
def test_the_jacobi_direction_equals_the_incremental_one_with_its_gradients(order):
    made, other = layer(order=order), layer(order=order, sequential="jacobi")
    z = jax.random.normal(jax.random.key(1), (7, 5))

    def loss(made, z):
        x, log_det = made.forward_and_log_det(z)
        return (jnp.sin(x).sum() + (log_det**2).sum()), x

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (made_bar, z_bar), x = gradient(made, z)
    (other_bar, other_z_bar), other_x = gradient(other, z)
    np.testing.assert_allclose(other_x, x, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(other_z_bar, z_bar, rtol=1e-9, atol=1e-12)
    for got, right in zip(jax.tree.leaves(other_bar), jax.tree.leaves(made_bar), strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-9, atol=1e-12)


def test_jacobi_goes_on_until_nothing_changes():
    """A chain that first shrinks a change to 1e-5 and then amplifies it fivefold an element."""
    gain = np.array([0.0, 1e-5, *[5.0] * 8], np.float32)

    def conditioner(params, x):
        return params * jnp.concatenate([jnp.zeros(1, x.dtype), x[:-1]])[:, None]

    z = jnp.zeros(10, jnp.float32).at[0].set(1.0)
    additive = dgm.bijectors.AdditiveTransformer()
    x, _ = dgm.bijectors.jacobi_forward(conditioner, jnp.asarray(gain)[:, None], z, additive)
    expected = np.cumprod(np.concatenate([[1.0], gain[1:]]))
    np.testing.assert_allclose(x, expected, rtol=1e-6)


def test_few_hidden_units_still_see_elements_of_the_whole_order():
    degrees = made_degrees(np.arange(101), 10, context=False)
    np.testing.assert_array_equal(degrees.hidden, 1 + 10 * np.arange(10))
    degrees = made_degrees(np.arange(4), 12, context=False)
    np.testing.assert_array_equal(degrees.hidden, np.repeat([1, 2, 3], 4))


def test_the_gated_form_is_the_plain_one_reparametrized():
    """L5-33 and E-L5-5: scale s, shift (1 - s) m; 1e-12."""
    gated = dgm.bijectors.GatedTransformer(bias=1.0)
    plain = dgm.bijectors.AffineTransformer("exp")
    x, m, raw = jax.random.normal(jax.random.key(0), (3, 50))
    s = jax.nn.sigmoid(raw + 1.0)
    z, log_derivative = gated.inverse(x, jnp.stack([m, raw], -1))
    np.testing.assert_allclose(z, s * x + (1.0 - s) * m, rtol=1e-12)
    # Plain, from latent to data: the same map with its scale and shift.
    params = jnp.stack([(1.0 - s) * m, jnp.log(s)], -1)
    expected, expected_log_derivative = plain.forward(x, params)
    np.testing.assert_allclose(z, expected, rtol=1e-12)
    np.testing.assert_allclose(log_derivative, expected_log_derivative, rtol=1e-12)
    # sigma = 1 / sigma_hat, mu = -mu_hat / sigma_hat of the lecture: (x - mu_hat) / sigma_hat.
    hat = jnp.stack([-(1.0 - s) * m / s, -jnp.log(s)], -1)
    np.testing.assert_allclose(z, plain.inverse(x, hat)[0], rtol=1e-12, atol=1e-14)


def test_the_incremental_direction_costs_about_one_pass():
    """L7-02, D3 and DESIGN 4.3: floating-point operations counted by the compiler, not seconds."""
    size, batch = 32, 64
    made = layer(size, width=64)
    z = jnp.zeros((batch, size))

    def flops(function) -> float:
        return jax.jit(function).lower(z).compile().cost_analysis()["flops"]

    # The loop's body is counted once; it runs `size` times.
    sequential = size * flops(made.forward)
    assert sequential < 3.0 * flops(made.inverse)


def test_iaf_is_maf_the_other_way_round():
    """L7-03: tied weights, 1e-12."""
    maf = layer()
    iaf = dgm.Inverse(maf)
    z = jax.random.normal(jax.random.key(1), (4, 5))
    np.testing.assert_allclose(iaf.forward(z), maf.inverse(z), rtol=1e-12)
    np.testing.assert_allclose(iaf.forward_log_det(z), maf.inverse_log_det(z), rtol=1e-12)


def test_a_coupling_is_a_special_autoregressive_layer():
    """L7-08: constants for the first d elements, then functions of those alone."""
    coupling = dgm.Coupling(
        (5,),
        mask="half",
        make_conditioner=lambda size, shape, context_size: dgm.nets.MLP(
            size, shape, width=8, rngs=nnx.Rngs(0)
        ),
        transformer=dgm.bijectors.AffineTransformer(),
    )
    coupling = cast(scramble(coupling, jax.random.key(0)), jnp.float64)
    x = jax.random.normal(jax.random.key(1), (4, 5))
    params = jnp.concatenate([jnp.zeros((4, 3, 2)), coupling.conditioner(x[:, :3])], 1)
    z, log_derivative = coupling.transformer.inverse(x, params)
    expected, log_det = coupling.inverse_and_log_det(x)
    np.testing.assert_allclose(z, expected, rtol=1e-12)
    np.testing.assert_allclose(log_derivative.sum(-1), log_det, rtol=1e-12)


@pytest.mark.parametrize("system", ["MAF", "IAF"])
@pytest.mark.one_in(2)
def test_systems_are_densities_with_one_call(system):
    flow = getattr(dgm.models, system)((2,), depth=2, width=16, activation="tanh", rngs=nnx.Rngs(0))
    flow = cast(scramble(flow, jax.random.key(0)), jnp.float64)
    dgm.testing.check_density(flow, seed=jax.random.key(1))


@pytest.mark.parametrize("system", ["MAF", "IAF"])
def test_a_fresh_system_is_the_identity_and_survives_saving(system, tmp_path):
    flow = getattr(dgm.models, system)((3,), depth=2, width=8, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (4, 3), jnp.float32)
    z, log_det = flow.bijector.inverse_and_log_det(x)
    np.testing.assert_array_equal(z, x)
    np.testing.assert_array_equal(log_det, 0.0)
    dgm.save(tmp_path / "model", flow)
    loaded = dgm.load(tmp_path / "model")
    assert jax.tree.structure(loaded) == jax.tree.structure(flow)


def test_wrong_use_says_what_to_do():
    with pytest.raises(
        ValueError, match=r"order: expected a permutation of 0 .. 2, got \[0, 0, 2\]"
    ):
        made_degrees([0, 0, 2], 4, context=False)
    with pytest.raises(
        ValueError, match="order: expected 'sequential', 'reverse' or a permutation"
    ):
        layer(order="random")
    with pytest.raises(ValueError, match="sequential: expected 'incremental' or 'jacobi'"):
        layer(sequential="newton")
    with pytest.raises(ValueError, match="transformer: expected 'affine', 'gated' or 'spline'"):
        dgm.models.MAF((2,), transformer="cubic", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="dropout is not available in the sequential direction"):
        layer(dropout=0.5).forward_and_log_det(jnp.zeros(5), key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"expected event_shape \(d,\), got \(2, 2\)"):
        dgm.models.MAF((2, 2), rngs=nnx.Rngs(0))
