"""The benchmark of the trainer: what it counts is right, and what it reports; not how fast anything is."""

import collections
import contextlib
import dataclasses
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import _training_scaling, _training_syncs, training
from experiments.benchmarks._training_collectives import traffic
from experiments.benchmarks._training_work import QUICK

pytestmark = pytest.mark.usefixtures("x32")


def module(*lines: str, before: str = "") -> str:
    """The text of a module whose entry holds ``lines``."""
    body = "\n".join(f"  {line}" for line in lines)
    return (
        f"HloModule m\n\n{before}\nENTRY %main.1 (x: f32[4]) -> f32[4] {{\n"
        f"  %x = f32[4]{{0}} parameter(0)\n{body}\n}}\n"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "ROOT %a = f32[4,8]{1,0} all-reduce(%x), channel_id=1, to_apply=%add",
            {"all-reduce": 128},
        ),
        (
            "%a = (f32[3]{0}, bf16[5]{0}, /*index=2*/f64[]) all-reduce(%x, %y, /*index=2*/%z), to_apply=%add",
            {"all-reduce": 12 + 10 + 8},
        ),
        ("%a = f32[16]{0} all-reduce-start(%x), channel_id=1", {"all-reduce": 64}),
        ("%a = f32[16]{0} all-reduce-done(%s)", {}),
        ("%a = (f32[4]{0}, f32[32]{0}) all-gather-start(%x), dimensions={0}", {"all-gather": 128}),
        (
            "%a = ((f32[4], s8[2]), (f32[32], s8[16])) all-gather-start(%x, %y), dimensions={0}",
            {"all-gather": 128 + 16},
        ),
        ("%a = f32[2]{0} reduce-scatter(%x), dimensions={0}, to_apply=%add", {"reduce-scatter": 8}),
        ("%a = pred[7]{0:T(256)} all-to-all(%x)", {"all-to-all": 7}),
        ("%a = f32[4]{0} add(%all-reduce, %x)", {}),
    ],
)
def test_bytes_are_those_of_the_results_of_collectives(line, expected):
    assert traffic(module(line)).bytes == expected


LOOP = """%body.1 (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %a = f32[8]{0} all-reduce(%x), channel_id=1
  %l = f32[2,3]{1,0} parameter(0)
  %d = f32[2,5]{1,0} dot(%l, %r), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
"""
TRIPS = 'backend_config={"known_trip_count":{"n":"6"}}'


def test_the_body_of_a_loop_counts_once_a_trip():
    loop = f"%w = (s32[], f32[8]{{0}}) while(%t), condition=%c, body=%body.1, {TRIPS}"
    found = traffic(module(loop, "%a = f32[2]{0} all-reduce(%x)", before=LOOP))
    assert found.bytes == {"all-reduce": 6 * 32 + 8}
    assert found.messages == {"all-reduce": 7}
    assert found.product_flops == 6 * 2 * (2 * 5) * 3


def test_a_collective_in_a_loop_of_unknown_length_is_refused():
    loop = "%w = (s32[], f32[8]{0}) while(%t), condition=%c, body=%body.1"
    with pytest.raises(ValueError, match="loop of unknown length"):
        traffic(module(loop, before=LOOP))


def test_text_that_is_no_module_is_refused():
    with pytest.raises(ValueError, match="ENTRY"):
        traffic("f32[4] all-reduce(%x)")


def test_the_products_of_a_compiled_scan_are_all_counted():
    def f(w, x):
        return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, w)[0]

    compiled = jax.jit(f).lower(jnp.ones((3, 16, 16)), jnp.ones((4, 16))).compile()
    found = traffic(compiled.as_text())
    assert (found.bytes, found.product_flops) == ({}, 3 * 2 * 4 * 16 * 16)


