"""Metrics of 29 rows, evaluated 8 at a time on 4 devices and on one, and devices of some batches: prints them as JSON.

``python -m tests.programs.evaluation``
"""

import json

import jax

# Twice as many as are used: on few cores XLA's collectives can otherwise wait for a thread for ever.
jax.config.update("jax_num_cpu_devices", 8)

import jax.numpy as jnp  # noqa: E402 - the devices are made at first use
import numpy as np  # noqa: E402

from dgmjax import training  # noqa: E402
from dgmjax.training.evaluation import make_evaluator  # noqa: E402


def loss(model: dict, batch: dict, key: jax.Array) -> tuple:
    """Means of the rows, of their squares, and of noise and its square; the first is scaled by a parameter."""
    x = batch["x"][:, 0]
    noise = jax.vmap(jax.random.uniform)(key)
    values = {"mean": model["w"] * x, "square": x**2, "noise": noise, "noise_square": noise**2}
    count = jnp.asarray(x.size, x.dtype)
    return x.mean(), {name: (value.sum(), count) for name, value in values.items()}


def metrics(devices: int, batch_size: int) -> dict[str, float]:
    """Metrics of one evaluation; a second one of the same evaluator must say the same."""
    data = {"x": np.arange(29, dtype=np.float32)[:, None]}
    eval_step = training.make_eval_step(loss, lambda params, fixed: params | fixed)
    parallel = training.Parallel(num_devices=devices)
    evaluate = make_evaluator(eval_step, data, jax.random.key(3), parallel, batch_size=batch_size)
    params = parallel.place_state({"w": jnp.ones(())})
    found = evaluate(params, {})
    assert evaluate(params, {}) == found
    return found


if __name__ == "__main__":
    ways = ((1, 8), (4, 8), (1, 1_024), (4, 29), (1, 1))
    batches = ((12, 1), (12, 2), (7, 1))
    devices = [len(training.Parallel.for_batch(*batch).devices) for batch in batches]
    print(json.dumps({"metrics": [metrics(*way) for way in ways], "devices": devices}))
