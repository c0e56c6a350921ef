"""The benchmark of images: what the compiler says of small Glows, and what it reports; not how fast it is."""

import collections
import contextlib
import dataclasses
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import _image_compiled, _image_drift, _image_step, _image_work, image
from experiments.benchmarks._image_work import QUICK

pytestmark = pytest.mark.usefixtures("x32")


class Program:
    """A compiled program that has a text only."""

    def __init__(self, *lines: str):
        self.lines = lines

    def as_text(self) -> str:
        return "\n".join(self.lines)


def test_convolutions_are_counted_by_their_labels():
    fast = "%a = f32[2,4,4,4] convolution(%x, %k), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f, meta"
    slow = "ROOT %b = f32[2] convolution(%x, %k), window={size=2x2}, dim_labels=01fb_o01i->f01b"
    other = "%c = f32[2] fusion(%convolution), dim_labels=b01f_01io->b01f"
    found = _image_compiled.convolution_labels(Program(fast, other, slow, fast))
    assert found == {_image_compiled.FAST_LABELS: 2, "01fb_o01i->f01b": 1}


def test_differences_are_relative_to_the_reference():
    reference = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]])}
    found = {"b": jnp.array([[4.0]]), "a": jnp.array([3.0, 0.5])}
    np.testing.assert_allclose(_image_drift.relative_difference(found, reference), 0.1)


def test_digits_stand_in_for_images_of_other_sizes():
    data = _image_drift.photos(dataclasses.replace(QUICK, side=16, levels=3))
    assert (data.name, data.train.shape[1:], data.num_values, data.levels) == (
        "digits", (8, 8, 1), 17, 2
    )  # fmt: skip
    x = data.batch(data.train[:50], np.random.RandomState(0))
    assert x.dtype == jnp.float32
    assert -0.5 <= float(x.min()) < -0.4
    assert 0.4 < float(x.max()) <= 0.5


@pytest.fixture(scope="module")
def compiled(x32):
    """What the compiler says of small Glows, 2 and 16 steps a level."""
    work = dataclasses.replace(QUICK, batch=8, width=8, depths=(2, 16), anchor_every=4)
    return _image_compiled.memory(work)


def numbers(part, task):
    return {row.system: row.median for row in part.rows if row.task == task}


@pytest.mark.slow
def test_memory_of_reversible_scans_does_not_grow_with_the_depth(compiled):
    mib = numbers(compiled, "temporary memory of the gradient")
    assert mib["reversible, depth 16"] <= 1.05 * mib["reversible, depth 2"]
    assert mib["reversible, depth 16"] <= mib["plain, depth 16"] / 4
    assert mib["reversible, depth 16"] <= mib["unrolled, depth 16"] / 4
    anchored = mib["reversible, anchor_every=4, depth 16"]
    assert mib["reversible, depth 16"] < anchored < mib["plain, depth 16"] / 2
    # Otherwise the comparison shows nothing.
    assert mib["unrolled, depth 16"] > 4 * mib["unrolled, depth 2"]


@pytest.mark.slow
def test_the_compared_models_are_one_function(compiled):
    losses = compiled.facts["losses"]
    assert len(losses) == 9
    for depth in (2, 16):
        values = [value for name, value in losses.items() if name.endswith(f", {depth}")]
        np.testing.assert_allclose(values, values[0], rtol=1e-5)
    assert losses["plain, 2"] != pytest.approx(losses["plain, 16"], rel=1e-3)


@pytest.mark.slow
def test_programs_of_scans_do_not_grow_with_the_depth(compiled):
    flops = numbers(compiled, "FLOPs of the gradient")
    assert flops["reversible, depth 16"] == flops["reversible, depth 2"]
    assert flops["unrolled, depth 16"] > 6 * flops["unrolled, depth 2"]


@pytest.mark.slow
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the layouts of XLA's CPU backend")
def test_every_convolution_of_the_gradients_of_glow_has_the_fast_layout():
    part = _image_compiled.convolutions(QUICK)
    (goal,) = part.facts["goals"]
    assert (goal.measured, goal.at_most) == (0, 0)
    for name in ("reversible", "plain", "remat"):
        assert set(part.facts[name]) == {_image_compiled.FAST_LABELS}
        assert part.facts[name][_image_compiled.FAST_LABELS] >= 12


