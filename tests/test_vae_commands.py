"""Commands that train variational autoencoders, at their smoke sizes on the digits."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.data import load_dataset
from experiments.benchmarks import vae as benchmark
from experiments.commands import train, vae_comparison
from experiments.configs import load_config
from experiments.run.data import load_data
from experiments.settings.systems import SYSTEMS

pytestmark = pytest.mark.usefixtures("x32")


@pytest.mark.parametrize(
    "name", ["vae_digits", *(pytest.param(n, marks=pytest.mark.slow) for n in ("vae_mnist",))]
)
@pytest.mark.slow
def test_a_run_takes_its_bound_apart(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no_data"))
    run = tmp_path / "run"
    train.main([name, "--smoke", "--surgery", "--workdir", str(run)])
    result = json.loads((run / "result.json").read_text())
    assert result["test"]["bound"] == "one-sample bound (variational posterior)"
    parts = [json.loads(line) for line in (run / "surgery.jsonl").read_text().splitlines()]
    assert [record["step"] for record in parts] == [20, 40, 60]
    for record in parts:
        total = record["reconstruction"] - record["mutual_information"] - record["marginal_kl"]
        assert np.isclose(total, record["elbo"])
        assert record["mutual_information"] <= record["log_n"]
    assert parts[-1]["elbo"] > parts[0]["elbo"]
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    train_records = [record for record in history if record["split"] == "train"]
    assert {"kl", "reconstruction"} <= set(train_records[-1])


def test_only_vaes_are_taken_apart(tmp_path):
    arguments = ["nice_digits", "--smoke", "--surgery", "--workdir", str(tmp_path / "run")]
    with pytest.raises(
        SystemExit, match="takes VAEs apart, and nice_digits_smoke is a Dequantized"
    ):
        train.main(arguments)


# Every prior and posterior trains in tests/test_every_model_on_every_shape.py.
VARIANTS = {
    "priors": ["normal", "vamp", "aggregated"],
    "posteriors": ["gaussian", "iaf", "iaf, realnvp prior"],
}


@pytest.mark.slow
@pytest.mark.parametrize("what", vae_comparison.VARIANTS)
def test_the_comparison_writes_its_table(what, tmp_path, capsys):
    variants = VARIANTS[what]
    only = ["--only", *variants]
    vae_comparison.main([what, "vae_digits", "--smoke", *only, "--workdir", str(tmp_path)])
    table = (tmp_path / f"{what}.md").read_text()
    assert table.count("\n| ") == 1 + len(variants)
    rows = json.loads((tmp_path / f"{what}.json").read_text())["rows"]
    for seeds in rows.values():
        for numbers in seeds:
            assert numbers["test_iw"] < numbers["test_elbo"]
            assert numbers["mutual_information"] <= numbers["log_n"]
    if what == "priors":  # the optimal prior, up to the noise of the codes
        assert all(abs(numbers["marginal_kl"]) < 1e-3 for numbers in rows["aggregated"])
    assert "paired over seeds" in capsys.readouterr().out


def test_a_prior_and_a_posterior_have_equally_many_parameters():
    """Row D3-35 compares like with like."""
    config = load_config("vae_digits")
    dataset = load_data(config)
    sizes = []
    for name in ("iaf", "maf prior, as large"):
        changed = dataclasses.replace(config.model, **vae_comparison.VARIANTS["posteriors"][name])
        model = jax.eval_shape(lambda changed=changed: changed.build(dataset, nnx.Rngs(0)))
        sizes.append(sum(a.size for a in dgm.training.partition(model)[0].values()))
    assert sizes[0] == sizes[1]


def test_the_comparison_says_what_it_cannot_do():
    with pytest.raises(SystemExit, match="is a realnvp, no VAE"):
        vae_comparison.main(["priors", "realnvp_digits"])
    with pytest.raises(SystemExit, match="unknown rows"):
        vae_comparison.main(["priors", "vae_digits", "--only", "gtm"])


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path):
    results = benchmark.main(["--quick", "--out", str(tmp_path / "results.json")])
    assert {row["task"].split(",")[0] for row in results["rows"]} == {
        "training step", "importance-weighted bounds", "ELBO surgery",
    }  # fmt: skip


@pytest.mark.parametrize("system", ["vae", "vlae", "gan"])
def test_models_without_labels_say_so(system):
    with pytest.raises(ValueError, match=f"{system} takes no labels; leave --conditional out."):
        SYSTEMS[system]().build(load_dataset("digits"), nnx.Rngs(0), conditional=True)
