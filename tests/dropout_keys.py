"""Keys with which a computation drops units."""

from typing import Any

import jax
import numpy as np

from dgmjax.numerics.compiled import inlined


def dropout_keys(monkeypatch: Any, call: Any, *args: Any) -> list[tuple[bytes, float]]:
    """The keys of all draws of dropout in ``call(*args)``, which runs as one program, each with its probability."""
    seen: list[tuple[bytes, float]] = []
    bernoulli = jax.random.bernoulli

    def record(key, p, shape):
        data = jax.random.key_data(key)
        jax.debug.callback(lambda data: seen.append((np.asarray(data).tobytes(), p)), data)
        return bernoulli(key, p, shape)

    monkeypatch.setattr(jax.random, "bernoulli", record)

    @jax.jit
    def run(*args: Any) -> Any:
        with inlined():  # the programs of other tests call the function that was there
            return call(*args)

    jax.block_until_ready(run(*args))
    jax.effects_barrier()
    return seen
