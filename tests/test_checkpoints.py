"""Checkpoints and saved models: exact, verified, never lost."""

import contextlib
import dataclasses
import functools
import json
import pathlib
import resource
import threading
import time
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax import training
from dgmjax.testing import scramble

pytestmark = pytest.mark.usefixtures("x32")
SEED = jax.random.key(0)
DATA = np.random.RandomState(0).normal(size=(200, 2)).astype(np.float32)


def flow() -> dgm.RealNVP:
    return dgm.RealNVP((2,), depth=2, width=8, dropout=0.2, rngs=nnx.Rngs(0))


def run(
    workdir: pathlib.Path | None,
    *,
    stop_at: int | None = None,
    on_evaluation=None,
    debug_nans=False,
    **options,
) -> dgm.FitResult:
    """A run of 40 steps; ``stop_at`` kills it by an exception inside the evaluation of that step."""

    def interrupt(step: int, model: object) -> None:
        if on_evaluation is not None:
            on_evaluation(step, model)
        if step == stop_at:
            raise KeyboardInterrupt

    return dgm.fit(
        flow(), DATA, seed=SEED, validation=DATA[:50], steps=40, batch_size=32, eval_every=10,
        workdir=workdir, watch=dgm.Watch(on_evaluation=interrupt, debug_nans=debug_nans), **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted() -> dgm.FitResult:
    return run(None)


@pytest.fixture
def interrupted(tmp_path) -> pathlib.Path:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_at=30)
    return tmp_path


def assert_same(a: dgm.FitResult, b: dgm.FitResult) -> None:
    chex.assert_trees_all_equal(a.model, b.model)
    assert (a.best_step, a.steps) == (b.best_step, b.steps)

    def without_speed(history):
        return [{k: v for k, v in r.items() if "per_second" not in k} for r in history]

    assert without_speed(a.history) == without_speed(b.history)


def test_an_interrupted_run_continues_to_the_same_bits(interrupted, uninterrupted):
    assert sorted(path.name for path in (interrupted / "checkpoints").iterdir()) == ["10", "20"]
    assert_same(run(interrupted), uninterrupted)
    assert_same(run(interrupted), uninterrupted)  # finished: nothing left to train


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "altered": lambda path: path.write_bytes(bytes(b ^ 1 for b in path.read_bytes())),
    "deleted": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    damage, interrupted, uninterrupted
):
    folder = interrupted / "checkpoints" / "20"
    victim = max(
        (path for path in folder.rglob("*") if path.is_file()), key=lambda p: p.stat().st_size
    )
    DAMAGES[damage](victim)
    with pytest.warns(RuntimeWarning, match=rf"{victim.name}.* Falling back to step 10; moved"):
        result = run(interrupted)
    assert_same(result, uninterrupted)
    assert (interrupted / "damaged_checkpoints" / "20").is_dir()


def test_an_unfinished_checkpoint_is_not_trusted(interrupted, uninterrupted):
    (interrupted / "checkpoints" / "20" / "manifest.json").unlink()
    with pytest.warns(RuntimeWarning, match="manifest.json is missing, the write was not finished"):
        assert_same(run(interrupted), uninterrupted)


def test_no_sound_checkpoint_is_an_error_not_a_fresh_start(interrupted):
    for step in ("10", "20"):
        (interrupted / "checkpoints" / step / "manifest.json").write_text("{")
    log = (interrupted / "metrics.jsonl").read_bytes()
    for _ in range(2):  # and it stays one: nothing is moved or erased
        with pytest.raises(RuntimeError, match="No sound checkpoint is left in .*; restore one"):
            run(interrupted)
    assert (interrupted / "metrics.jsonl").read_bytes() == log


