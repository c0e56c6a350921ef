"""Flows as distributions, used through jax transforms as users do."""

import math

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast, scramble


@pytest.fixture(scope="module")
def flow() -> dgm.RealNVP:
    flow = dgm.RealNVP((2,), depth=4, width=16, activation="tanh", rngs=nnx.Rngs(0))
    return cast(scramble(flow, jax.random.key(0)), jnp.float64)


@pytest.fixture(scope="module")
def conditional() -> dgm.RealNVP:
    flow = dgm.RealNVP(
        (2,), depth=4, width=16, activation="tanh", context_shape=(3,), rngs=nnx.Rngs(0)
    )
    return cast(scramble(flow, jax.random.key(0)), jnp.float64)


def test_flow_is_a_density(flow):
    dgm.testing.check_density(flow, seed=jax.random.key(1))


def test_conditional_flow_is_a_density(conditional):
    context = jnp.array([0.3, -1.0, 2.0])
    dgm.testing.check_density(conditional, seed=jax.random.key(1), context=context)


@pytest.mark.slow
def test_flow_with_a_distrax_mixture_as_base_is_a_density(flow):
    normal = distrax.Independent(
        distrax.Normal(jnp.array([[-2.0, 0.0], [2.0, 1.0]]), jnp.full((2, 2), 0.7)), 1
    )
    base = distrax.MixtureSameFamily(distrax.Categorical(probs=jnp.array([0.3, 0.7])), normal)
    with jax.numpy_rank_promotion("allow"):  # distrax itself relies on it
        dgm.testing.check_density(dgm.Flow(flow.bijector, base), seed=jax.random.key(1))


def test_change_of_variables_by_hand():
    """D3-03: x = 2 u + 1 with u ~ N(0, 1) has density N(x | 1, 4); p(3) = 0.1209853623."""
    layer = dgm.Standardize((1,)).with_data_init(jnp.array([[-1.0], [3.0]], jnp.float32))
    log_p = dgm.Flow(layer).log_prob(jnp.array([3.0], jnp.float32))
    np.testing.assert_allclose(np.exp(log_p), 0.1209853623, rtol=1e-6)


def test_jit_vmap_and_grad_take_the_module_as_it_is(flow):
    x = flow.sample(seed=jax.random.key(2), sample_shape=(6,))
    expected = flow.log_prob(x)
    np.testing.assert_allclose(jax.jit(lambda f, x: f.log_prob(x))(flow, x), expected, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(flow.log_prob)(x), expected, rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(flow.log_prob)(x), expected, rtol=1e-12)
    score = jax.vmap(jax.grad(flow.log_prob))(x)
    assert score.shape == x.shape
    grads = jax.grad(lambda f: f.log_prob(x).sum())(flow)
    assert isinstance(grads, dgm.RealNVP)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_sample_shapes_with_context(conditional):
    context = jnp.ones((5, 3))
    x, log_p = conditional.sample_and_log_prob(
        seed=jax.random.key(0), sample_shape=(4,), context=context
    )
    assert x.shape == (4, 5, 2)
    np.testing.assert_allclose(log_p, conditional.log_prob(x, context), rtol=1e-9)
    assert not np.allclose(log_p, conditional.log_prob(x, context + 1.0))


def test_temperature_zero_is_the_image_of_the_mode(flow):
    x = flow.sample(seed=jax.random.key(0), sample_shape=3, temperature=0.0)
    mode = jnp.broadcast_to(flow.bijector.forward(jnp.zeros(2)), (3, 2))
    np.testing.assert_allclose(x, mode, rtol=1e-14)


@pytest.mark.parametrize("method", ["log_prob", "log_prob_and_update"])
def test_densities_whose_gradients_may_overflow_are_zero(method):
    """Those below ``exp(-2^72)``, beyond 9.7e10 standard deviations."""
    flow = cast(dgm.Flow(dgm.ActNorm((1,))), jnp.float32)
    x = jnp.asarray([[9e10], [1e11]], jnp.float32)

    def values(x):
        found = getattr(flow, method)(x)
        return found if method == "log_prob" else found[0]

    found, pull = jax.vjp(values, x)
    np.testing.assert_allclose(found, [-4.05e21, -np.inf], rtol=1e-6)
    np.testing.assert_allclose(pull(jnp.ones(2, jnp.float32))[0], [[-9e10], [0.0]], rtol=1e-6)


