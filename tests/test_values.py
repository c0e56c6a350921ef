"""Values of elementwise maps, scales and amortised parameters, worked out by hand."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax import bijectors
from dgmjax.layers import AmortizedParameters


def test_logit_sends_the_ends_and_the_middle_where_alpha_says():
    """With alpha = 1/5 the ends are the probabilities 1/5 and 4/5, and 5 levels share the 3/5 between them."""
    x = jnp.array([0.0, 2.5, 5.0])
    z, log_derivative = bijectors.logit_inverse(x, 5.0, 0.2)
    np.testing.assert_allclose(z, [-math.log(4.0), 0.0, math.log(4.0)], atol=1e-14)
    # dp/dx = 3/25, and dz/dp = 1 / (p (1 - p)).
    slopes = [0.12 / 0.16, 0.12 / 0.25, 0.12 / 0.16]
    np.testing.assert_allclose(log_derivative, np.log(slopes), atol=1e-14)
    back, log_derivative = bijectors.logit_forward(z, 5.0, 0.2)
    np.testing.assert_allclose(back, x, atol=1e-12)
    np.testing.assert_allclose(log_derivative, -np.log(slopes), atol=1e-14)


@pytest.mark.parametrize(
    ("name", "at_zero", "at_one"),
    [
        ("tanh", 1.0, math.exp(2.0 * math.tanh(0.5))),
        ("sigmoid", 1.0 / (1.0 + math.exp(-2.0)), 1.0 / (1.0 + math.exp(-3.0))),
        ("double_sigmoid", 1.0, 2.0 / (1.0 + math.exp(-1.0))),
        ("softplus", 1.0, math.log(1.0 + math.e * (math.e - 1.0))),
        ("exp", 1.0, math.e),
    ],
)
def test_scales_at_zero_and_one(name, at_zero, at_one):
    log_scale = bijectors.scale_fn(name)(jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(jnp.exp(log_scale), [at_zero, at_one], rtol=1e-14)


def test_amortised_parameters_are_the_base_and_the_next_outputs_of_the_network():
    base = {
        "a": jnp.array([10.0, 20.0]),
        "b": jnp.array(30.0),
        "c": jnp.array([[40.0, 50.0], [60.0, 70.0]]),
    }
    parameters = AmortizedParameters(
        base,
        context_shape=(1,),
        make_conditioner=lambda _, shape: lambda context: context * jnp.arange(1.0, 1.0 + shape[0]),
    )
    found = parameters(jnp.array([[0.0], [1.0]]))
    np.testing.assert_array_equal(found["a"], [[10.0, 20.0], [11.0, 22.0]])
    np.testing.assert_array_equal(found["b"], [30.0, 33.0])
    np.testing.assert_array_equal(found["c"][1], [[44.0, 55.0], [66.0, 77.0]])
