"""A run goes on: longer, with other settings, elsewhere, or its weights as the start of another."""

import dataclasses
import json
import math
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax import training
from dgmjax.testing import cast

pytestmark = pytest.mark.usefixtures("x32")
SEED = jax.random.key(0)
DATA = np.random.RandomState(0).normal(size=(200, 2)).astype(np.float32)


def flow(**options) -> dgm.Flow:
    return dgm.RealNVP((2,), **{"depth": 2, "width": 8} | options, rngs=nnx.Rngs(0))


def constant(rate: float = 1e-3, **options) -> optax.GradientTransformation:
    """A schedule that does not depend on the number of steps."""
    options = {"schedule": "constant", "clip_norm": 1.0} | options
    return training.default_optimizer(learning_rate=rate, steps=1, **options)


def doubled(model, batch, key):
    loss, metrics = dgm.objectives.negative_log_likelihood(model, batch, key)
    total, count = metrics["nats"]
    return loss, metrics | {"doubled": (2 * total, count)}


def fit(model=None, x=DATA, **options) -> dgm.FitResult:
    defaults = {"steps": 20, "batch_size": 32, "eval_every": 10, "validation": DATA[:50]}
    options = {"seed": SEED, "optimizer": constant()} | defaults | options
    return dgm.fit(flow() if model is None else model, x, **options)


@pytest.fixture(scope="module")
def short(x32) -> dgm.FitResult:
    del x32
    return fit()


@pytest.fixture(scope="module")
def long(x32) -> dgm.FitResult:
    del x32
    return fit(steps=40)


def numbers(history):
    return [
        {name: value for name, value in record.items() if "per_second" not in name}
        for record in history
        if record["split"] != "settings"
    ]


def assert_same(a: dgm.FitResult, b: dgm.FitResult) -> None:
    chex.assert_trees_all_equal(a.model, b.model)
    chex.assert_trees_all_equal(a.run.state, b.run.state)
    assert (a.best_step, a.steps) == (b.best_step, b.steps)
    assert numbers(a.history) == numbers(b.history)


def test_a_longer_run_has_the_bits_of_one_that_was_asked_for_at_once(tmp_path, short, long):
    """With a schedule that does not depend on the length: same batches, noise, optimizer state and averages."""
    assert_same(fit(workdir=tmp_path), short)
    assert_same(fit(workdir=tmp_path, steps=40), long)
    assert_same(fit(workdir=tmp_path, steps=40), long)  # and the same call again does nothing
    record = json.loads((tmp_path / "fit.json").read_text())
    assert record["steps"] == 40
    assert record["changes"] == [{"step": 20, "changed": {"steps": [20, 40]}}]
    lines = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert [r for r in lines if r["split"] == "settings"] == [
        {"step": 20, "split": "settings", "changed": {"steps": [20, 40]}}
    ]


