"""The step, the loop and `fit`: pure, exact, without hidden work."""

import json
import math
import signal

import chex
import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax import training

pytestmark = pytest.mark.usefixtures("x32")
SEED = jax.random.key(0)


def small_flow(**options) -> dgm.RealNVP:
    return dgm.RealNVP((2,), depth=2, width=8, rngs=nnx.Rngs(0), **options)


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    return np.random.RandomState(0).normal([1.0, -2.0], [0.5, 2.0], (300, 2)).astype(np.float32)


def test_fit_reaches_the_entropy_of_a_gaussian(data):
    """A flow that can represent the density exactly must come within sampling error of it."""
    truth = distrax.MultivariateNormalDiag(jnp.array([1.0, -2.0]), jnp.array([0.5, 2.0]))
    test = np.random.RandomState(1).normal([1.0, -2.0], [0.5, 2.0], (4_000, 2)).astype(np.float32)
    with jax.numpy_rank_promotion("allow"):
        exact = -float(truth.log_prob(test).mean())
    flow = small_flow(preprocess=dgm.Standardize((2,)))
    result = dgm.fit(flow, data, seed=SEED, steps=100, batch_size=100, eval_every=50)
    nats = dgm.log_likelihood(result.model, jnp.asarray(test)).negative_log_likelihood
    assert exact - 0.01 < nats < exact + 0.03
    assert [record["step"] for record in result.history] == [50, 100]
    assert all(record["bound"] == "exact" for record in result.history)


def test_a_constant_column_is_not_a_density_of_its_own():
    x = np.stack([np.full(1_000, 0.1), np.random.RandomState(0).normal(size=1_000)], 1)
    layer = dgm.Standardize((2,)).with_data_init(jnp.asarray(x, jnp.float32))
    assert float(layer.log_std[0]) == 0.0
    assert abs(float(layer.log_std[1])) < 0.1


def test_fit_leaves_the_given_model_alone(data):
    flow = small_flow(preprocess=dgm.Standardize((2,)))
    before = jax.tree.map(np.array, flow)
    dgm.fit(flow, data, seed=SEED, steps=5, eval_every=5)
    chex.assert_trees_all_equal(jax.tree.map(np.array, flow), before)


def test_conditional_flow_learns_from_its_context():
    rng = np.random.RandomState(0)
    context = rng.choice([-1.0, 1.0], (500, 1)).astype(np.float32)
    x = (3.0 * context + 0.5 * rng.normal(size=(500, 2))).astype(np.float32)
    flow = dgm.RealNVP((2,), depth=2, width=16, context_shape=(1,), rngs=nnx.Rngs(0))
    result = dgm.fit(flow, x, context=context, seed=SEED, steps=300, learning_rate=1e-2)
    right = result.model.log_prob(jnp.asarray(x), jnp.asarray(context)).mean()
    wrong = result.model.log_prob(jnp.asarray(x), -jnp.asarray(context)).mean()
    assert right > wrong + 5.0


def test_best_on_validation_is_returned_and_patience_stops():
    """With random labels for validation far away, the first evaluation is the best one."""
    rng = np.random.RandomState(0)
    x = rng.normal(size=(64, 2)).astype(np.float32) * 0.01 + 4.0
    far = rng.normal(size=(64, 2)).astype(np.float32)
    result = dgm.fit(
        small_flow(), x, seed=SEED, validation=far, steps=500, eval_every=10, patience=3,
        learning_rate=3e-2,
    )  # fmt: skip
    values = {r["step"]: r["nats"] for r in result.history if r["split"] == "validation"}
    assert result.best_step == min(values, key=values.get)
    assert result.steps == result.best_step + 30
    nats = dgm.log_likelihood(result.model, jnp.asarray(far)).negative_log_likelihood
    assert math.isclose(nats, values[result.best_step], rel_tol=1e-5)


def test_step_is_traced_once_and_donates_its_state(data):
    params, fixed, merge = training.partition(small_flow())
    optimizer = optax.adam(1e-3)
    loss = chex.assert_max_traces(dgm.objectives.maximum_likelihood, n=1)
    step = training.make_train_step(loss, merge, optimizer, key=SEED, ema_decay=0.9)
    state = training.init_state(params, fixed, optimizer)
    for start in (0, 50, 100):
        previous, (state, _) = state, step(state, {"x": data[start : start + 50]})
    assert int(state.step) == 3
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(previous.params))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(params))