@pytest.mark.slow
def test_unrolling_keeps_priors_and_preprocessing_of_the_values():
    flow = _image_work.moved(_image_work.glow(QUICK, 2))
    chain = _image_work.unrolled(flow)
    x = _image_work.images(QUICK.side, 3)
    np.testing.assert_allclose(chain.log_prob(x), flow.log_prob(x), rtol=1e-5)
    z = jax.random.normal(jax.random.key(1), (3, QUICK.side**2 * 3))
    np.testing.assert_allclose(chain.bijector.forward(z), flow.bijector.forward(z), atol=1e-4)


@pytest.mark.slow
def test_a_missing_peer_is_a_row_that_says_so(monkeypatch):
    monkeypatch.setattr(_image_step, "_PEER", "a_package_that_nobody_has")
    part = _image_step.step_time(QUICK)
    assert [row.system for row in part.rows] == [
        "reversible scan",
        "plain scan",
        "remat scan",
        "a_package_that_nobody_has",
    ]
    assert part.rows[-1].unit == "not installed"
    assert part.rows[-1].median is None
    assert len({row.parameters for row in part.rows[:3]}) == 1
    assert len(part.facts["goals"]) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:torch.lu is deprecated")
def test_the_peer_has_the_same_layout():
    pytest.importorskip("normflows")
    from experiments.benchmarks import _image_normflows

    work = dataclasses.replace(QUICK, levels=3, side=32, width=32)
    flow = _image_work.glow(work, 4)
    x = _image_work.images(work.side, 2)
    ours = _image_step.training_system("ours", flow, x)
    theirs = _image_normflows.training_system(work, 4, x)
    theirs.run()
    # Inner normalizations, edge channels and priors differ, in vectors, not in matrices.
    assert 0.8 < ours.parameters / theirs.parameters < 1.25
    shapes = [tuple(base.shape) for base in _image_normflows.glow(work, 4).q0]
    expected = [(c, h, w) for h, w, c in reversed(flow.multi_scale.latent_shapes)]
    assert shapes == expected


def ran(*arguments: str) -> tuple[dict, str]:
    """What a quick run returns, and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        return image.main(["--quick", *arguments]), printed.getvalue()


@pytest.mark.slow
def test_the_drift_and_the_large_model_report_their_rows(tmp_path):
    out = tmp_path / "results.json"
    results, printed = ran("--only", "sampling", "large", "drift", "--out", str(out))
    assert json.loads(out.read_text()) == json.loads(json.dumps(results))
    found = collections.defaultdict(dict)
    for row in results["rows"]:
        found[row["task"]][row["system"]] = row["median"]
    start = "digits, 2 levels of 4 steps, at the start"
    end = "digits, 2 levels of 4 steps, after 2 steps"
    for when in (start, end):
        trips = found[f"{when}, |x - forward(inverse(x))| / std"]
        assert len(trips) == 6
        assert trips["whole, median"] < trips["whole, max"] < 1e-4
        gradients = found[f"{when}, |gradient - float64| / |float64|"]
        assert list(gradients) == [
            "plain, float32",
            "reversible, float32",
            "reversible, anchor_every=2, float32",
        ]
        assert all(0.0 < value < 1e-4 for value in gradients.values())
    memory = found["digits, 2 levels of 4 steps, temporary memory of the gradient"]
    assert memory["reversible"] < memory["reversible, anchor_every=2"] < memory["plain"]
    losses = results["facts"]["drift"]["depth 4"]["trained, reversible"]["bits_per_dim"]
    assert len(losses) == 2
    assert [goal["what"] for goal in results["goals"]] == [
        "samples / densities",
        "trace + compile, large, s",
    ]
    assert all(goal["met"] == (goal["measured"] <= goal["at_most"]) for goal in results["goals"])
    assert "| samples / densities |" in printed
    assert results["header"]["devices"] == [device.device_kind for device in jax.devices()]
