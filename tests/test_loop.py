"""The training loop by itself: which evaluation is kept, when it stops, what it logs, of scripted steps and values."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from dgmjax import training


class State(NamedTuple):
    """Steps taken."""

    step: int
    fixed: dict[str, Any]


def loop(
    values=None, *, steps=20, eval_every=1, patience=None, skips=(), monitor="nats", max_skipped=10
) -> training.Loop:
    """``values`` of the evaluations in turn; metrics of a step are its number, and whether it is in ``skips``."""
    scripted = iter(values or ())

    def step(state, batch):
        assert batch == state.step, "batches are those of the step"
        number, skipped = float(state.step + 1), float(state.step + 1 in skips)
        rows = [[number * (1 - skipped), 1 - skipped], [skipped, 1.0]]
        metrics = training.StepMetrics(("nats", "skipped"), np.asarray(rows))
        return State(state.step + 1, state.fixed), metrics

    schedule = training.Schedule(steps, eval_every, patience)
    return training.Loop(
        train_step=step,
        batches=lambda step: step,
        evaluation=training.Evaluation(
            params=lambda state: {"step": state.step},
            measure=None
            if values is None
            else lambda params, fixed: {"nats": next(scripted), "other": -float(params["step"])},
            monitor=monitor,
        ),
        schedule=schedule,
        log=training.MetricsLog(None),
        watch=training.Watch(progress=False, max_skipped=max_skipped),
    )


def run(made: training.Loop, progress: training.Progress | None = None):
    progress = training.Progress() if progress is None else progress
    state, best, progress = made.run(State(progress.step, {}), {"step": 0}, progress)
    assert state.step == progress.step
    return best["step"], progress


ENDS = {  # values, options, step of the best, steps
    "no patience": ([3.0, 2.0, 4.0, 1.5, 9.0], {"steps": 5}, 4, 5),
    "the first of equals": ([3.0, 2.0, 2.0, 2.0], {"steps": 4}, 2, 4),
    "patience": ([3.0, 2.0, 4.0, 5.0, 1.0], {"patience": 2}, 2, 4),
    "equals are no better": ([5.0, 5.0, 5.0, 1.0], {"patience": 2}, 1, 3),
    "patience begins again at a better one": (
        [5.0, 6.0, 4.0, 5.0, 3.0, 4.0, 3.5, 1.0],
        {"patience": 2},
        5,
        7,
    ),
    "worse from the start": ([1.0, 2.0, 3.0, 4.0, 5.0], {"patience": 3}, 1, 4),
    "patience at the last step": ([1.0, 2.0, 3.0], {"patience": 2, "steps": 3}, 1, 3),
    "another monitor": ([1.0, 2.0, 3.0], {"steps": 3, "monitor": "other"}, 3, 3),
    "every second step and the last": ([3.0, 2.0, 1.0], {"steps": 5, "eval_every": 2}, 5, 5),
    "negative values": ([-1.0, -3.0, -2.0], {"steps": 3}, 2, 3),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_best_evaluation_is_kept_and_patience_counts_those_after_it(name):
    values, options, best_step, steps = ENDS[name]
    made = loop(values, **options)
    best, progress = run(made)
    assert (best, progress.best_step, progress.step) == (best_step, best_step, steps)
    assert progress.finished
    if "monitor" not in options:
        assert progress.best_value == min(values[: len(made.log.records) // 2])


def test_a_loop_goes_on_from_where_it_stands():
    """At step 3, with 2.0 of step 1 as the best and one evaluation without a better: the next one is its last."""
    before = training.Progress(step=3, best_step=1, best_value=2.0, stale=1)
    made = loop([2.5, 1.0], patience=2)
    best, progress = run(made, before)
    assert (best, progress.best_step, progress.step, progress.stale) == (0, 1, 4, 2)


def test_without_validation_the_last_is_the_best():
    best, progress = run(loop(steps=7, eval_every=3))
    assert (best, progress.best_step, progress.step) == (7, 7, 7)


def test_records_are_means_over_the_steps_since_the_last_and_say_how_many_were_skipped():
    """Steps 1 to 7, four a record; 2 and 3 were skipped, and count for nothing."""
    made = loop([1.0, 1.0], steps=7, eval_every=4, skips=(2, 3))
    run(made)
    train = [r for r in made.log.records if r["split"] == "train"]
    assert [(r["step"], r["nats"]) for r in train] == [(4, 2.5), (7, 6.0)]
    assert [r.get("skipped_steps", 0) for r in train] == [2, 0]
    assert [(r["step"], r["nats"]) for r in made.log.records if r["split"] == "validation"] == [
        (4, 1.0),
        (7, 1.0),
    ]


STREAKS = {  # skipped steps, max_skipped, where it stops
    "two in a row": ((1, 2, 4, 5, 7), 3, None),
    "over a log": ((4, 5, 6), 3, 6),
    "three in a row, then good ones": ((1, 2, 3), 3, 3),
    "one": ((5,), 1, 5),
}


@pytest.mark.parametrize("name", STREAKS)
def test_skipped_steps_in_a_row_stop_the_run(name):
    skips, most, stops = STREAKS[name]
    made = loop(steps=8, eval_every=4, skips=skips, max_skipped=most)
    if stops is None:
        assert run(made)[1].step == 8
        return
    with pytest.raises(
        FloatingPointError, match=rf"step {stops},? .*gave numbers|step {stops} gave"
    ):
        run(made)