def test_progress_bar_is_quiet_unless_asked_or_on_a_terminal(data, capsys):
    options = {"seed": SEED, "validation": data[:50], "steps": 4, "eval_every": 2}
    dgm.fit(small_flow(), data, **options)
    assert capsys.readouterr().err == ""
    dgm.fit(small_flow(), data, **options, watch=dgm.Watch(progress=True))
    err = capsys.readouterr().err
    for part in ("4/4", "loss=", "val NLL [nats]=", "step/s"):
        assert part in err


def test_loop_waits_for_the_device_only_when_it_logs(data, monkeypatch):
    fetched = []
    original = jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda tree: fetched.append(1) or original(tree))
    dgm.fit(small_flow(), data, seed=SEED, steps=40, eval_every=20)
    assert len(fetched) == 2


def test_randomness_is_a_function_of_seed_and_step(data):
    def train(seed: int) -> dict:
        flow = small_flow(dropout=0.5)
        result = dgm.fit(flow, data, seed=jax.random.key(seed), steps=4, eval_every=4)
        return training.partition(result.model)[0]

    chex.assert_trees_all_equal(train(0), train(0))
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(train(0), train(1))


def test_average_is_the_debiased_exponential_mean():
    params = {"w": jnp.array([1.0])}
    optimizer = optax.sgd(1.0)

    def loss(params, batch, key):
        del key
        return (params["w"] * batch).sum(), {"nats": (jnp.zeros(()), jnp.ones(()))}

    step = training.make_train_step(
        loss, lambda params, fixed: params, optimizer, key=SEED, ema_decay=0.5
    )
    state = training.init_state(params, {}, optimizer)
    for batch in (1.0, math.nan, 2.0, 4.0):  # w: 0, skipped, -2, -6
        state, metrics = step(state, jnp.array([batch]))
    expected = (0.125 * 0.0 + 0.25 * -2.0 + 0.5 * -6.0) / 0.875
    np.testing.assert_allclose(training.averaged_params(state)["w"], [expected])
    assert float(dict(metrics.items())["grad_norm"][0]) == 4.0


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_a_parameter_that_never_changes_is_its_own_average_to_the_last_bit(decay):
    """And one that changes has the weighted mean of its values, ``sum_k d^(n-k) w_k / sum_k d^(n-k)``."""
    still = np.random.RandomState(0).normal(size=64).astype(np.float32)
    params, optimizer = {"still": jnp.asarray(still), "moving": jnp.zeros(())}, optax.sgd(1.0)

    def loss(params, batch, key):
        del key
        zero = 0.0 * params["still"].sum()
        return zero - params["moving"] * batch.sum(), {"nats": (jnp.zeros(()), jnp.ones(()))}

    step = training.make_train_step(
        loss, lambda params, fixed: params, optimizer, key=SEED, ema_decay=decay
    )
    state, values = training.init_state(params, {}, optimizer), []
    for batch in (1.0, 2.0, -5.0, 0.5) * 5:
        state, _ = step(state, jnp.array([batch]))
        values.append(float(state.params["moving"]))
    averaged = training.averaged_params(state)
    np.testing.assert_array_equal(averaged["still"], still)
    weights = decay ** np.arange(len(values) - 1, -1, -1.0)
    np.testing.assert_allclose(averaged["moving"], weights @ values / weights.sum(), rtol=1e-5)


def test_frozen_weights_come_back_to_the_last_bit(data):
    """As docs/training.md says it."""
    flow = small_flow()
    frozen = lambda name: name.startswith("bijector") and "last" not in name  # noqa: E731
    optimizer = optax.multi_transform(
        {
            "trained": training.default_optimizer(
                learning_rate=1e-2, steps=100, clip_norm=1.0, weight_decay=0.1
            ),
            "frozen": optax.set_to_zero(),
        },
        lambda params: {name: "frozen" if frozen(name) else "trained" for name in params},
    )
    result = dgm.fit(flow, data, seed=SEED, steps=100, eval_every=100, optimizer=optimizer)
    before, after = training.partition(flow)[0], training.partition(result.model)[0]
    for name, array in before.items():
        assert np.array_equal(after[name], array) == frozen(name), name


