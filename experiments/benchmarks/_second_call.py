"""Public methods called as they are, beside the same call inside ``jax.jit``: what a notebook pays."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from experiments.benchmarks._timing import Row, Sizes, System, race

_EVENTS = 8


def second_call(sizes: Sizes, peers: dict[str, ModuleType]) -> list[Row]:
    """Milliseconds a call of a Glow of 8x8 pixels and a RealNVP, 8 events, all compiled before the clock starts."""
    del peers
    glow = dgm.Glow((8, 8, 1), levels=2, depth=4, width=32, rngs=nnx.Rngs(0))
    flow = dgm.RealNVP((4,), depth=4, width=8, rngs=nnx.Rngs(0))
    key = jax.random.key(0)
    calls: dict[str, tuple[Callable[..., Any], bool]] = {
        "log_prob": (lambda model, x: model.log_prob(x), False),
        "sample": (lambda model, x, key: model.sample(seed=key, sample_shape=len(x)), True),
        "encode": (lambda model, x: dgm.analysis.encode(model, x), False),
        "interpolate": (lambda model, x: dgm.analysis.interpolate(model, x, x, 3), False),
    }
    rows: list[Row] = []
    for name, model in {"Glow": glow, "RealNVP": flow}.items():
        x = np.random.RandomState(0).standard_normal((_EVENTS, *model.event_shape))
        data = jnp.asarray(x, jnp.float32)
        for method, (call, draws) in calls.items():
            given = (model, data, key) if draws else (model, data)
            systems = [
                System("dgmjax, as it is", _waiting(call, given)),
                System("dgmjax, inside jax.jit", _waiting(jax.jit(call), given)),
            ]
            rows += race(
                f"second call of {method}, {name}",
                systems,
                rounds=sizes.rounds,
                calls=sizes.calls,
                warm=2,
            )
    return rows


def _waiting(call: Callable[..., Any], given: tuple[Any, ...]) -> Callable[[], object]:
    return lambda: jax.block_until_ready(call(*given))
