"""Rows with weights: how often they come, what a fit to them is, and what their weights may be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.data.order import Order, resampled_rows
from dgmjax.objectives.maximum_likelihood import negative_log_likelihood

pytestmark = pytest.mark.usefixtures("x32")
KEY = jax.random.key(0)
QUIET = dgm.Watch(progress=False)


def flow(dim: int = 1) -> dgm.Flow:
    return dgm.Flow(dgm.Chain([dgm.Standardize((dim,)), dgm.DiagonalLinear((dim,))]))


# The order of rows.


def test_a_row_comes_as_often_as_its_weight_says():
    weights = np.array([0.0, 1.0, 2.5, 4.5, 0.0])  # of 5 draws 0.625, 1.5625 and 2.8125
    order = Order(5, 5, seed=3, weights=weights)
    counts = np.array([np.bincount(order(step), minlength=5) for step in range(2_000)])
    assert (counts.sum(1) == 5).all()
    expected = 5 * weights / weights.sum()
    assert (np.abs(counts - expected) < 1).all()
    # Counts of a row vary by less than 1/2, so these are four standard errors.
    np.testing.assert_allclose(counts.mean(0), expected, atol=4 * 0.5 / np.sqrt(2_000))
    assert len({tuple(order(step)) for step in range(20)}) > 10  # in another order each time


class Steps(np.random.RandomState):
    """Steps that begin at ``offset``."""

    offset = 0.0

    def random_sample(self):
        return self.offset


@pytest.mark.parametrize("offset", [0.0, 0.5, 1.0 - 2**-53])
def test_draws_stay_among_rows_of_positive_weight(offset):
    weights = np.array([0.0, 0.1, 0.2, 0.3, 0.1, 0.0, 0.0])
    for seed in range(20):
        random = Steps(seed)
        random.offset = offset
        rows = resampled_rows(weights, random)
        assert (weights[rows] > 0).all()
        assert (np.diff(rows) >= 0).all()
    if offset < 0.9:  # rounding takes a step that begins at its very end to the next row
        np.testing.assert_array_equal(resampled_rows(np.ones(7), random), np.arange(7))


def test_weights_with_a_period_do_not_go_in_step_with_the_draws():
    """Rows 0, 1, 2, 0, 1, 2, ... of weight 1, 1, 0: in their order the second would always come twice."""
    rows = resampled_rows(np.array([1.0, 1.0, 0.0] * 400), np.random.RandomState(0))
    counts = np.bincount(rows % 3)
    assert counts.sum() == 1_200
    assert abs(counts[0] - 600) < 4 * 0.5 * np.sqrt(400)


def test_processes_share_the_batch_of_one():
    weights = np.arange(12.0)
    alone = Order(12, 4, seed=1, weights=weights)
    shares = [Order(12, 4, 1, process, 2, weights) for process in range(2)]
    for step in range(7):
        np.testing.assert_array_equal(alone(step), np.concatenate([s(step) for s in shares]))


# Fits.


def mixture(rng: np.random.RandomState, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Two clusters, of which the right one weighs three times as much as the left, and outliers of weight zero."""
    x = np.concatenate([rng.normal(-2, 0.5, rows), rng.normal(2, 0.5, rows), np.full(rows, 50.0)])
    return x[:, None].astype(np.float32), np.repeat([1.0, 3.0, 0.0], rows)


def test_a_fit_to_weighted_rows_is_that_to_resampled_rows():
    rng = np.random.RandomState(0)
    x, weights = mixture(rng, 1_000)
    held_out, of_held_out = mixture(rng, 1_000)
    test = np.repeat(held_out, of_held_out.astype(int), axis=0)

    def fitted(x, **options):
        model = dgm.NeuralSplineFlow(
            (1,), depth=2, preprocess=dgm.Standardize((1,)), rngs=nnx.Rngs(0)
        )
        return dgm.fit(model, x, seed=KEY, steps=400, learning_rate=5e-3, watch=QUIET, **options)

    def nats(result):
        return dgm.log_likelihood(result.model, test).negative_log_likelihood

    weighted = fitted(
        x, weights=weights, validation=held_out, validation_weights=10.0 * of_held_out
    )
    resampled = fitted(np.repeat(x, weights.astype(int), axis=0), validation=test)
    assert abs(nats(weighted) - nats(resampled)) < 0.02
    assert nats(fitted(x[:2_000])) > nats(weighted) + 0.1
    # Of the two the weighted one knows the share of the clusters: entropy of a quarter and of a normal of width 1/2.
    entropy = 0.5 * np.log(2 * np.pi * np.e * 0.25) - 0.25 * np.log(0.25) - 0.75 * np.log(0.75)
    assert abs(nats(weighted) - entropy) < 0.06