def test_wide_floats_come_in_the_dtype_of_the_model():
    x = np.arange(6.0).reshape(3, 2)
    found = training.arrays.prepare_data(small_flow(), x, None, "x")["x"]
    assert (x.dtype, found.dtype) == (np.float64, np.float32)
    np.testing.assert_array_equal(found, x)


def test_metrics_of_ragged_batches_merge_exactly():
    batches = [np.arange(5.0), np.arange(5.0, 7.0)]
    merged = training.merge_metrics({"m": (b.sum(), b.size)} for b in batches)
    assert merged == {"m": 3.0}


def test_metrics_log_rewinds_and_drops_a_line_cut_short(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = training.MetricsLog(path)
    for step in (1, 2, 3):
        log.write({"step": step, "split": "train", "nats": float("nan") if step == 2 else 1.5})
    path.write_text(path.read_text() + '{"step": 4, "spl')
    again = training.MetricsLog(path)
    again.rewind(2)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == again.records
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[1]["nats"] == "nan"


def test_partition_names_parameters_by_their_path_and_puts_them_together_again():
    flow = small_flow(preprocess=dgm.Standardize((2,)))
    params, fixed, merge = training.partition(flow)
    assert "bijector/layers/1/layer/conditioner/last/kernel" in params
    assert {"bijector/layers/0/mean", "bijector/layers/0/log_std"} <= set(fixed)
    assert not set(params) & set(fixed)
    chex.assert_trees_all_equal(merge(params, fixed), flow)


BAD_FITS = {
    "wrong event shape": (np.zeros((5, 3), np.float32), {}, ValueError, r"x: expected an array of "
                          r"shape \[\*batch, 2\], got \(5, 3\)"),
    "integers": (np.zeros((5, 2), int), {}, TypeError, "expected floating-point values, got int"),
    "NaN": (np.array([[0.0, 1.0], [np.nan, 2.0]]), {}, ValueError,
            r"1 of 4 values are NaN or infinite, the first at index \(1, 0\) \(nan\)"),
    "infinity": (np.full((3, 2), np.inf), {}, ValueError, r"6 of 6 values are NaN or infinite"),
    "empty": (np.zeros((0, 2), np.float32), {}, ValueError, "at least one event, got an empty array"),
    "no batch axis": (np.zeros(2, np.float32), {}, ValueError, "exactly one batch axis"),
    "ragged": (np.array([[1.0], [1.0, 2.0]], object), {}, TypeError, "ragged or object array"),
    "patience without validation": (np.zeros((5, 2), np.float32), {"patience": 2}, ValueError,
                                    "pass validation="),
    "no steps": (np.zeros((5, 2), np.float32), {"steps": 0}, ValueError, "at least 1, got 0"),
    "no patience": (np.zeros((5, 2), np.float32), {"patience": 0, "validation": np.zeros((5, 2), np.float32)},
                    ValueError, "patience must be at least 1 or None, got 0"),
    "average of nothing": (np.zeros((5, 2), np.float32), {"ema_decay": 1.0}, ValueError,
                           r"ema_decay must be in \[0, 1\), got 1.0"),
    "integer seed": (np.zeros((5, 2), np.float32), {"seed": 0}, TypeError,
                     r"seed must be a typed key, jax.random.key\(0\), got 0"),
    "validation overflows": (np.zeros((5, 2), np.float32),
                             {"validation": np.full((5, 2), 1e30, np.float32)}, FloatingPointError,
                             "nats on validation is inf at step 2"),
    "superfluous context": (np.zeros((5, 2), np.float32), {"context": np.zeros((5, 1))}, ValueError,
                            "the model takes none"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FITS)
def test_bad_input_says_what_to_do(name):
    x, options, error, message = BAD_FITS[name]
    with pytest.raises(error, match=message):
        dgm.fit(small_flow(), x, **{"seed": SEED, "steps": 2, **options})


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (np.full((4, 2), 17), ValueError, r"must lie in 0 .. 16 for num_levels=17, got 17 .. 17; "
                                          r"set num_levels=18"),
        (np.full((4, 2), -1), ValueError, "got -1 .. -1"),
        (np.full((4, 2), 0.5), TypeError, "expected integer levels, got float"),
    ],
)  # fmt: skip
def test_bad_levels_say_what_to_do(y, error, message):
    with pytest.raises(error, match=message):
        dgm.fit(dgm.Dequantized(small_flow(), 17), y, seed=SEED, steps=2)


