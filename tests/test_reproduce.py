"""The checklist of the lectures as a command: what counts as a pass, and what the page says."""

import json
import pathlib
import re

import jax
import numpy as np
import pytest

import dgmjax as dgm
from experiments.configs import load_config
from experiments.figures.registry import figures
from experiments.reproduce import __main__ as reproduce
from experiments.reproduce import change_of_variables, entry, flow_is_vae, report
from experiments.reproduce.documented import DOCUMENTED
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
from experiments.reproduce.published import BESIDE, PUBLISHED, beside
from experiments.reproduce.report import read_runs, results_page

pytestmark = pytest.mark.usefixtures("x32")
ROOT = pathlib.Path(__file__).parent.parent
RUNS = ROOT / "docs" / "results" / "runs"
LAST_ROWS = {"L7": 41, "L5": 36, "D3": 40, "A4": 31}


@pytest.mark.parametrize(
    ("check", "passed"),
    [
        (close("a", 1.05, 1.0, 0.1), True),
        (close("a", 1.2, 1.0, 0.1), False),
        (close("a", 0.8, 1.0, 0.1), False),
        (at_most("a", 1.0, 1.0), True),
        (at_most("a", 1.1, 1.0), False),
        (at_least("a", 1.1, 1.0), True),
        (at_least("a", 1.0, 1.0), True),
        (at_least("a", 0.9, 1.0), False),
        (falling("a", [3.0, 2.0, 1.9]), True),
        (falling("a", [3.0, 2.0, 2.0]), False),
        (falling("a", [3.0, 2.0, 2.5]), False),
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


def test_every_row_of_the_checklist_is_an_entry_or_a_page_and_not_both():
    rows = {f"{name}-{i:02d}" for name, last in LAST_ROWS.items() for i in range(1, last + 1)}
    entries = {row for one in ENTRIES.values() for row in one.ids}
    assert entries | set(DOCUMENTED) == rows
    assert not entries & set(DOCUMENTED)


@pytest.mark.parametrize("row", DOCUMENTED)
def test_a_row_that_is_text_names_a_page_and_a_heading_that_exist(row):
    one = DOCUMENTED[row]
    headings = [
        line.lstrip("#").strip()
        for line in (ROOT / one.page).read_text().splitlines()
        if line.startswith("#")
    ]
    assert not one.section or one.section in headings
    assert f"| {row} | {one.says} | {one.page}" in results_page([])


def test_published_numbers_stand_beside_runs_on_the_same_data():
    runs = {run["run"]: run for run in read_runs(RUNS)}
    for name, one in BESIDE.items():
        assert {row.model for row in beside(name)} == set(one.models)
        assert one.split in runs[name]
        assert one.title.lower().startswith(runs[name]["data"])
        assert ("binarisation" in one.title) == load_config(runs[name]["config"]).binarize
    assert beside("flowpp_digits") == []
    page = results_page([], list(runs.values()))
    assert "Glow: 1.05 (uniform dequantization)" in page
    version = json.loads((RUNS / "vae_digits.json").read_text())["data_version"]
    assert version.startswith("load_digits of scikit-learn")
    assert f"| vae_digits | digits | {version} |" in page
    assert set(PUBLISHED) >= {one.title for one in BESIDE.values()}


def test_tables_of_entries_are_on_the_page(tmp_path):
    def tabulate(context):
        context.table("numbers", "| a |\n|---|\n| 1 |\n")
        return [close("a", 1.0, 1.0, 0.0)]

    one = Entry(("L7-99",), "TABLE: numbers", tabulate)
    record = reproduce.run_entry(one, Context(tmp_path, quick=True))
    assert record["tables"] == ["tables/numbers.md"]
    assert "### L7-99: numbers\n\n| a |\n|---|\n| 1 |" in results_page([record], folder=tmp_path)


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
    assert "| vae_mnist | mnist | mnist:3.0.1 | NLL 101.56 +- 0.26 nats |" in page


def test_what_failed_runs_again_and_ends_with_an_error(tmp_path, monkeypatch, capsys):
    tries = []

    def late(context):
        tries.append(context.quick)
        if len(tries) == 2:
            raise ValueError("no such thing")
        return [close("a", float(len(tries)), 3.0, 0.0)]

    one = Entry(("L7-14",), "late", late)
    monkeypatch.setattr(reproduce, "chosen", lambda only: [one])
    for passed in (False, False, True, True):
        with pytest.raises(SystemExit) as end:
            reproduce.main(["--quick", "--out", str(tmp_path), "--results", str(RUNS)])
        assert end.value.code == (0 if passed else 1)
    assert tries == [True] * 3
    out = capsys.readouterr().out
    assert "a: 1.0, expected 3 +- 0" in out
    assert out.count("0 of 1 pass") == out.count("1 of 1 pass") == 2
    record = reproduce.run_entry(one, Context(tmp_path, quick=False)) | {"seconds": 150.0}
    assert "2 minutes on" in results_page([record])


def test_sizes_are_small_with_quick_only(tmp_path, monkeypatch):
    drawn, trained = [], []
    one = figures()["degenerate"]._replace(draw=lambda path, **options: drawn.append(options))
    monkeypatch.setitem(figures(), "degenerate", one)
    monkeypatch.setattr(entry, "train", lambda config, workdir: trained.append(config) or {})
    monkeypatch.setattr(dgm, "load", lambda path: None)
    for quick in (True, False):
        context = Context(tmp_path, quick=quick, seed=5)
        context.figure("degenerate", rows=7)
        context.trained("realnvp_digits", steps=41, label="x", depth=3)
        assert context.size(1, 2) == (1 if quick else 2)
    assert drawn == [{"seed": 5, "rows": 7, "steps": 200}, {"seed": 5, "rows": 7}]
    small, full = trained
    assert (small.training.steps, small.training.eval_every) == (40, 10)
    assert full.training == load_config("realnvp_digits").training
    for config in trained:
        assert (config.seed, config.model.depth, config.name) == (5, 3, "realnvp_digits_x")


def test_a_row_of_the_page_names_the_samples_of_its_bound():
    """K of one-sample bounds only: exact numbers have none, importance-weighted ones say theirs."""
    test = {"nats": 1.0, "standard_error_nats": None, "bits_per_dim": 0.5}
    for bound, cell in (
        ("exact", "exact"),
        ("one-sample bound (a)", "one-sample bound (a), K=1"),
        ("importance-weighted bound, K=8 (a)", "importance-weighted bound, K=8 (a)"),
    ):
        assert report._test_cells(test | {"bound": bound}) == (
            "NLL 1.00 nats",
            "0.500 bits/dim",
            cell,
        )


def test_validation_numbers_stand_beside_those_on_validation():
    name = next(name for name, one in BESIDE.items() if one.split == "validation")
    run = {"test": {"nats": 1.0}, "validation": {"nats": 2.0}}
    assert report._published_cells(name, run)[1].startswith("ours on validation 2.00; ")


def test_the_statistic_of_kolmogorov_and_smirnov_looks_at_both_sides_of_a_step():
    """For 1/2 alone both distances are 1/2; of 0.9 it is 0.9, below the step, of 0.1 it is 0.9, above."""
    for value, expected in ((0.5, 0.5), (0.9, 0.9), (0.1, 0.9)):
        found = change_of_variables._kolmogorov_smirnov(np.array([value]))
        assert found == pytest.approx(expected)
    found = change_of_variables._kolmogorov_smirnov(np.array([0.25, 0.75]))
    assert found == pytest.approx(0.25 * np.sqrt(2))


@pytest.mark.parametrize("to_latent", [True, False])
def test_noise_about_a_map_has_the_density_of_its_draws(to_latent):
    """``N(m, eps^2 A A^T)`` of a scale by 2: the logarithm of the density at its mean is -log(2 pi eps^2 |A|)."""
    layer = dgm.DiagonalLinear((2,))
    layer.log_scale[...] = np.log([2.0, 4.0]).astype(np.float32)
    around = flow_is_vae.Around(layer, 0.1, to_latent=to_latent)
    x = np.array([[1.0, -2.0]], np.float32)
    mean = x / [2.0, 4.0] if to_latent else x * [2.0, 4.0]
    volume = 1 / 8 if to_latent else 1.0
    expected = -np.log(2 * np.pi * 0.01 * volume)
    np.testing.assert_allclose(around.log_prob(mean.astype(np.float32), x), expected, rtol=1e-4)
    z, log_q = around.sample_and_log_prob(seed=jax.random.key(0), context=np.tile(x, (500, 1)))
    np.testing.assert_allclose(
        log_q, around.log_prob(z, np.tile(x, (500, 1))), rtol=1e-2, atol=1e-2
    )
    deviation = 0.1 / np.array([2.0, 4.0]) if to_latent else 0.1
    np.testing.assert_allclose(z.std(0), deviation * np.ones(2), rtol=0.15)


def test_kept_results_say_what_they_are():
    for run in read_runs(RUNS):
        assert {
            "run",
            "config",
            "data",
            "data_version",
            "parameters",
            "steps",
            "device",
            "commit",
        } <= set(run)
        assert (
            "bound" in run["test"] or "accuracy" in run["test"] or "generator_loss" in run["test"]
        )


@pytest.mark.slow
def test_entries_of_formulas_pass_quickly(tmp_path):
    """Those of figures and tables are in the tests of these; the whole checklist is a command of its own."""
    formulas = [name for name, one in ENTRIES.items() if not one.title.startswith(("FIG", "TAB"))]
    options = ["--quick", "--out", str(tmp_path), "--results", str(RUNS)]
    with pytest.raises(SystemExit) as end:
        reproduce.main([*options, "--only", *formulas])
    assert end.value.code == 0
    runs = list((tmp_path / "quick" / "runs").rglob("config.json"))
    assert runs
    for path in runs:
        data = json.loads(path.read_text())["data"]
        assert data in {"digits", *dgm.data.TOYS}, f"{path.parent.name} needs {data}"


def test_the_committed_page_shows_the_kept_results():
    page = (RUNS.parents[2] / "RESULTS.md").read_text()
    assert results_page([], read_runs(RUNS)).partition("## Published")[0] in page
    (passed, entries) = re.search(r"(\d+) of (\d+) entries pass", page).groups()
    assert int(passed) == int(entries) == len(ENTRIES)
