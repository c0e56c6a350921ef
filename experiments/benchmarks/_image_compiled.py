"""What the compiler says of Glow's gradient: bytes, FLOPs and layouts, and the seconds to trace and compile it."""

import collections
import re
from typing import Any

import jax
import numpy as np

from experiments.benchmarks._image_work import (
    Compiled,
    Goal,
    Work,
    compiled_gradient,
    glow,
    images,
    moved,
    unrolled,
)
from experiments.benchmarks._timing import Row
from experiments.benchmarks._training_work import Part, timed

FAST_LABELS = "b01f_01io->b01f"
"""The dimension labels for which XLA's CPU backend has a fast routine inside loops."""

_SCANS: dict[str, dict[str, bool]] = {
    "reversible": {},
    "plain": {"reversible": False},
    "remat": {"reversible": False, "remat": True},
}


def memory(work: Work) -> Part:
    """Temporary bytes, FLOPs and seconds to trace and compile, of scans and of the unrolled model, at two depths."""
    x = images(work.side, work.batch)
    shallow, deep = work.depths
    models = {
        (name, depth): moved(glow(work, depth, **options))
        for depth in work.depths
        for name, options in _SCANS.items()
    }
    anchored = f"reversible, anchor_every={work.anchor_every}", deep
    models[anchored] = moved(glow(work, deep, anchor_every=work.anchor_every))
    for depth in work.depths:
        models["unrolled", depth] = unrolled(models["plain", depth])
    compiled_gradient(
        models["reversible", shallow], x
    )  # the first compilation of a process is slower
    found: dict[tuple[str, int], Compiled] = {}
    seconds: dict[tuple[str, int], list[tuple[float, float]]] = collections.defaultdict(list)
    compared = [("reversible", shallow), ("reversible", deep), ("unrolled", deep)]
    for index in range(work.compile_rounds):
        for key in models if index == 0 else compared:
            jax.clear_caches()
            found[key] = compiled_gradient(models[key], x)
            seconds[key].append((found[key].seconds, found[key].cpu_seconds))
    losses = {key: float(made.program(*made.arguments)[0]) for key, made in found.items()}
    for depth in work.depths:
        values = [value for key, value in losses.items() if key[1] == depth]
        # One function: what differs is the order of float32 operations.
        np.testing.assert_allclose(values, values[0], rtol=1e-4)
    medians = {key: np.median(values, axis=0) for key, values in seconds.items()}
    rows = _memory_rows(found) + _compile_rows(seconds)
    if jax.default_backend() == "cpu":
        rows += _older_code_generator(x, {key: models[key] for key in compared[1:]})
    own, other = ("reversible", shallow), ("unrolled", deep)
    mib = {key: made.temporary_mib for key, made in found.items()}
    key = ("reversible", deep)
    against_unrolled, against_own = (medians[key] / medians[k] for k in (other, own))
    goals = [
        Goal("temporary memory, deep reversible / deep unrolled", mib[key] / mib[other], 1 / 20),
        Goal("temporary memory, deep reversible / shallow reversible", mib[key] / mib[own], 1.15),
        Goal("trace + compile, deep reversible / deep unrolled", float(against_unrolled[0]), 1 / 6),
        Goal("the same in processor time", float(against_unrolled[1]), 1 / 6),
        Goal("trace + compile, deep reversible / shallow reversible", float(against_own[0]), 1.3),
        Goal("the same in processor time", float(against_own[1]), 1.3),
    ]
    return Part(rows, {"goals": goals, "losses": {f"{n}, {d}": v for (n, d), v in losses.items()}})


def convolutions(work: Work) -> Part:
    """Convolutions of the compiled gradients whose dimension labels are not those of the fast routine."""
    x, depth = images(work.side, work.batch), work.depths[0]
    rows, slow, facts = [], 0, {}
    for name, options in _SCANS.items():
        labels = convolution_labels(compiled_gradient(glow(work, depth, **options), x).program)
        others = labels.total() - labels[FAST_LABELS]
        slow, facts[name] = slow + others, dict(labels)
        note = f"of {labels.total()} in the module; the body of a loop counts once"
        rows.append(
            Row("convolutions without the fast layout", f"{name} scan", "", others, note=note)
        )
    return Part(rows, {"goals": [Goal("convolutions without the fast layout", slow, 0)]} | facts)