def test_divergence_is_an_error_that_names_the_steps(data):
    message = "10 steps in a row, up to step 10, .* first: the update of the optimizer. Lower the"
    with pytest.raises(FloatingPointError, match=message):
        dgm.fit(
            small_flow(scale_fn="exp"), data * 1e3, seed=SEED, steps=20, eval_every=20,
            optimizer=optax.sgd(1e30),
        )  # fmt: skip


def _poisoned(model, batch, key):
    """The likelihood, but NaN for batches with a marked row."""
    value, metrics = dgm.objectives.maximum_likelihood(model, batch, key)
    spoil = jnp.where((batch["x"] > 50.0).any(), jnp.nan, 1.0).astype(value.dtype)
    return value * spoil, metrics | {"spoilt": (spoil, jnp.ones_like(value))}


def test_a_step_with_bad_numbers_changes_nothing_and_is_counted(data):
    x = np.concatenate([data[:100], np.full((1, 2), 99.0, np.float32)])
    options = {"seed": SEED, "batch_size": 25, "ema_decay": 0.5, "init_rows": 0}
    result = dgm.fit(small_flow(), x, steps=16, eval_every=8, loss=_poisoned, **options)
    skipped = sum(record.get("skipped_steps", 0) for record in result.history)
    batches = dgm.data.Batches(
        {"x": x}, 25, seed=int(jax.random.bits(jax.random.split(SEED, 4)[0]))
    )
    assert skipped == sum(bool((batches(step)["x"] > 50).any()) for step in range(16)) > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.model))
    assert all(math.isfinite(record["nats"]) for record in result.history)


def test_bad_numbers_in_a_row_stop_the_run_and_the_first_term_is_named(data):
    x = np.full((50, 2), 99.0, np.float32)
    with pytest.raises(
        FloatingPointError, match="5 steps in a row, up to step 5, .* first: spoilt"
    ):
        dgm.fit(
            small_flow(), x, seed=SEED, steps=20, eval_every=5, loss=_poisoned,
            watch=dgm.Watch(max_skipped=5),
        )  # fmt: skip


def test_a_bad_streak_stops_the_run_wherever_it_lies_and_the_parameters_stay_numbers(data):
    """Ten bad steps, then good ones before the log; and an average before the first good step."""
    loop_data = np.concatenate([np.full((10, 2), 99.0, np.float32), data[:10]])
    params, fixed, merge = training.partition(small_flow())
    optimizer = optax.sgd(1e-3)
    step = training.make_train_step(_poisoned, merge, optimizer, key=SEED, ema_decay=0.9)
    loop = training.Loop(
        train_step=step,
        batches=lambda index: {"x": loop_data[index : index + 1]},
        evaluation=training.Evaluation(),
        schedule=training.Schedule(20, 20),
        log=training.MetricsLog(None),
        watch=training.Watch(max_skipped=10),
    )
    state = training.init_state(params, fixed, optimizer)
    with pytest.raises(FloatingPointError, match="10 steps in a row, up to step 10,"):
        loop.run(state, params, training.Progress())
    state = training.init_state(params, fixed, optimizer)
    state, _ = step(state, {"x": loop_data[:1]})
    chex.assert_trees_all_equal(training.averaged_params(state), params)


def test_without_checkpoints_a_run_leaves_signals_alone(data):
    before, during = signal.getsignal(signal.SIGTERM), []
    dgm.fit(
        small_flow(), data, seed=SEED, steps=2, validation=data[:20], eval_every=1,
        watch=dgm.Watch(
            on_evaluation=lambda step, model: during.append(signal.getsignal(signal.SIGTERM))
        ),
    )  # fmt: skip
    assert during == [before, before]