def test_a_run_killed_inside_its_first_checkpoint_starts_again(
    tmp_path, uninterrupted, monkeypatch
):
    def killed(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training.checkpoint, "write_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    with pytest.warns(RuntimeWarning, match="the write was not finished. Starting again"):
        assert_same(run(tmp_path), uninterrupted)


def test_a_work_directory_of_another_run_is_refused(interrupted):
    before = sorted(interrupted.rglob("*"))
    with pytest.raises(
        ValueError, match=r"another run: .*seed is \[0, 0\] there and \[0, 1\] here"
    ):
        dgm.fit(flow(), DATA, seed=jax.random.key(1), steps=50, batch_size=32, workdir=interrupted)
    with pytest.raises(ValueError, match=r"another run: x is '\w+' there and '\w+' here"):
        dgm.fit(
            flow(), DATA + 1, seed=SEED, validation=DATA[:50], steps=40, batch_size=32,
            eval_every=10, workdir=interrupted,
        )  # fmt: skip
    assert sorted(interrupted.rglob("*")) == before


def models() -> dict[str, nnx.Module]:
    rngs = nnx.Rngs(0)
    discrete = dgm.RealNVP(
        (4,),
        depth=2,
        width=8,
        mask=np.array([True, True, False, True]),
        preprocess=dgm.HistogramGaussianize((4,), 5),
        rngs=rngs,
    )
    y = jnp.asarray(np.random.RandomState(0).randint(0, 5, (50, 4)))
    return {
        "RealNVP": dgm.RealNVP((3,), depth=2, width=8, context_shape=(2,), rngs=rngs),
        "by hand": dgm.Flow(dgm.Chain([dgm.Standardize((2,)), dgm.Inverse(dgm.Logit((2,), 3.0))])),
        "Dequantized": dgm.Dequantized(discrete, 5).with_data_init(y, seed=SEED),
    }


@pytest.mark.parametrize("name", ["RealNVP", "by hand", "Dequantized"])
def test_a_model_survives_save_and_load(name, tmp_path):
    model = models()[name]
    path = tmp_path / "deep" / "model"
    dgm.save(path, model)
    dgm.save(path, model)  # replaces in one piece
    loaded = dgm.load(path)
    assert type(loaded) is type(model)
    assert jax.tree.structure(loaded) == jax.tree.structure(model)
    chex.assert_trees_all_equal(loaded, model)
    assert [p.name for p in path.parent.iterdir()] == ["model"]
    written = [p for p in path.rglob("*") if p.is_file()]
    assert not any(p.suffix in (".pkl", ".pickle") for p in written)
    assert not any(p.read_bytes()[:2] in (b"\x80\x04", b"\x80\x05") for p in written)


def test_a_model_killed_between_two_renames_is_found_again(tmp_path):
    path, model = tmp_path / "model", models()["RealNVP"]
    dgm.save(path, model)
    path.rename(tmp_path / ".model.old")
    chex.assert_trees_all_equal(dgm.load(path), model)


def test_a_class_name_is_recorded_once():
    class RealNVP(nnx.Module):
        pass

    with pytest.raises(ValueError, match="'RealNVP' is already recorded by dgmjax.models.realnvp"):
        dgm.recorded(RealNVP)


def test_a_damaged_saved_model_names_the_file(tmp_path):
    path = tmp_path / "model"
    dgm.save(path, models()["RealNVP"])
    victim = max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-1])
    with pytest.raises(RuntimeError, match=f"is damaged: .*{victim.name} has .* bytes"):
        dgm.load(path)


def test_loading_says_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not a saved model: .*model.json is missing"):
        dgm.load(tmp_path)
    path = tmp_path / "model"
    dgm.save(path, models()["RealNVP"])
    record = json.loads((path / "model.json").read_text())
    record["model"]["class"] = "Unheard"
    (path / "model.json").write_text(json.dumps(record))
    training.manifest.write_manifest(path)
    with pytest.raises(ValueError, match="unknown model class 'Unheard'; known: .*RealNVP"):
        dgm.load(path)
    record["model"] |= {"class": "RealNVP"}
    record["model"]["arguments"] |= {"unheard": 3}
    (path / "model.json").write_text(json.dumps(record))
    training.manifest.write_manifest(path)
    with pytest.raises(ValueError, match="RealNVP has no argument unheard; .* another version"):
        dgm.load(path)


def test_saving_refuses_what_it_could_not_load(tmp_path):
    class Unrecorded(nnx.Module):
        pass

    with pytest.raises(TypeError, match="Unrecorded does not remember its constructor"):
        dgm.save(tmp_path / "a", Unrecorded())

    class Base(nnx.Module):
        event_shape = (2,)

    model = dgm.RealNVP((2,), base=Base(), rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="argument of type Base cannot be saved"):
        dgm.save(tmp_path / "b", model)
    (tmp_path / "notes.txt").write_text("keep me")
    with pytest.raises(FileExistsError, match="is not a saved model; choose another path"):
        dgm.save(tmp_path, models()["RealNVP"])


