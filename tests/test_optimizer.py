"""Updates of the default optimizer, option by option, against values worked out by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax import training

pytestmark = pytest.mark.usefixtures("x32")
SGD = {"algorithm": "sgd", "schedule": "constant", "momentum": 0.0}


def updates(gradients, *, start=(0.0, 0.0), name="bias", learning_rate=0.1, **options):
    """The updates of one array that meets ``gradients`` in turn, as NumPy arrays."""
    optimizer = training.default_optimizer(
        learning_rate=learning_rate, **({"steps": len(gradients)} | options)
    )
    params = {name: jnp.asarray(start)}
    state, found = optimizer.init(params), []
    update = jax.jit(optimizer.update)
    for gradient in gradients:
        change, state = update({name: jnp.asarray(gradient)}, state, params)
        params = {name: params[name] + change[name]}
        found.append(np.asarray(change[name]))
    return found


def test_gradients_are_clipped_before_the_optimizer_sees_them():
    """By their norm over all arrays; shorter ones stay as they are."""
    (clipped,) = updates([(3.0, 4.0)], clip_norm=1.0, **SGD)
    np.testing.assert_allclose(clipped, [-0.06, -0.08], rtol=1e-6)
    (short,) = updates([(0.3, 0.4)], clip_norm=1.0, **SGD)
    np.testing.assert_allclose(short, [-0.03, -0.04], rtol=1e-6)
    (free,) = updates([(3.0, 4.0)], **SGD)
    np.testing.assert_allclose(free, [-0.3, -0.4], rtol=1e-6)


def test_momentum_sums_gradients():
    """``v``: 1, then 1/2 + 1."""
    first, second = updates([(1.0, 2.0), (1.0, 2.0)], **(SGD | {"momentum": 0.5}))
    np.testing.assert_allclose(first, [-0.1, -0.2], rtol=1e-6)
    np.testing.assert_allclose(second, [-0.15, -0.3], rtol=1e-6)
    _, default = updates([(1.0, 1.0)] * 2, algorithm="sgd", schedule="constant")
    np.testing.assert_allclose(default, -0.19, rtol=1e-6)


def test_the_moments_of_adam_decay_by_b1_and_b2():
    """Gradients 1 and 3: ``m = (1/4 + 3/2) / (3/4)``, ``v = (3/16 + 9/4) / (7/16)``."""
    first, second = updates([(1.0, -1.0), (3.0, -3.0)], schedule="constant", b1=0.5, b2=0.75)
    np.testing.assert_allclose(first, [-0.1, 0.1], rtol=1e-5)
    change = 0.1 * (7 / 3) / math.sqrt(39 / 7)
    np.testing.assert_allclose(second, [-change, change], rtol=1e-5)
    # The defaults, 0.9 and 0.999: m = (0.09 + 0.3) / 0.19, v = (0.000999 + 0.009) / 0.001999.
    _, default = updates([(1.0, 1.0), (3.0, 3.0)], schedule="constant")
    np.testing.assert_allclose(
        default, -0.1 * (0.39 / 0.19) / math.sqrt(0.009999 / 0.001999), rtol=1e-4
    )


def test_adamax_divides_by_the_largest_gradient():
    """Gradients 3 and 1 with both decays 1/2: ``m = (3/4 + 1/2) / (3/4)``, ``u = max(3/2, 1)``."""
    first, second = updates(
        [(3.0, 3.0), (1.0, 1.0)], algorithm="adamax", schedule="constant", b1=0.5, b2=0.5
    )
    np.testing.assert_allclose(first, -0.1, rtol=1e-5)
    np.testing.assert_allclose(second, -0.1 * (5 / 3) / 1.5, rtol=1e-5)


def rates(**options) -> np.ndarray:
    """The learning rate of each step: minus the updates of SGD on a gradient of 1."""
    options = {"algorithm": "sgd", "momentum": 0.0, "learning_rate": 1.0, "steps": 8} | options
    found = updates([(1.0, 1.0)] * (options["steps"] + 1), **options)
    return -np.stack(found)[:, 0]


COSINE = [(1 + math.cos(math.pi * k / 8)) / 2 for k in range(9)]
SCHEDULES = {
    "cosine": ({}, COSINE),
    "cosine after a warm-up": (
        {"steps": 12, "warmup_steps": 4},
        [0.0, 0.25, 0.5, 0.75, *COSINE],
    ),
    "constant": ({"schedule": "constant"}, [1.0] * 9),
    "constant after a warm-up": (
        {"schedule": "constant", "warmup_steps": 4},
        [0.0, 0.25, 0.5, 0.75, *[1.0] * 5],
    ),
    "piecewise": (
        {"schedule": "piecewise", "milestones": (2, 5)},
        [1.0, 1.0, 0.1, 0.1, 0.1, *[0.01] * 4],
    ),
    "piecewise after a warm-up": (
        {"schedule": "piecewise", "milestones": (6,), "decay": 0.5, "warmup_steps": 4},
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, *[0.5] * 3],
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_rate_of_every_step(name):
    options, expected = SCHEDULES[name]
    np.testing.assert_allclose(rates(**options), expected, atol=1e-6)


@pytest.mark.parametrize("algorithm", ["adamw", "adamax"])
def test_weight_decay_is_decoupled(algorithm):
    """The first update is the sign of the gradient, and half of the weight is added to it; biases know none."""
    options = {"algorithm": algorithm, "schedule": "constant", "weight_decay": 0.5, "clip_norm": 1}
    (kernel,) = updates([(9.0, -9.0)], start=(2.0, 4.0), name="kernel", **options)
    np.testing.assert_allclose(kernel, [-0.1 * (1 + 1), -0.1 * (-1 + 2)], rtol=1e-5)
    (bias,) = updates([(9.0, -9.0)], start=(2.0, 4.0), **options)
    np.testing.assert_allclose(bias, [-0.1, 0.1], rtol=1e-5)


def test_weight_decay_of_sgd_goes_through_momentum_and_is_not_clipped():
    """The clipped gradient (3/5, 4/5), and half of the weight (2, 4)."""
    options = SGD | {"momentum": 0.5, "weight_decay": 0.5, "clip_norm": 1.0}
    first, second = updates([(3.0, 4.0), (0.0, 0.0)], start=(2.0, 4.0), name="kernel", **options)
    np.testing.assert_allclose(first, [-0.16, -0.28], rtol=1e-5)
    np.testing.assert_allclose(
        second, [-0.1 * (0.8 + 0.5 * 1.84), -0.1 * (1.4 + 0.5 * 3.72)], rtol=1e-5
    )


class Weight(nnx.Module):
    """One number."""

    event_shape = (1,)

    def __init__(self):
        self.w = nnx.Param(jnp.zeros(()))


def slope(model, batch, key):
    """Its gradient is the mean of the rows."""
    del key
    rows = model.w[...] * batch["x"][:, 0]
    return rows.mean(), {"nats": (rows.sum(), jnp.asarray(rows.size, rows.dtype))}


def test_fit_takes_adam_with_the_norm_clipped_at_1_and_a_cosine():
    """Rows of 1/2, 2 and 30, one a step in the order that the records tell."""
    rows = np.asarray([[0.5], [2.0], [30.0]] * 4, np.float32)
    result = dgm.fit(
        Weight(), rows, seed=jax.random.key(0), steps=6, batch_size=1, eval_every=1,
        learning_rate=0.25, loss=slope,
    )  # fmt: skip
    m = v = 0.0
    gradients = []
    for step, record in enumerate(result.history):
        gradient = min(record["grad_norm"], 1.0)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        rate = 0.25 * (1 + math.cos(math.pi * step / 6)) / 2
        corrected = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
        expected = rate * corrected[0] / math.sqrt(corrected[1])
        assert math.isclose(record["update_norm"], expected, rel_tol=1e-3), step
        gradients.append(record["grad_norm"])
    assert max(gradients) > 1.5 > 0.6 > min(gradients)


def test_fit_returns_the_average_with_its_own_decay():
    """Weights -1, -2, -3 in a run of three steps: with decay 1/2 the average is -(1/4 + 1 + 3) / (7/4)."""
    rows = np.ones((4, 1), np.float32)
    options = {"seed": jax.random.key(0), "steps": 3, "eval_every": 3, "optimizer": optax.sgd(1.0)}
    for decay, expected in ((0.5, -17 / 7), (0.0, -3.0)):
        result = dgm.fit(Weight(), rows, loss=slope, ema_decay=decay, **options)
        assert math.isclose(float(result.model.w[...]), expected, rel_tol=1e-6)
    weights = 0.99 ** np.arange(2, -1, -1)
    default = float(dgm.fit(Weight(), rows, loss=slope, **options).model.w[...])
    assert math.isclose(default, -(weights @ [1, 2, 3]) / weights.sum(), rel_tol=1e-6)


def test_metrics_of_a_window_are_means_over_its_steps_and_rows():
    """Nats of weights 0, -1, ..., -5 on rows of 1, three steps a window; a metric may count what it likes."""

    def counted(model, batch, key):
        value, metrics = slope(model, batch, key)
        count = 1.0 - model.w[...]  # 1, 2, ..., 6
        return value, metrics | {"share": (count * count, count)}

    result = dgm.fit(
        Weight(), np.ones((4, 1), np.float32), loss=counted, seed=jax.random.key(0), steps=6,
        eval_every=3, optimizer=optax.sgd(1.0), learning_rate=1.0,
    )  # fmt: skip
    found = [(r["step"], r["nats"], r["loss"], r["param_norm"], r["share"]) for r in result.history]
    np.testing.assert_allclose(found, [(3, -1, -1, 2, 14 / 6), (6, -4, -4, 5, 77 / 15)], rtol=1e-6)