def test_a_flow_can_be_the_base_of_a_flow(flow):
    assert flow.event_shape == (2,)
    independent = dgm.Flow(flow.bijector, flow)  # a flow as the base of a flow
    x = independent.sample(seed=jax.random.key(0))
    z, log_det = flow.bijector.inverse_and_log_det(x)
    np.testing.assert_allclose(independent.log_prob(x), flow.log_prob(z) + log_det, rtol=1e-12)


def test_sampling_needs_only_forward_and_density_only_inverse():
    """D3-09: training a flow never runs the direction that sampling needs."""

    class OneWay(dgm.Bijector):
        event_shape = (2,)

        def forward_and_log_det(self, z):
            raise RuntimeError("forward was called")

        def inverse_and_log_det(self, x):
            return 2.0 * x, jnp.full(x.shape[:-1], 2 * math.log(2.0), x.dtype)

    one_way = dgm.Flow(OneWay())
    assert one_way.log_prob(jnp.ones((3, 2), jnp.float32)).shape == (3,)
    with pytest.raises(RuntimeError, match="forward was called"):
        one_way.sample(seed=jax.random.key(0))


BAD_CALLS = {
    "event shape": (
        lambda f, c: f.log_prob(jnp.ones((4, 3))),
        ValueError,
        r"RealNVP.log_prob: expected an array of shape \[\*batch, 2\], got \(4, 3\)",
    ),
    "integers": (
        lambda f, c: f.log_prob(jnp.ones((4, 2), int)),
        TypeError,
        r"expected floating-point values, got int64; .* wrap the flow in dgmjax.Dequantized",
    ),
    "superfluous context": (
        lambda f, c: f.log_prob(jnp.ones((4, 2)), jnp.ones(3)),
        ValueError,
        r"this model takes none; build it with context_shape=\(3,\)",
    ),
    "missing context": (
        lambda f, c: c.log_prob(jnp.ones((4, 2))),
        ValueError,
        r"this model is conditional; pass context= of shape \[\*batch, 3\]",
    ),
    "misshapen context": (
        lambda f, c: c.log_prob(jnp.ones((4, 2)), jnp.ones((4, 2))),
        ValueError,
        r"\(context\): expected an array of shape \[\*batch, 3\], got \(4, 2\)",
    ),
    "context rows": (
        lambda f, c: c.log_prob(jnp.ones((4, 2)), jnp.ones((5, 3))),
        ValueError,
        r"batch axes \(5,\) of the context do not broadcast to the batch axes \(4,\)",
    ),
    "image event": (
        lambda f, c: dgm.MAF((8, 8, 1), rngs=nnx.Rngs(0)),
        ValueError,
        r"expected event_shape \(d,\), got \(8, 8, 1\); flatten the data",
    ),
    "mask of another length": (
        lambda f, c: dgm.RealNVP((3,), mask=[True, False], rngs=nnx.Rngs(0)),
        ValueError,
        r"mask: expected 3 booleans",
    ),
    "mask that transforms nothing": (
        lambda f, c: dgm.RealNVP((2,), mask=[True, True], rngs=nnx.Rngs(0)),
        ValueError,
        r"needs elements that pass through .* all 2 are True",
    ),
    "unknown scale map": (
        lambda f, c: dgm.RealNVP((2,), scale_fn="relu", rngs=nnx.Rngs(0)),
        ValueError,
        r"scale_fn: unknown name 'relu'; expected one of",
    ),
    "chain of mismatched shapes": (
        lambda f, c: dgm.Chain([dgm.Standardize((2,)), dgm.Standardize((3,))]),
        ValueError,
        r"layer 0 \(Standardize\) has latents of shape \(2,\), but layer 1 \(Standardize\) produces",
    ),
    "conditional base": (
        lambda f, c: dgm.Flow(f.bijector, c),
        ValueError,
        "a conditional base would never see its context",
    ),
    "base of another shape": (
        lambda f, c: dgm.Flow(f.bijector, distrax.Normal(jnp.zeros(2), jnp.ones(2))),
        ValueError,
        r"the base has events of shape \(\), .* wrap a batch of scalars in distrax.Independent",
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_wrong_use_says_what_to_do(name, flow, conditional):
    call, error, message = BAD_CALLS[name]
    with pytest.raises(error, match=message):
        call(flow, conditional)


def test_a_layer_that_forgets_to_sum_its_log_det_is_refused():
    class Forgetful(dgm.Bijector):
        event_shape = (2,)

        def forward_and_log_det(self, z):
            return z, jnp.zeros_like(z)

        def inverse_and_log_det(self, x):
            return x, jnp.zeros_like(x)

    with pytest.raises(AssertionError, match="one log-determinant a batch element"):
        Forgetful().forward(jnp.ones((3, 2)))