WAYS = {
    "float": float,
    "int": int,
    "bool": bool,
    "item": lambda a: a.item(),
    "tolist": lambda a: a.tolist(),
    "list": lambda a: list(a[None]),
    "format": lambda a: f"{a}",
    "np.asarray": lambda a: np.asarray(a),
    "np.array": lambda a: np.array(a),
    "np.stack": lambda a: np.stack([a, a]),
    "device_get": lambda a: jax.device_get({"a": a}),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_fetch_is_seen_once(way):
    x = jnp.ones(())
    with _training_syncs.counted() as events:
        WAYS[way](x)
    assert len([event for event in events if event.startswith("fetch")]) == 1, events


def test_counting_leaves_arrays_and_numpy_as_they_were():
    before = np.asarray, jax.device_get, type(jnp.ones(())).item
    with _training_syncs.counted() as events:
        np.asarray([1.0])  # no array of JAX
    float(jnp.ones(()))
    assert events == []
    assert (np.asarray, jax.device_get, type(jnp.ones(())).item) == before


@pytest.mark.slow
def test_fit_fetches_nothing_between_logs():
    window = 40
    windows = _training_syncs.count(window).between_logs()
    assert len(windows) == 2
    for events in windows:
        # The bound on run-ahead copies nothing: it waits for a step that was sent 32 calls before.
        assert set(events) <= {"wait: jax.block_until_ready"}
        assert events.total() <= window - 32


@pytest.mark.slow
def test_a_loop_that_fetches_every_step_is_caught():
    window = 10
    for events in _training_syncs.count(window, debug_nans=True).between_logs():
        assert sum(n for event, n in events.items() if event.startswith("fetch")) >= window - 1


def ran(*arguments: str) -> tuple[dict, str]:
    """What a quick run returns, and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        return training.main(["--quick", *arguments]), printed.getvalue()


def systems(results: dict) -> dict[str, list[str]]:
    """By task."""
    found = collections.defaultdict(list)
    for row in results["rows"]:
        found[row["task"]].append(row["system"])
    return dict(found)


@pytest.mark.slow
def test_the_loop_and_the_pipelines_report_their_systems(tmp_path):
    out = tmp_path / "results.json"
    results, printed = ran("--only", "overhead", "syncs", "input", "--out", str(out))
    assert json.loads(out.read_text()) == json.loads(json.dumps(results))
    assert systems(results) == {
        "overhead of the loop, small model": [
            "dgmjax.fit, log to log",
            "dgmjax.fit, its steps",
            "its program in a bare loop",
            "jitted step in a bare loop",
            "its batches alone",
            "log to log minus dgmjax.fit, its steps",
            "log to log minus its program in a bare loop",
            "log to log minus jitted step in a bare loop",
        ],
        "in 40 steps between logs": [
            "fetches",
            "waits for a step 32 calls back",
            "fetches at the log",
        ],
        "input, 128 images of 28 x 28": ["Batches", "Source, on_device", "Stream"],
    }
    assert results["facts"]["syncs"]["fetches_between_logs"] == 0
    assert results["header"]["devices"] == [device.device_kind for device in jax.devices()]
    assert "cores, load [" in printed
    assert "- in 40 steps between logs, fetches: copies from the device" in printed
    for row in results["rows"]:
        if row["unit"] in ("us", "images/s") and "minus" not in row["system"]:
            assert 0 < row["minimum"] <= row["median"] <= row["p90"]


@pytest.mark.slow
def test_the_other_parts_report_their_systems():
    results, _ = ran("--only", "step", "superbatch", "checkpoints", "cache")
    assert {task: len(names) for task, names in systems(results).items()} == {
        "step of realnvp_digits": 5,
        "superbatch, small model": 2,
        "checkpoint of 0.1 MB": 3,
        "100 steps of realnvp_digits, evaluated": 3,
        "first step of realnvp_digits, fresh process": 2,
    }
    assert 0 < results["facts"]["checkpoints"]["share_of_a_run"] < 1


@pytest.mark.slow
def test_eight_devices_all_reduce_the_gradient_and_a_kibibyte():
    work = dataclasses.replace(QUICK, devices=(1, 8), scaling_turns=1)
    results = _training_scaling.in_a_process(work)
    alone = results.pop("1 device")
    assert alone["bytes"] == {}
    assert set(results) == {"jit, 8 devices", "shard_map, 8 devices", "jit, fsdp, 8 devices"}
    for result in results.values():
        assert result["devices"] == 8
        # Gradients of arrays in parts are summed where the parts are, after an all-to-all.
        reduced = result["all_reduced_bytes"] + result["bytes"].get("all-to-all", 0)
        assert 0 <= reduced - result["parameter_bytes"] <= 1024
        assert result["parameter_bytes"] == alone["parameter_bytes"] > 0
        assert result["product_flops"] * 8 == alone["product_flops"] > 0
    for name in ("jit, 8 devices", "shard_map, 8 devices"):
        assert set(results[name]["bytes"]) == {"all-reduce"}
    assert results["jit, fsdp, 8 devices"]["bytes"]["all-gather"] > 0