def large(work: Work) -> Part:
    """The gradient of a Glow of many steps: seconds to trace and compile it, and its temporary memory."""
    side, batch = work.large_side, work.large_batch
    x = images(side, batch)
    steps = work.large_levels * work.large_depth
    task = f"{side} x {side}, {work.large_levels} levels of {work.large_depth} steps, batch {batch}"
    note = f"{steps} steps, width {work.width}; compiled, not run"
    rows, seconds, facts = [], {}, {}
    for name in ("reversible", "plain"):
        options = {"event_shape": (side, side, 3), "levels": work.large_levels} | _SCANS[name]
        model = glow(work, work.large_depth, **options)
        jax.clear_caches()
        made = compiled_gradient(model, x)
        seconds[name] = made.seconds
        facts[f"convolutions, {name}"] = dict(convolution_labels(made.program))
        rows += [
            Row(f"trace + compile, {task}", f"{name} scan", "s", made.seconds, note=note),
            Row(
                f"temporary memory, {task}", f"{name} scan", "MiB", made.temporary_mib, note="exact"
            ),
        ]
    return Part(
        rows, {"goals": [Goal("trace + compile, large, s", seconds["reversible"], 60.0)]} | facts
    )


def convolution_labels(program: Any) -> collections.Counter[str]:
    """How many convolutions of each kind of dimension labels stand in a compiled program."""
    return collections.Counter(
        re.findall(r" convolution\(.*dim_labels=([^\s,]+)", program.as_text())
    )


def _older_code_generator(x: jax.Array, models: dict[tuple[str, int], Any]) -> list[Row]:
    """What XLA's older code generator for CPUs takes: it shares less between the kernels of an unrolled model."""
    made = {}
    for key, model in models.items():
        jax.clear_caches()
        made[key] = compiled_gradient(model, x, {"xla_cpu_use_fusion_emitters": False}).seconds
    return [
        Row("trace + compile, XLA's older CPU code generator", f"{name}, depth {depth}", "s", value,
            ratio=None if name == "unrolled" else value / made["unrolled", depth],
            note="xla_cpu_use_fusion_emitters=False; one round")
        for (name, depth), value in made.items()
    ]  # fmt: skip


def _memory_rows(found: dict[tuple[str, int], Compiled]) -> list[Row]:
    rows = []
    for (name, depth), made in found.items():
        reference = found["unrolled", depth].temporary_mib
        ratio = None if name == "unrolled" else made.temporary_mib / reference
        note = "exact; the ratio is that to the unrolled model"
        system = f"{name}, depth {depth}"
        rows += [
            Row("temporary memory of the gradient", system, "MiB", made.temporary_mib, ratio=ratio,
                note="" if ratio is None else note),
            Row("FLOPs of the gradient", system, "million", made.flops / 1e6,
                note="" if name == "unrolled" else "exact; XLA counts the body of a loop once"),
        ]  # fmt: skip
    return rows


def _compile_rows(seconds: dict[tuple[str, int], list[tuple[float, float]]]) -> list[Row]:
    rows = []
    medians = {key: np.median(values, axis=0) for key, values in seconds.items()}
    for (name, depth), values in seconds.items():
        wall, cpu = medians[name, depth]
        ratio = None if name == "unrolled" else float(wall / medians["unrolled", depth][0])
        note = "" if ratio is None else "the ratio is that to the unrolled model"
        row = timed(
            "trace + compile",
            f"{name}, depth {depth}",
            "s",
            [value for value, _ in values],
            ratio=ratio,
            note=note,
        )
        rows.append(row._replace(cpu=float(cpu)))
    return rows
