"""Variational fitting to densities whose normaliser is known."""

import math

import jax
import jax.numpy as jnp
import numpy as np
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


BOX = (
    lambda x: jnp.where((jnp.abs(x) < 0.5).all(), 0.0, -jnp.inf),
    r"log_density is -inf at \d+ of 64 samples of the model in step 1, .* first layer map onto the region, .*Sigmoid",
)
TARGETS = {
    "box": BOX,
    "root": (lambda x: jnp.sqrt(x[0]) - x @ x, r"log_density is NaN at \d+ of 64 .* Make log_density finite"),
    "pole": (lambda x: jnp.where(x[0] > 0, jnp.inf, 0.0), r"log_density is inf at \d+ of 64 "),
}  # fmt: skip


def small() -> dgm.Flow:
    return dgm.RealNVP((2,), depth=2, width=4, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_that_is_not_finite_where_the_model_samples_is_named_at_once(name):
    target, message = TARGETS[name]
    with pytest.raises(FloatingPointError, match=message) as raised:
        dgm.fit_density(small(), target, seed=jax.random.key(0), num_samples=64, steps=10**6)
    assert "learning rate" not in str(raised.value)


def test_a_target_that_the_model_leaves_later_is_named_when_the_run_stops():
    """Good at first: the density grows towards a wall that samples cross soon."""
    target = lambda x: jnp.where(x[0] < 8.0, 20.0 * x[0], -jnp.inf)  # noqa: E731
    with pytest.raises(FloatingPointError, match="log_density is -inf at") as raised:
        dgm.fit_density(
            small(), target, seed=jax.random.key(0), num_samples=64, steps=300, learning_rate=0.1,
            eval_every=50,
        )  # fmt: skip
    assert "in step 1," not in str(raised.value)


def test_a_model_whose_samples_stay_inside_the_box_fits_it():
    """The remedy of the message; log Z = 0 of the uniform density."""
    model = dgm.Flow(dgm.Chain([dgm.Elementwise(dgm.SigmoidTransformer(), (2,)), small().bijector]))
    inside = lambda x: jnp.where(((x >= 0) & (x <= 1)).all(), 0.0, -jnp.inf)  # noqa: E731
    result = dgm.fit_density(
        model, inside, seed=jax.random.key(0), num_samples=64, steps=20, eval_every=20
    )
    assert np.isfinite(result.history[-1]["log_z_bound"])
    assert "skipped_steps" not in result.history[-1]


def test_a_fit_to_a_density_follows_a_cosine_and_returns_the_average_asked_for():
    """The density is so wide that the slope of the log-scale is -1: a step is as large as its rate."""
    flow, results = dgm.Flow(dgm.DiagonalLinear((1,))), {}
    for decay in (0.0, 0.5):
        results[decay] = dgm.fit_density(
            flow, lambda x: -0.5 * ((x / 100.0) ** 2).sum(), seed=jax.random.key(0), steps=6,
            eval_every=1, num_samples=64, learning_rate=0.1, ema_decay=decay,
        )  # fmt: skip
    rates = [0.05 * (1 + math.cos(math.pi * k / 6)) for k in range(6)]
    updates = [record["update_norm"] for record in results[0.0].history]
    np.testing.assert_allclose(updates, rates, rtol=0.01)
    values, weights = np.cumsum(rates), 0.5 ** np.arange(5, -1, -1)
    for decay, expected in ((0.0, values[-1]), (0.5, weights @ values / weights.sum())):
        (log_scale,) = dgm.training.partition(results[decay].model)[0].values()
        np.testing.assert_allclose(log_scale, [expected], rtol=0.01)