def test_metrics_of_validation_are_weighted_means():
    values = np.array([[0.0], [1.0], [2.0], [5.0]], np.float32)
    weights = np.array([1.0, 0.0, 2.0, 1.0])
    options = {"seed": KEY, "steps": 2, "eval_every": 1, "watch": QUIET, "ema_decay": 0.0}
    train = np.random.RandomState(0).normal(size=(64, 1)).astype(np.float32)
    by_weights = dgm.fit(
        flow(), train, validation=values, validation_weights=weights, **options
    ).history
    by_rows = dgm.fit(flow(), train, validation=values[[0, 2, 2, 3]], **options).history
    found, expected = (
        [record["nats"] for record in history if record["split"] == "validation"]
        for history in (by_weights, by_rows)
    )
    assert len(found) >= 2
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_weighted_bits_by_hand():
    """Events 0, 1, 2, 3 of one of four levels with masses 1/2, 1/4, 1/8, 1/8, and weights 1, 1, 2, 4."""
    logits = jnp.log(jnp.asarray([0.5, 0.25, 0.125, 0.125]))

    class Table:
        event_shape, context_shape, num_levels = (1,), None, 4

        def log_prob(self, x, context=None, *, seed=None, key=None):
            return logits[x[..., 0]]

        def bound(self, num_samples=1):
            return dgm.densities.Bound("exact")

    batch = {"x": jnp.arange(4)[:, None], "weights": jnp.asarray([1.0, 1.0, 2.0, 4.0])}
    value, metrics = negative_log_likelihood(Table(), batch, KEY)
    total, count = metrics["bits_per_dim"]
    np.testing.assert_allclose(total / count, (1 + 2 + 2 * 3 + 4 * 3) / 8, rtol=1e-6)
    np.testing.assert_allclose(value, np.log(2) * 21 / 8, rtol=1e-6)


def test_layers_set_from_data_see_the_weights():
    x = np.array([[0.0], [1.0], [9.0]] * 40, np.float32)
    weights = np.array([1.0, 1.0, 0.0] * 40)
    result = dgm.fit(flow(), x, weights=weights, seed=KEY, steps=1, watch=QUIET)
    centre = result.model.bijector.layers[0].inverse(jnp.asarray([0.5]))
    # Of 60 draws of 0 or 1 on average; unweighted, the mean would be 10 / 3 and this -0.69.
    assert abs(float(centre[0])) < 0.2


def test_only_ratios_of_weights_count_and_equal_ones_are_none():
    x = np.random.RandomState(0).normal(size=(40, 1)).astype(np.float32)
    weights = np.arange(40.0) + 1

    def last(weights):
        result = dgm.fit(flow(), x, weights=weights, seed=KEY, steps=8, batch_size=8, watch=QUIET)
        return jax.tree.leaves(nnx.state(result.model, nnx.Param))

    for a, b in zip(last(weights), last(2.0**-600 * weights), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(last(np.full(40, 7.0)), last(None), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_run_with_weights_continues_and_knows_them(tmp_path):
    x = np.random.RandomState(0).normal(size=(40, 1)).astype(np.float32)
    weights = np.arange(40.0)

    def run(steps, weights, workdir):
        options = {"steps": steps, "batch_size": 8, "eval_every": 5, "watch": QUIET}
        return dgm.fit(flow(), x, weights=weights, seed=KEY, workdir=workdir, **options)

    run(5, weights, tmp_path / "run")
    continued = run(10, weights, tmp_path / "run")
    whole = run(10, weights, tmp_path / "whole")
    assert continued.steps == whole.steps == 10
    with pytest.raises(ValueError, match="weights"):
        run(15, weights + 1, tmp_path / "run")
    with pytest.raises(ValueError, match="weights"):
        run(15, None, tmp_path / "run")


# Tables.


def test_a_table_with_weights():
    rng = np.random.RandomState(0)
    table = np.concatenate([rng.normal(0, 1, (500, 2)), rng.normal(30, 1, (500, 2))])
    table[0, 0] = 1e5
    weights = np.repeat([1.0, 0.0], 500)
    weights[0] = 0.0
    density = dgm.interop.fit_table(
        table, weights=weights, seed=KEY, steps=100, batch_size=64, watch=QUIET
    )
    samples = np.asarray(density.sample(200, seed=jax.random.key(1)))
    assert np.abs(samples).max() < 8
    with pytest.raises(
        ValueError, match=r"fit_table: weights: .* shape \(1000,\), got shape \(3,\)"
    ):
        dgm.interop.fit_table(table, weights=[1.0, 2.0, 3.0], seed=KEY)


# Errors.

BAD = {
    "one too few": (np.ones(9), r"expected one weight a row, shape \(10,\), got shape \(9,\)"),
    "a column": (np.ones((10, 1)), r"got shape \(10, 1\)"),
    "negative": (np.r_[np.ones(9), -1.0], r"got -1\.0 in row 9 \(1 of 10"),
    "NaN": (np.r_[np.nan, np.ones(9)], "got nan in row 0"),
    "infinite": (np.r_[np.inf, np.ones(9)], "got inf in row 0"),
    "zero": (np.zeros(10), "all 10 weights are zero"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("option", ["weights", "validation_weights"])
def test_weights_that_mean_nothing_are_refused(name, option):
    weights, message = BAD[name]
    x = np.random.RandomState(0).normal(size=(10, 1)).astype(np.float32)
    with pytest.raises(ValueError, match=f"fit: {option}: .*{message}"):
        dgm.fit(flow(), x, validation=x, seed=KEY, steps=1, watch=QUIET, **{option: weights})


def test_weights_of_validation_need_rows_and_the_loss_that_knows_them():
    x = np.random.RandomState(0).normal(size=(10, 1)).astype(np.float32)
    with pytest.raises(ValueError, match="of validation data; pass validation"):
        dgm.fit(flow(), x, validation_weights=np.ones(10), seed=KEY, steps=1, watch=QUIET)

    def other(model, batch, key):
        return -model.log_prob(batch["x"]).mean(), {}

    with pytest.raises(ValueError, match="are for the default validation_loss"):
        dgm.fit(
            flow(), x, validation=x, validation_weights=np.ones(10), validation_loss=other,
            seed=KEY, steps=1, watch=QUIET,
        )  # fmt: skip
