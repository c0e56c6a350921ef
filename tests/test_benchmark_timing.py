"""The benchmarks' own arithmetic, with a clock that is known: turns, medians, ratios, tables, bytes and products."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import (
    _first_call,
    _inversion,
    _races,
    _report,
    _timing,
    discrete,
    vector,
)
from experiments.benchmarks._timing import QUICK, Row, System, race

pytestmark = pytest.mark.usefixtures("x32")


@pytest.fixture
def clock(monkeypatch):
    """Calls of systems take the milliseconds that ``times`` says, in turn; ``turns`` says whose they were."""

    class Clock:
        def __init__(self):
            self.times, self.turns = {}, []

        def system(self, name, *milliseconds):
            self.times[name] = itertools.cycle(milliseconds)
            return System(name, lambda: self.turns.append(name), parameters=7, note="a note")

    made = Clock()

    def milliseconds(run):
        run()
        wall = next(made.times[made.turns[-1]])
        return wall, 10 * wall

    monkeypatch.setattr(_timing, "milliseconds", milliseconds)
    return made


def test_numbers_of_a_race_by_hand(clock):
    """Two rounds of two calls: medians over all calls, ratios of the medians of turns, the first over the other."""
    slow = clock.system("slow", 8.0, 8.0, 4.0, 4.0)
    fast = clock.system("fast", 1.0, 3.0, 2.0, 2.0)
    first, other = race("task", [slow, fast], rounds=2, calls=2)
    assert (first.median, first.minimum, first.cpu, first.ratio) == (6.0, 4.0, 60.0, None)
    assert (other.median, other.minimum, other.cpu) == (2.0, 1.0, 20.0)
    assert other.ratio == 3.0  # of 8 / 2 and 4 / 2
    assert other.p90 == pytest.approx(2.7)
    assert (other.task, other.system, other.unit, other.parameters) == ("task", "fast", "ms", 7)


def test_turns_rotate_from_round_to_round(clock):
    systems = [clock.system(name, 1.0) for name in "abc"]
    found = _timing.alternate(systems, rounds=3, calls=2, warm=1)
    assert "".join(clock.turns) == "aaabbbccc" + "bbbcccaaa" + "cccaaabbb"
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys("abc", (3, 2, 2))


def test_a_call_is_timed_in_milliseconds(monkeypatch):
    wall, cpu = iter([1.0, 1.25]), iter([2.0, 2.5])
    monkeypatch.setattr(_timing.time, "perf_counter", lambda: next(wall))
    monkeypatch.setattr(_timing.time, "process_time", lambda: next(cpu))
    assert _timing.milliseconds(lambda: None) == (250.0, 500.0)


def test_a_table_has_the_spread_the_ratio_and_the_notes():
    rows = [
        Row("step", "ours", "ms", 2.0, 1.0, 3.0, None, 4.0, 1_234, "said"),
        Row("step", "theirs", "ms", 250.4, 200.0, 300.0, 0.5),
        Row("size", "ours", "MiB", 0.125),
    ]
    lines = _report.table(rows).splitlines()
    assert lines[2:] == [
        "| step | ours | 2 ms | [1, 3] | 4 |  | 1,234 |",
        "| step | theirs | 250 ms | [200, 300] |  | 0.500 |  |",
        "| size | ours | 0.125 MiB |  |  |  |  |",
        "",
        "- step, ours: said.",
    ]


def test_the_passes_of_the_naive_inversion_are_the_layer():
    """In an order of the elements that is not theirs."""
    layer = _inversion._layer(QUICK, "incremental")
    z = jax.random.normal(jax.random.key(1), (3, QUICK.inversion_dim))
    x, log_det = jax.jit(_inversion.naive_forward)(layer, z)
    expected, expected_log_det = jax.jit(layer.forward_and_log_det)(z)
    np.testing.assert_allclose(x, expected, atol=1e-5)
    np.testing.assert_allclose(log_det, expected_log_det, atol=1e-5)
    assert jnp.abs(x - z).max() > 1e-3


def raced(monkeypatch, module):
    """The systems that a task would race, each run once, without a clock."""
    found = {}

    def run(task, systems, **options):
        for system in systems:
            system.run()
        found[task] = systems
        return [Row(task, system.name, "ms", 1.0, note=system.note) for system in systems]

    monkeypatch.setattr(module, "race", run)
    return found


def test_both_inverses_of_mixtures_find_the_quantiles(monkeypatch):
    found = raced(monkeypatch, discrete)
    discrete.inverse(discrete.QUICK)
    ((task, systems),) = found.items()
    assert task == "64 quantiles of 3 logistics"
    assert [system.name for system in systems] == ["safeguarded Newton", "bisection"]
    for system in systems:
        assert float(system.note.removeprefix("largest error ")) < 1e-4
        assert system.run().shape == (64,)


def test_the_three_inversions_are_raced_on_the_same_layer(monkeypatch):
    found = raced(monkeypatch, _inversion)
    _inversion.inversion(QUICK, {})
    (systems,) = found.values()
    (incremental, _), (jacobi, _), (naive, _) = (system.run() for system in systems)
    np.testing.assert_allclose(jacobi, incremental, atol=1e-3)
    np.testing.assert_allclose(naive, incremental, atol=1e-3)


def test_growth_is_told_as_the_ratio_of_the_shallowest(monkeypatch):
    """Trace, lower and compile of depths 2 and 4 take 1, 2, 3 and 4, 4, 4 seconds."""
    ticks = iter(np.cumsum([0, 1, 2, 3, 0, 4, 4, 4]).tolist())
    monkeypatch.setattr(_first_call.time, "perf_counter", lambda: float(next(ticks)))

    class Step:
        def trace(self, *arguments):
            return self

        def lower(self):
            return self

        def compile(self):
            return self

    monkeypatch.setattr(_first_call._dgmjax, "realnvp", lambda sizes, depth: depth)
    monkeypatch.setattr(_first_call._dgmjax, "trainer", lambda model: (Step(), None))
    monkeypatch.setattr(jax, "clear_caches", lambda: None)
    rows = _first_call._growth(QUICK)
    assert [(row.task.split()[0], row.system, row.median, row.ratio) for row in rows] == [
        ("trace", "dgmjax, depth 2", 1_000.0, None), ("trace", "dgmjax, depth 4", 4_000.0, 0.25),
        ("lower", "dgmjax, depth 2", 2_000.0, None), ("lower", "dgmjax, depth 4", 4_000.0, 0.5),
        ("compile", "dgmjax, depth 2", 3_000.0, None), ("compile", "dgmjax, depth 4", 4_000.0, 0.75),
    ]  # fmt: skip


def test_tasks_of_the_vector_benchmark_are_known_by_name():
    assert set(_races.RACES) < set(vector.TASKS)
    x = _races.events(QUICK)
    assert (x.shape, x.dtype) == ((QUICK.batch, QUICK.dim), np.float32)


def test_a_missing_peer_is_named(monkeypatch, capsys):
    monkeypatch.setattr(_races.importlib.util, "find_spec", lambda name: None)
    assert _races.installed_peers(["zuko"]) == {}
    assert "zuko: not installed, skipped; pip install" in capsys.readouterr().out
