"""Variational fitting to densities whose normaliser is known."""

import math

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import dgmjax as dgm

pytestmark = pytest.mark.usefixtures("x32")

LOG_Z = 3.0


def banana(x: jax.Array) -> jax.Array:
    """``N(x_0 | 0, 1) N(x_1 | x_0^2 / 2, 0.5^2)`` times ``e^3``: log Z = 3 exactly."""
    first = -0.5 * x[0] ** 2 - 0.5 * math.log(2 * math.pi)
    residual = (x[1] - 0.5 * x[0] ** 2) / 0.5
    return first - 0.5 * residual**2 - 0.5 * math.log(2 * math.pi) - math.log(0.5) + LOG_Z


@pytest.mark.slow
def test_reverse_kl_recovers_a_known_normaliser():
    """L7-04: the bound on log Z is tight to 0.02 nats, and stays a bound."""
    flow = dgm.IAF((2,), depth=4, width=32, activation="tanh", rngs=nnx.Rngs(0))
    result = dgm.fit_density(flow, banana, seed=jax.random.key(0), steps=800, learning_rate=1e-2)
    x, log_q = result.model.sample_and_log_prob(seed=jax.random.key(1), sample_shape=(20_000,))
    weights = jax.vmap(banana)(x) - log_q
    standard_error = float(weights.std()) / math.sqrt(weights.size)
    assert LOG_Z - 0.02 < float(weights.mean()) < LOG_Z + 3 * standard_error
    assert all("log_z_bound" in record for record in result.history)


def test_the_loss_of_the_exact_model_is_minus_log_z():
    flow = dgm.Flow(dgm.Standardize((3,)))
    loss, metrics = dgm.objectives.reverse_kl(lambda x: flow.log_prob(x) + 2.0)(
        flow, {}, jax.random.key(0)
    )
    assert abs(float(loss) + 2.0) < 1e-5
    assert float(jnp.asarray(metrics["log_z_bound"][0])) == pytest.approx(2.0 * 256, rel=1e-5)
