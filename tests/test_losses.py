"""What the trainer takes besides one loss of all parameters: several losses in turn, and running statistics."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax import training

pytestmark = pytest.mark.usefixtures("x32")

SEED = jax.random.key(3)
ROWS = np.random.RandomState(0).normal(1.0, 2.0, size=(48, 3)).astype(np.float32)


class Pair(nnx.Module):
    """Two vectors, each trained by a loss of its own."""

    event_shape = (3,)

    def __init__(self):
        self.first = nnx.Dict(w=nnx.Param(jnp.ones(3)))
        self.second = nnx.Dict(w=nnx.Param(jnp.full(3, 2.0)))


def _term(model, batch, key):
    """A number that depends on both parts, on the rows and on their keys."""
    noise = jax.vmap(lambda k: jax.random.normal(k, (3,), float))(key)
    values = (batch["x"] + 0.1 * noise) * jnp.broadcast_to(
        model.first["w"][...] * jnp.sin(model.second["w"][...]), batch["x"].shape
    )
    return values.sum(-1)


def first_loss(model, batch, key):
    rows = _term(model, batch, key)
    return rows.mean(), {"nats": (rows.sum(), jnp.asarray(rows.size, rows.dtype))}


def second_loss(model, batch, key):
    rows = -(_term(model, batch, key) ** 2)
    return rows.mean(), {"nats": (rows.sum(), jnp.asarray(rows.size, rows.dtype))}


LOSSES = {"first": first_loss, "second": second_loss}
OPTIMIZERS = {"first": optax.sgd(0.1, momentum=0.9), "second": optax.sgd(0.03, momentum=0.5)}


def test_losses_by_name_alternate_with_optimizers_and_noise_of_their_own():
    params, fixed, merge = training.partition(Pair())
    step = training.make_train_step(LOSSES, merge, OPTIMIZERS, key=SEED, ema_decay=0.0)
    state = training.init_state(params, fixed, OPTIMIZERS)
    expected = {name: params[f"{name}/w"] for name in LOSSES}
    opt_states = {name: OPTIMIZERS[name].init(expected[name]) for name in LOSSES}
    batch = {"x": jnp.asarray(ROWS)}
    for number in range(3):
        state, metrics = step(state, batch)
        for index, (name, loss) in enumerate(LOSSES.items()):
            key = jax.random.fold_in(SEED, index) if index else SEED
            keys = jax.vmap(jax.random.fold_in, (None, 0))(
                jax.random.fold_in(key, number), jnp.arange(len(ROWS))
            )

            def value(w, name=name, loss=loss, keys=keys, held=expected):
                arrays = {f"{k}/w": v for k, v in (held | {name: w}).items()}
                return loss(merge(arrays, {}), batch, keys)[0]

            grad = jax.grad(value)(expected[name])
            updates, opt_states[name] = OPTIMIZERS[name].update(grad, opt_states[name])
            expected = expected | {name: expected[name] + updates}  # the next loss sees it
            assert float(dict(metrics.items())[f"{name}_grad_norm"][0]) == pytest.approx(
                float(jnp.linalg.norm(grad)), rel=1e-5
            )
    for name in LOSSES:
        np.testing.assert_allclose(state.params[f"{name}/w"], expected[name], rtol=1e-5)
    assert {"first_nats", "second_loss", "param_norm", "skipped"} <= set(metrics.names)


def test_losses_by_name_do_not_depend_on_how_a_step_is_run():
    def final(**options):
        params, fixed, merge = training.partition(Pair())
        optimizers = dict.fromkeys(LOSSES, optax.sgd(0.01))
        step = training.make_train_step(
            {"first": first_loss, "second": first_loss}, merge, optimizers, key=SEED,
            ema_decay=0.5, **options,
        )  # fmt: skip
        state = training.init_state(params, fixed, optimizers)
        if "steps_per_call" in options:
            return step(state, {"x": jnp.stack([jnp.asarray(ROWS)] * 2)})[0].params
        for _ in range(2):
            state, _ = step(state, {"x": jnp.asarray(ROWS)})
        return state.params

    whole = final()
    for options in ({"accumulate": 4}, {"steps_per_call": 2}):
        other = final(**options)
        for name, leaf in whole.items():
            np.testing.assert_allclose(other[name], leaf, rtol=1e-5)


@pytest.mark.parametrize("bad", LOSSES)
@pytest.mark.parametrize("gradient", ["bad", "good"])
def test_a_step_with_one_bad_loss_changes_nothing(bad, gradient):
    """Also where its gradient is a number, so that only its value tells."""

    def poisoned(model, batch, key):
        value, metrics = LOSSES[bad](model, batch, key)
        return value * jnp.nan if gradient == "bad" else value + jnp.nan, metrics

    params, fixed, merge = training.partition(Pair())
    step = training.make_train_step(
        LOSSES | {bad: poisoned}, merge, OPTIMIZERS, key=SEED, ema_decay=0.0
    )
    state, metrics = step(training.init_state(params, fixed, OPTIMIZERS), {"x": jnp.asarray(ROWS)})
    assert int(state.updates) == 0
    assert float(dict(metrics.items())["skipped"][0]) == 1
    before = training.init_state(params, fixed, OPTIMIZERS)
    chex.assert_trees_all_equal(state._replace(step=before.step), before)
    with pytest.raises(FloatingPointError, match=f"first: {bad}_loss"):
        dgm.fit(
            Pair(), ROWS, seed=SEED, steps=4, batch_size=16, watch=dgm.Watch(max_skipped=2), eval_every=2,
            loss=LOSSES | {bad: poisoned}, optimizer=OPTIMIZERS,
        )  # fmt: skip


def test_fit_takes_losses_by_name_and_continues_them(tmp_path):
    def run(folder, **options):
        return dgm.fit(
            Pair(), ROWS, seed=SEED, batch_size=16, eval_every=2, loss=LOSSES,
            optimizer=OPTIMIZERS, workdir=folder, steps=6, **options,
        )  # fmt: skip

    def stop(step):
        if step == 4:
            raise KeyboardInterrupt

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", watch=dgm.Watch(on_record=lambda record: stop(record["step"])))
    cut = run(tmp_path / "cut")
    assert [r["first_loss"] for r in whole.history] == [r["first_loss"] for r in cut.history]
    np.testing.assert_array_equal(whole.model.second["w"][...], cut.model.second["w"][...])


def test_names_that_do_not_fit_are_refused():
    params, fixed, merge = training.partition(Pair())
    with pytest.raises(ValueError, match="expected one for each loss"):
        training.make_train_step(LOSSES, merge, optax.sgd(1.0), key=SEED, ema_decay=0.0)
    with pytest.raises(ValueError, match="no parameters below 'third'.*first, second"):
        training.init_state(params, fixed, {"third": optax.sgd(1.0)})


class Centred(nnx.Module):
    """Rows minus a running mean, and a scale that is trained."""

    event_shape = (3,)

    def __init__(self):
        self.scale = nnx.Param(jnp.ones(3))
        self.mean = nnx.BatchStat(jnp.zeros(3))


def centred_loss(model, batch, key):
    del key
    mean = batch["x"].mean(0)
    rows = (batch["x"] - jnp.broadcast_to(mean, batch["x"].shape)) * jnp.broadcast_to(
        model.scale[...], batch["x"].shape
    )
    new = nnx.clone(model)
    new.mean[...] = 0.5 * model.mean[...] + 0.5 * mean
    rows = (rows**2).sum(-1)
    return rows.mean(), {"nats": (rows.sum(), jnp.asarray(rows.size, rows.dtype))}, new


def centred_evaluation(model, batch, key):
    del key
    rows = ((batch["x"] - jnp.broadcast_to(model.mean[...], batch["x"].shape)) ** 2).sum(-1)
    return rows.mean(), {"nats": (rows.sum(), jnp.asarray(rows.size, rows.dtype))}


@pytest.mark.parametrize("accumulate", [1, 4])
def test_statistics_change_once_a_part_and_no_optimizer_reaches_them(accumulate):
    params, fixed, merge = training.partition(Centred())
    optimizer = optax.sgd(0.0)
    step = training.make_train_step(
        centred_loss, merge, optimizer, key=SEED, ema_decay=0.0, accumulate=accumulate
    )
    state = training.init_state(params, fixed, optimizer)
    expected = np.zeros(3)
    for _ in range(2):
        state, _ = step(state, {"x": jnp.asarray(ROWS)})
        for part in range(accumulate):
            expected = 0.5 * expected + 0.5 * ROWS[part::accumulate].mean(0)
    np.testing.assert_allclose(state.fixed["mean"], expected, rtol=1e-5)
    assert set(params) == {"scale"}
    assert set(training.statistics_of(merge(state.params, state.fixed))) == {"mean"}


def test_the_best_model_has_the_statistics_of_its_step():
    # The rate is so large that the second half of the run is worse; the best model is an early one.
    seen = {}
    result = dgm.fit(
        Centred(), ROWS, seed=SEED, steps=6, batch_size=12, eval_every=1, ema_decay=0.0,
        loss=centred_loss, validation=ROWS[:5] * 0.3, validation_loss=centred_evaluation,
        watch=dgm.Watch(
            on_evaluation=lambda step, model: seen.update({step: np.asarray(model.mean[...])})
        ),
    )  # fmt: skip
    values = {r["step"]: r["nats"] for r in result.history if r["split"] == "validation"}
    assert result.best_step == min(values, key=values.get)
    assert result.best_step < 6
    np.testing.assert_array_equal(result.model.mean[...], seen[result.best_step])
    assert not np.array_equal(seen[result.best_step], seen[6])
