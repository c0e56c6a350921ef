"""The checklist of the lectures as a command: what counts as a pass, and what the page says."""

import json
import pathlib

import pytest

from experiments.reproduce import __main__ as reproduce
from experiments.reproduce.entry import (
    ENTRIES,
    Context,
    Entry,
    at_least,
    at_most,
    close,
    falling,
    finite,
)
from experiments.reproduce.report import read_runs, results_page

pytestmark = pytest.mark.usefixtures("x32")
RUNS = pathlib.Path(__file__).parent.parent / "docs" / "results" / "runs"


@pytest.mark.parametrize(
    ("check", "passed"),
    [
        (close("a", 1.05, 1.0, 0.1), True),
        (close("a", 1.2, 1.0, 0.1), False),
        (at_most("a", 1.0, 1.0), True),
        (at_most("a", 1.1, 1.0), False),
        (at_least("a", 1.1, 1.0), True),
        (at_least("a", 0.9, 1.0), False),
        (falling("a", [3.0, 2.0, 1.9]), True),
        (falling("a", [3.0, 2.0, 2.0]), False),
        (at_least("a", float("inf"), 1.0), False),
        (at_most("a", float("nan"), 1.0), False),
    ],
)
def test_what_passes(check, passed):
    assert finite([check])[0].passed == passed


def test_an_entry_that_raises_is_recorded_as_failed(tmp_path):
    def broken(context):
        raise ValueError("no such thing")

    record = reproduce.run_entry(
        Entry(("L7-99",), "nothing", broken), Context(tmp_path, quick=True)
    )
    assert not record["passed"]
    assert record["error"] == "ValueError: no such thing"
    page = results_page([record])
    assert "0 of 1 entries pass" in page
    assert "| L7-99 | nothing | **no** | ValueError: no such thing |" in page


def test_entries_are_chosen_by_row_or_lecture():
    assert [one.name for one in reproduce.chosen(("L7-14",))] == ["L7-14"]
    lecture = reproduce.chosen(("D3",))
    assert {"D3-03", "D3-28"} <= {one.name for one in lecture}
    assert len(reproduce.chosen(())) == len(ENTRIES)
    with pytest.raises(ValueError, match="no entry has the row L7-98"):
        reproduce.chosen(("L7-98",))


def test_rows_belong_to_one_entry_each():
    rows = [row for one in ENTRIES.values() for row in one.ids]
    assert len(set(rows)) == len(rows)
    assert all(row[:2] in ("L7", "L5", "D3", "A4") and row[2] == "-" for row in rows)


def test_the_command_runs_once_and_writes_the_page(tmp_path, capsys):
    arguments = ["--only", "A4-07", "D3-03", "--quick", "--out", str(tmp_path)]
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            reproduce.main([*arguments, "--results", str(RUNS)])
        assert end.value.code == 0
    assert "2 of 2 pass" in capsys.readouterr().out
    record = json.loads((tmp_path / "quick" / "records" / "D3-03.json").read_text())
    assert record["checks"][0]["value"] == pytest.approx(0.1209853623, abs=1e-7)
    page = (tmp_path / "quick" / "RESULTS.md").read_text()
    assert "2 of 2 entries pass" in page
    assert "| vae_mnist | mnist | 101.56 +- 0.26 nats |" in page


def test_kept_results_say_what_they_are():
    for run in read_runs(RUNS):
        assert {"run", "config", "data", "parameters", "steps", "device", "commit"} <= set(run)
        assert (
            "bound" in run["test"] or "accuracy" in run["test"] or "generator_loss" in run["test"]
        )


@pytest.mark.slow
def test_all_entries_pass_quickly(tmp_path):
    with pytest.raises(SystemExit) as end:
        reproduce.main(["--quick", "--out", str(tmp_path), "--results", str(RUNS)])
    assert end.value.code == 0