@contextlib.contextmanager
def full_disk():
    """No file may grow beyond 2 kB: what a writer sees of a full disk, from anybody's account."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_an_error_and_the_checkpoint_before_is_intact(tmp_path):
    arrays = {"w": jnp.asarray(np.random.RandomState(0).normal(size=(100, 100)))}
    checkpoints = training.Checkpoints(tmp_path)
    checkpoints.save(1, arrays, {"step": 1})
    checkpoints.wait()
    with full_disk():
        checkpoints.save(2, jax.tree.map(jnp.sin, arrays), {"step": 2})
        with pytest.raises(
            OSError, match=r"checkpoint of step 2 could not be written .* older ones are intact"
        ):
            checkpoints.wait()
    assert not list(tmp_path.glob("*tmp*"))
    restored = checkpoints.restore(arrays)
    assert restored.step == 1
    chex.assert_trees_all_equal(restored.arrays, arrays)
    checkpoints.save(2, arrays, {"step": 2})  # when there is room again
    checkpoints.close()
    assert training.Checkpoints(tmp_path).restore(arrays).step == 2


def test_a_run_that_meets_a_full_disk_continues_when_there_is_room(tmp_path, uninterrupted):
    def fill(step, model):
        if step == 20:
            deadline = time.monotonic() + 60
            while not (tmp_path / "checkpoints" / "10" / "manifest.json").exists():
                assert time.monotonic() < deadline
                time.sleep(0.01)  # written by another thread
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(OSError, match="could not be written"):
            run(tmp_path, on_evaluation=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["10"]
    assert_same(run(tmp_path), uninterrupted)


def test_a_directory_that_cannot_be_written_to_is_an_error_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file"):
        run(tmp_path / "file" / "run")
    with pytest.raises(OSError, match=r"checkpoints cannot be written to .*file/checkpoints"):
        training.Checkpoints(tmp_path / "file" / "checkpoints")


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    """`save` returns before the files are there, and holds a copy: the arrays may be donated at once."""
    go = threading.Event()
    original = training.Checkpoints._write_files
    monkeypatch.setattr(
        training.Checkpoints, "_write_files", lambda *args: go.wait(60) and original(*args)
    )
    arrays = {"w": jnp.arange(5.0), "host": np.arange(3.0)}
    expected = jax.tree.map(np.array, arrays)
    checkpoints = training.Checkpoints(tmp_path)
    checkpoints.save(1, arrays, {})
    arrays["w"].delete()
    arrays["host"][:] = -1.0
    assert not (tmp_path / "1" / "manifest.json").exists()
    go.set()
    checkpoints.wait()
    like = jax.tree.map(jnp.zeros_like, expected)
    chex.assert_trees_all_equal(checkpoints.restore(like).arrays, expected)
    checkpoints.close()


def test_an_error_without_words_is_an_error_too(tmp_path, monkeypatch):
    def full(folder):
        raise MemoryError

    monkeypatch.setattr(training.checkpoint, "write_manifest", full)
    checkpoints = training.Checkpoints(tmp_path)
    checkpoints.save(1, {"w": jnp.zeros(2)}, {})
    with pytest.raises(OSError, match=r"step 1 could not be written .* \(MemoryError\)"):
        checkpoints.close()


def test_the_first_error_is_the_one_that_is_raised(tmp_path, monkeypatch):
    """A run that ends with bad numbers says so, and adds that its last checkpoint was not written."""

    def full(folder):
        raise OSError("disk full")

    def stop(step, model):
        raise FloatingPointError("bad numbers")

    monkeypatch.setattr(training.checkpoint, "write_manifest", full)
    with pytest.raises(FloatingPointError, match="bad numbers") as caught:
        run(tmp_path, on_evaluation=lambda step, model: step == 20 and stop(step, model))
    assert "disk full" in caught.value.__notes__[0]


def test_how_steps_are_run_may_change_between_two_calls(tmp_path, uninterrupted):
    """So that a run of several steps a call can be looked at step by step."""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_at=30, execution=dgm.Execution(steps_per_call=5))
    result = run(tmp_path, debug_nans=True)
    chex.assert_trees_all_close(result.model, uninterrupted.model, rtol=1e-5, atol=1e-6)


def test_a_run_of_an_older_version_continues(interrupted, uninterrupted):
    """It did not know today's settings, whose defaults are what it did."""
    path = interrupted / "fit.json"
    call = json.loads(path.read_text())
    del call["transform"], call["init_rows"]
    path.write_text(json.dumps(call))
    assert_same(run(interrupted), uninterrupted)


def test_names_of_settings_hold_no_address():
    class Rows:
        pass

    identity_of = training.identity.identity_of
    assert " at 0x" not in identity_of(Rows())
    transform = functools.partial(jnp.clip, min=0)
    assert identity_of(transform) == identity_of(functools.partial(jnp.clip, min=0))
    assert identity_of(transform) != identity_of(functools.partial(jnp.clip, min=1))
    settings = dgm.data.ImageTransform(shift=1)
    assert identity_of(settings) == repr(settings)


@dataclasses.dataclass(frozen=True)
class Distillation:
    """A loss with a model inside."""

    teacher: Any
    weight: float = 1.0


@pytest.mark.parametrize(
    "holding", [lambda m: m, Distillation, lambda m: functools.partial(print, m), lambda m: [m]]
)
def test_the_name_of_a_setting_has_the_weights_of_models_inside(holding):
    identity_of = training.identity.identity_of
    layer = dgm.ActNorm((4,))
    other = scramble(layer, jax.random.key(0))
    assert identity_of(holding(layer)) == identity_of(holding(dgm.ActNorm((4,))))
    assert identity_of(holding(layer)) != identity_of(holding(other))
