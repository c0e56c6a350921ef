"""What a step costs when it is spread over devices: what they send each other, and what each computes.

``python -m experiments.benchmarks._training_scaling WORK`` measures on virtual devices of the CPU, which have to be
made before JAX is used, and prints JSON; ``WORK`` is a JSON object.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
from typing import Any

import jax

import experiments
from dgmjax.training import Parallel, Source, count_flops
from experiments.benchmarks._timing import Row
from experiments.benchmarks._training_collectives import traffic
from experiments.benchmarks._training_work import Part, Work, digits, timed, turn

_PLACED = 4
_THREADS = 4


def scaling(work: Work) -> Part:
    """Bytes all-reduced, matrix-product FLOPs and time of a step of ``realnvp_digits`` on 1, 2, 4, ... devices.

    Bytes and FLOPs are read from the compiled module and are exact: the goal is that what is all-reduced is the
    gradient, as many bytes as the parameters, and at most 1 KiB of loss and metrics. On the CPU the devices are
    virtual and share the cores, so that the time says what spreading costs and nothing about scaling.
    """
    virtual = jax.default_backend() == "cpu"
    results = in_a_process(work) if virtual else measure(work)
    where = "virtual devices that share the cores" if virtual else "devices"
    rows: list[Row] = []
    for name, result in results.items():
        kinds = ", ".join(f"{kind} {size:,}" for kind, size in result["bytes"].items())
        rows.append(
            Row(
                "all-reduced a step of realnvp_digits",
                name,
                "bytes",
                result["all_reduced_bytes"],
                ratio=result["all_reduced_bytes"] / result["parameter_bytes"],
                parameters=result["parameters"],
                note=f"exact; messages: {sum(result['messages'].values())}, bytes: {kinds or 'none'}; the ratio is "
                f"to the bytes of the parameters",
            )
        )
    alone = results[next(iter(results))]["product_flops"]
    for name, result in results.items():
        flops = result["product_flops"]
        if flops:
            ratio = flops / alone if alone else None
            first = name == next(iter(results))
            note = "exact, of matrix products; ratios are to one device" if first else ""
            task = "FLOPs a device of that step"
            rows.append(Row(task, name, "MFLOP", flops / 1e6, ratio=ratio, note=note))
    for name, result in results.items():
        rows.append(
            timed(
                f"that step on {where}", name, "ms", result["milliseconds"], note="placed batches"
            )
        )
    return Part(rows, results)


def in_a_process(work: Work) -> dict[str, Any]:
    """`measure` on virtual devices."""
    command = [sys.executable, "-m", __name__, json.dumps(dataclasses.asdict(work))]
    root = pathlib.Path(experiments.__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"scaling: {' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(work: Work) -> dict[str, Any]:
    """Exact figures and times of every way to spread the step over the devices there are."""
    case = digits(work, batch_size=work.scaling_batch)
    ways = _ways([number for number in work.devices if number <= jax.device_count()])
    running: dict[str, tuple[Any, list[Any]]] = {}
    states: dict[str, Any] = {}
    results: dict[str, Any] = {}
    for name, parallel in ways.items():
        step, state = case.step(parallel)
        source = Source({"x": case.x}, case.batch_size, seed=0, parallel=parallel)
        placed = [jax.device_put(source(index)) for index in range(_PLACED)]
        traced = step.trace(state, placed[0])  # type: ignore[attr-defined]
        compiled = traced.lower().compile()
        sent = traffic(compiled.as_text())
        leaves = jax.tree.leaves(state.params)
        results[name] = {
            "devices": len(parallel.devices),
            "strategy": parallel.strategy,
            "fsdp": parallel.fsdp,
            "all_reduced_bytes": sent.bytes.get("all-reduce", 0),
            "parameter_bytes": sum(leaf.nbytes for leaf in leaves),
            "parameters": sum(leaf.size for leaf in leaves),
            **sent._asdict(),
            "model_flops": count_flops(traced.jaxpr),
            "milliseconds": [],
        }
        running[name], states[name] = (compiled, placed), state
    for round_ in range(work.scaling_turns + 1):
        for name, (compiled, placed) in running.items():
            states[name], microseconds = turn(compiled, states[name], placed, work.scaling_calls)
            if round_:
                results[name]["milliseconds"].append(microseconds / 1e3)
    return results


def _ways(numbers: list[int]) -> dict[str, Parallel]:
    ways = {"1 device": Parallel(num_devices=1)}
    for number in numbers:
        if number > 1:
            ways[f"jit, {number} devices"] = Parallel("jit", num_devices=number)
            ways[f"shard_map, {number} devices"] = Parallel("shard_map", num_devices=number)
    most = max(numbers)
    if most > 1:
        ways[f"jit, fsdp, {most} devices"] = Parallel("jit", fsdp=most, num_devices=most)
    return ways


def main() -> None:
    """Print one JSON object."""
    given = json.loads(sys.argv[1])
    options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    work = Work(**options)
    # XLA:CPU has as many threads as cores or devices, and a device that waits in an all-reduce holds one: with two
    # devices on two cores steps stop for ever now and then. Devices that are not used bring threads to spare.
    jax.config.update("jax_num_cpu_devices", _THREADS * max(work.devices))
    print(json.dumps(measure(work)))


if __name__ == "__main__":
    main()