def test_a_run_goes_on_from_a_result_and_from_a_directory(tmp_path, short, long):
    for _ in range(2):  # the result is not used up
        assert_same(fit(short.model, steps=40, continue_from=short), long)
    fit(workdir=tmp_path / "a")
    before = sorted((tmp_path / "a").rglob("*"))
    for _ in range(2):  # then from its own checkpoints
        new = fit(steps=40, continue_from=tmp_path / "a", workdir=tmp_path / "b")
        assert_same(new, long)
    assert sorted((tmp_path / "a").rglob("*")) == before
    record = json.loads((tmp_path / "b" / "fit.json").read_text())
    assert record["changes"] == [
        {"step": 20, "continued_from": str(tmp_path / "a"), "changed": {"steps": [20, 40]}}
    ]
    lines = (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()
    assert numbers(map(json.loads, lines)) == numbers(long.history)


def test_the_schedule_is_that_of_the_new_length(tmp_path):
    """The default's cosine ends at 0: a longer run goes on at the rate of its own cosine at that step."""
    options = {"optimizer": None, "learning_rate": 1e-2, "eval_every": 1}
    first = fit(workdir=tmp_path, **options)
    again = fit(workdir=tmp_path, steps=40, **options)
    changes = [r["update_norm"] for r in again.history if r["split"] == "train"]
    assert changes[:20] == [r["update_norm"] for r in first.history if r["split"] == "train"]
    assert changes[19] < 0.05 * changes[0]  # the end of a cosine
    assert changes[20] > 5 * changes[19]  # the middle of another
    assert changes[39] < 0.05 * changes[20]


CHANGES = {
    "another rate": {"optimizer": constant(1e-2), "watch": dgm.Watch(settings={"rate": 1e-2})},
    "another schedule": {"optimizer": None, "learning_rate": 1e-4},
    "another batch size": {"batch_size": 16},
    "other intervals": {"eval_every": 5},
    "another decay of the averages": {"ema_decay": 0.5},
    "patience": {"patience": 3},
    "another metric": {"monitor": "doubled", "validation_loss": doubled},
    "augmentation": {"augment": lambda x, keys: x},
    "no data-dependent start": {"init_rows": 0},
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory, x32):
    del x32
    folder = tmp_path_factory.mktemp("run") / "run"
    fit(workdir=folder, optimizer=constant(), watch=dgm.Watch(settings={"rate": 1e-3}))
    return folder


@pytest.fixture(scope="module")
def linear_directory(tmp_path_factory, x32):
    del x32
    folder = tmp_path_factory.mktemp("linear") / "run"
    fit(linear(), workdir=folder, watch=dgm.Watch(settings={"rate": 1e-3}))
    return folder


def linear() -> dgm.Flow:
    """A model that compiles fast."""
    return dgm.Flow(dgm.DiagonalLinear((2,)))


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_run_may_change(name, linear_directory, tmp_path):
    """And a killed run that went on with changes ends with the same bits."""
    change = {"watch": dgm.Watch(settings={"rate": 1e-3})} | CHANGES[name]
    for folder in ("whole", "killed"):
        shutil.copytree(linear_directory, tmp_path / folder)
    whole = fit(linear(), workdir=tmp_path / "whole", steps=30, **change)
    assert whole.steps == 30

    def kill(step, model):
        if step == 25 or step == 30:
            raise KeyboardInterrupt

    killing = change | {"watch": dataclasses.replace(change["watch"], on_evaluation=kill)}
    with pytest.raises(KeyboardInterrupt):
        fit(linear(), workdir=tmp_path / "killed", steps=30, **killing)
    assert_same(fit(linear(), workdir=tmp_path / "killed", steps=30, **change), whole)
    files = [(tmp_path / folder / "fit.json").read_text() for folder in ("whole", "killed")]
    assert files[0] == files[1]
    (entry,) = json.loads(files[0])["changes"]
    assert entry["step"] == 20
    assert {"steps"} < set(entry["changed"]) or name == "augmentation"


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_another_decay_goes_on_from_the_same_average(decay, short):
    """Its weight is what 20 updates with the new decay have in an average of 21."""
    new = fit(short.model, steps=21, continue_from=short, ema_decay=decay)
    before, state = short.run.state, new.run.state
    weight = decay * (1 - decay**20) / (1 - decay**21)
    expected = jax.tree.map(
        lambda a, p: weight * a + (1 - weight) * p, before.average, state.params
    )
    averages = training.averaged_params(state)
    chex.assert_trees_all_close(averages, expected, rtol=1e-4, atol=1e-6)


def test_a_run_that_patience_ended_goes_on_with_changes_and_not_without(tmp_path):
    options = {"workdir": tmp_path, "optimizer": constant(0.0), "eval_every": 5, "patience": 2}
    assert fit(steps=100, **options).steps == 15
    assert fit(steps=100, **options).steps == 15
    assert fit(steps=200, **options).steps == 25
    assert fit(steps=200, **options).steps == 25


REFUSED = {
    "another model": (lambda: {"model": flow(width=9)}, r"model\.arguments\.width is 8 .* 9 here"),
    "other data": (lambda: {"x": DATA + 1}, r"x is '\w+' there and '\w+' here"),
    "other held-out data": (lambda: {"validation": DATA[:40]}, r"validation is '\w+' there"),
    "another optimizer": (lambda: {"optimizer": optax.sgd(0.1)}, r"optimizer is '.*ScaleByAdamState.* there and '"),
    "numbers in the optimizer": (
        lambda: {"optimizer": optax.inject_hyperparams(optax.sgd)(0.1)},
        "InjectStatefulHyperparamsState",
    ),
    "fewer steps": (lambda: {"steps": 10}, "has taken 20 steps already, which is more than steps=10"),
    "nothing to train": (
        lambda: {"steps": 20, "batch_size": 8},
        "taken its 20 steps, and nothing is left to train with another batch_size",
    ),
    "transform": (lambda: {"transform": lambda x, keys: x}, "transform is None there"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_continued_is_refused_by_name(name, directory, short):
    make, message = REFUSED[name]
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    options = {"steps": 40} | make()
    with pytest.raises(ValueError, match=message):
        fit(workdir=directory, watch=dgm.Watch(settings={"rate": 1e-3}), **options)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before
    for source in (directory, short):
        with pytest.raises(ValueError, match=message):
            fit(continue_from=source, **options)


def test_continuing_says_what_is_missing(tmp_path, short):
    with pytest.raises(FileNotFoundError, match="is not a run directory"):
        fit(continue_from=tmp_path)
    with pytest.raises(TypeError, match="the result of dgmjax.fit, got a? ?RealNVP"):
        fit(continue_from=short.model)
    with pytest.raises(
        ValueError, match=r"taken its 20 steps, and nothing is left to train; give steps=\.\.\."
    ):
        fit(continue_from=short)


def test_numbers_of_numpy_and_jax_are_numbers(tmp_path):
    """In a call of fit, in the record of a constructor, in the settings of a directory."""
    options = {
        "steps": np.int64(2), "batch_size": np.int32(16), "eval_every": jnp.asarray(1), "patience": np.uint8(5),
        "learning_rate": jnp.float32(1e-3), "ema_decay": np.float32(0.5), "init_rows": np.int64(50),
    }  # fmt: skip
    run = {"accumulate": np.int64(2), "steps_per_call": np.asarray(1)}
    model = dgm.RealNVP(
        (np.int64(2),), depth=np.int64(2), width=jnp.asarray(8), dropout=jnp.float32(0.25),
        rngs=nnx.Rngs(0),
    )  # fmt: skip
    result = fit(
        model, optimizer=None, workdir=tmp_path, execution=dgm.Execution(**run),
        watch=dgm.Watch(max_skipped=np.int16(3)), **options,
    )  # fmt: skip
    assert (result.steps, type(result.steps)) == (2, int)
    plain = {name: np.asarray(value).item() for name, value in options.items()}
    plain_run = dgm.Execution(**{name: np.asarray(value).item() for name, value in run.items()})
    assert dgm.Execution(**run) == plain_run
    again = fit(flow(dropout=0.25), optimizer=None, workdir=tmp_path, execution=plain_run, **plain)
    assert again.steps == 2
    dgm.save(tmp_path / "saved", model)
    chex.assert_trees_all_equal(dgm.load(tmp_path / "saved"), model)
    settings = {"a": {"b": np.float32(2.0), "c": (np.int64(1), jnp.asarray(True))}}
    training.claim(tmp_path, settings)
    assert training.read_settings(tmp_path) == {"a": {"b": 2.0, "c": [1, True]}}
    with pytest.raises(TypeError, match="settings: a set cannot be written"):
        training.claim(tmp_path / "other", {"a": set()})


def glow(width: int, depth: int = 1) -> dgm.Flow:
    return dgm.Glow((4, 4, 1), levels=1, depth=depth, width=width, rngs=nnx.Rngs(1))


def test_weights_start_another_model_where_they_fit(tmp_path):
    x = jax.random.normal(SEED, (30, 4, 4, 1))
    source = glow(8).with_data_init(2 * x + 3)
    dgm.save(tmp_path / "model", source)
    for given in (source, tmp_path, tmp_path / "model"):
        same = training.transfer(glow(8), given)
        chex.assert_trees_all_equal(same.model, source)
        assert (same.fresh, same.unused) == ({}, ())
    half = training.transfer(glow(8), cast(source, jnp.bfloat16))
    chex.assert_trees_all_equal_shapes_and_dtypes(half.model, source)
    wider = training.transfer(glow(9), source)
    name = next(name for name in wider.fresh if name.endswith("first/kernel"))
    assert ", 8) there, (" in wider.fresh[name]
    assert name in wider.unused
    assert all("conditioner" in name for name in wider.fresh)
    assert f"fresh: {name} (" in str(wider)
    # Its networks have not seen data, its other layers have.
    flags = [name for name in wider.fresh if name.endswith("data_initialised")]
    assert flags
    assert wider.fresh[flags[0]] == "its arrays did not all fit"
    started = wider.model.with_data_init(x)
    before, after = (training.partition(m)[0] for m in (wider.model, started))
    changed = {name for name in before if not jnp.array_equal(before[name], after[name])}
    assert changed
    assert all("conditioner/norms" in name for name in changed)
    with pytest.raises(
        ValueError, match="no parameter of the source, a RealNVP, has the name and shape"
    ):
        training.transfer(glow(8), flow())
    assert math.isclose(float(same.model.log_prob(x).sum()), float(source.log_prob(x).sum()))


def test_runs_whose_averages_have_another_form_are_refused(tmp_path):
    fit(workdir=tmp_path)
    path = tmp_path / "fit.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"optimizer_state": "digest"}))
    with pytest.raises(ValueError, match=r"dgmjax 0\.1, .*transfer\(model, run\)"):
        fit(workdir=tmp_path, steps=40)
