"""The tutorials, run as printed: every page of docs/tutorials from top to bottom, without a display.

``TUTORIAL_PICTURES=1 python -m pytest tests/test_tutorials.py -m slow`` also puts the pictures that the pages wrote
into ``docs/images``; the outputs quoted in a page are those of such a run on a CPU, and are edited by hand.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

DOCS = pathlib.Path(__file__).parents[1] / "docs"
PAGES = {path.stem: path for path in sorted((DOCS / "tutorials").glob("*.md"))}
NEEDS = {
    "samplers": ("blackjax", "numpyro"),
    "inference": ("blackjax",),
}  # besides what `.[experiments]` brings

# What a page says in words or quotes as a number of its run, about the names that its blocks leave: on other machines
# the digits differ, and the claims hold.
CLAIMS = {
    "flows_2d": """
        assert abs(log_det - jnp.linalg.slogdet(jacobian).logabsdet) < 1e-5
        assert jacobian[0, 1] == 0
        assert 0 < kl < 0.05
        assert worse.mean() > 0.8
        assert jnp.abs(latents.mean(0)).max() < 0.1
        assert jnp.abs(jnp.cov(latents.T) - jnp.eye(2)).max() < 0.1
        assert jnp.array_equal(again.log_prob(x_test), flow.log_prob(x_test))
    """,
    "glow": """
        assert glow.multi_scale.latent_shapes == [(4, 4, 2), (2, 2, 8)]
        bits = [likelihood.bits_per_dim for likelihood in bounds]
        assert bits == sorted(bits, reverse=True) and 1.9 < bits[-1] < bits[0] < 2.2
        assert "importance-weighted bound, K=64 (uniform dequantization)" in str(bounds[-1])
        assert scores["mirrored digits"][0] > 0.7 and scores["digits at half contrast"][1] < 0.6
        assert scores["black images"][0] < 0.05 and scores["black images"][1] > 0.95
    """,
    "inference": """
        assert -0.05 < gap.mean() < 0.15
        assert samples.shape == (1_000, 50, 2)
        assert (np.abs(calibrated.expected_coverage([0.5, 0.9]) - [0.5, 0.9]) < 0.08).all()
        sure = dgm.analysis.calibration(overfitted, *checks, key=jax.random.key(6))
        assert (sure.expected_coverage([0.5, 0.9]) < [0.3, 0.7]).all()
        assert shares(walked).min() < 0.05 and shares(jumped).min() > 0.15
        assert accepted.mean() > 0.3
    """,
    "samplers": """
        assert abs(fitted.history[-1]["log_z_bound"]) < 0.2
        assert abs(through[..., 0].mean()) < 0.5 and abs(through[..., 0].std() - 3) < 0.4
        assert blackjax.diagnostics.effective_sample_size(raw)[0] < 200
        assert blackjax.diagnostics.effective_sample_size(through)[0] > 800
        assert abs(log_z) < 0.05
        assert abs(v.mean() - true_mean) < 0.15 and abs(v.std() - true_std) < 0.15
        v = mcmc.get_samples()["z"][:, 0]
        assert abs(v.mean() - true_mean) < 0.15 and abs(v.std() - true_std) < 0.15
        assert log_evidence - 0.3 < elbo < log_evidence + 0.03
    """,
    "scaling": """
        assert len(parallel.devices) == 8
        assert program.working_bytes < 0.6 * runs["one device"][2].working_bytes  # in four parts
        _, nats, program = runs["one device"]
        assert all(abs(run[1] - nats) < 1e-4 for run in runs.values())
        assert runs["8, fsdp=8"][2].state_bytes < program.state_bytes / 7
        assert all(plain > 3 * reversible for plain, reversible in memory.values())
        assert memory[128][0] > 10 * memory[8][0] and memory[128][1] < 1.5 * memory[8][1]
        assert same == len(pairs) > 5
    """,
    "vae_surgery": """
        nats = [likelihood.negative_log_likelihood for likelihood in bounds.values()]
        assert nats == sorted(nats, reverse=True) and 90 < nats[-1] < nats[0] < 105
        assert str(bounds[1].bound).startswith("one-sample bound")
        assert abs(surgery.reconstruction - surgery.rate - surgery.elbo) < 1e-6
        assert 0.2 < surgery.marginal_kl < 0.8 and mended.marginal_kl < surgery.marginal_kl / 2
        assert abs(difference.mean() - 0.5) < 3 * error
        assert holes["VampPrior"] < holes["N(0, I)"]
    """,
}


def blocks_of(page: pathlib.Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def test_every_page_states_claims():
    assert set(CLAIMS) == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_the_blocks_of_a_page_are_python(name):
    blocks = blocks_of(PAGES[name])
    assert len(blocks) >= 3
    compile("\n".join(blocks), str(PAGES[name]), "exec")


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_page_runs_from_top_to_bottom(name, tmp_path):
    for package in NEEDS.get(name, ()):
        pytest.importorskip(package)
    page = PAGES[name]
    lines = [line.strip() for line in CLAIMS[name].splitlines()]
    script = "\n".join([*blocks_of(page), *lines, "print('as the page says')"])
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("as the page says\n")
    written = {path.name for path in tmp_path.glob("tutorial_*.png")}
    assert written == set(re.findall(r"images/(tutorial_\w+\.png)", page.read_text()))
    if os.environ.get("TUTORIAL_PICTURES"):
        for picture in written:
            shutil.copy(tmp_path / picture, DOCS / "images" / picture)
