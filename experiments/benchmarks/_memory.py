"""What the compiler says the gradient of a RealNVP needs: exact figures, no clock."""

from types import ModuleType
from typing import Any

import jax
import numpy as np

import dgmjax as dgm
from experiments.benchmarks import _dgmjax
from experiments.benchmarks._races import events
from experiments.benchmarks._timing import Row, Sizes


def memory(sizes: Sizes, peers: dict[str, ModuleType]) -> list[Row]:
    """Temporary bytes of the gradient, plain and reversible, at several depths; floating-point operations besides."""
    del peers
    x = events(sizes)
    rows = []
    for depth in sizes.memory_depths:
        plain = _compiled_gradient(_dgmjax.realnvp(sizes, depth=depth), x)
        reversible = _compiled_gradient(_dgmjax.realnvp(sizes, depth=depth, reversible=True), x)
        reference = _temporary_bytes(plain)
        for name, compiled in (("plain", plain), ("reversible", reversible)):
            size = _temporary_bytes(compiled)
            if size is None:
                print(f"memory: this backend reports none for {name}, skipped", flush=True)
                continue
            rows.append(
                Row(
                    task="temporary memory of the coupling gradient",
                    system=f"dgmjax, {name}, depth {depth}",
                    unit="MiB",
                    median=size / 2**20,
                    ratio=None if reference is None or name == "plain" else size / reference,
                    note="" if name == "plain" else "exact; the ratio is that to plain",
                )
            )
    return rows


def _compiled_gradient(flow: dgm.RealNVP, x: np.ndarray) -> Any:
    def loss(flow: dgm.RealNVP, x: jax.Array) -> jax.Array:
        return -flow.log_prob(x).mean()

    return jax.jit(jax.grad(loss)).lower(flow, x).compile()


def _temporary_bytes(compiled: Any) -> int | None:
    analysis = compiled.memory_analysis()
    return None if analysis is None else int(analysis.temp_size_in_bytes)
