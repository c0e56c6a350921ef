"""Twenty steps on 8 virtual devices in every way, against one device: prints the differences as JSON.

``python -m tests.programs.parallel_steps DTYPE``
"""

import json
import sys

import jax

# Twice as many as are used: on few cores XLA's collectives can otherwise wait for a thread for ever.
jax.config.update("jax_num_cpu_devices", 16)
jax.config.update("jax_enable_x64", sys.argv[1] == "float64")

import jax.numpy as jnp  # noqa: E402 - the devices are made at first use
import numpy as np  # noqa: E402
import optax  # noqa: E402
from flax import nnx  # noqa: E402

import dgmjax as dgm  # noqa: E402
from dgmjax import training  # noqa: E402
from dgmjax.testing import cast, scramble  # noqa: E402

STEPS, BATCH = 20, 32
WAYS = {
    "jit, 8": {"parallel": training.Parallel(num_devices=8)},
    "jit, fsdp 8": {"parallel": training.Parallel(fsdp=8, num_devices=8), "accumulate": 2},
    "jit, data 4 fsdp 2": {
        "parallel": training.Parallel(fsdp=2, num_devices=8),
        "steps_per_call": 5,
    },
    "shard_map, 8": {"parallel": training.Parallel("shard_map", num_devices=8), "accumulate": 4},
    "pmap, 2": {"parallel": training.Parallel("pmap", num_devices=2), "steps_per_call": 4},
    "jit, 2, rows on devices": {
        "parallel": training.Parallel(num_devices=2),
        "on_device": True,
        "steps_per_call": 10,
    },
}


def model() -> dgm.Dequantized:
    """Noise of three kinds: dequantization, dropout, and random log-determinants would be the third."""
    rngs = nnx.Rngs(0)
    flow = dgm.RealNVP(
        (6,), depth=4, width=16, dropout=0.3, preprocess=dgm.Standardize((6,)), rngs=rngs
    )
    made = cast(scramble(dgm.Dequantized(flow, 8), jax.random.key(0)), jnp.dtype(sys.argv[1]))
    return made.with_data_init(jnp.asarray(DATA), seed=jax.random.key(1))


DATA = np.random.RandomState(0).randint(0, 8, (200, 6))


def train(parallel: training.Parallel, *, accumulate=1, steps_per_call=1, on_device=False):
    """Parameters and metrics after `STEPS` steps, and where the parameters lie."""
    params, fixed, merge = training.partition(model())
    # Not Adam: where a gradient is as small as its epsilon, it would blow up differences of rounding.
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1e-2, momentum=0.9))
    step = training.make_train_step(
        dgm.objectives.maximum_likelihood,
        merge,
        optimizer,
        key=jax.random.key(2),
        ema_decay=0.9,
        parallel=parallel,
        accumulate=accumulate,
        steps_per_call=steps_per_call,
    )
    state = parallel.place_state(training.init_state(params, fixed, optimizer))
    source = training.Source(
        {"x": DATA},
        BATCH,
        seed=3,
        parallel=parallel,
        steps_per_call=steps_per_call,
        on_device=on_device,
    )
    for index in range(0, STEPS, steps_per_call):
        state, metrics = step(state, source(index))
    assert int(state.step) == STEPS
    shards = {
        name: leaf.addressable_shards[0].data.size / leaf.size
        for name, leaf in state.params.items()
    }
    arrays = {**state.params, **{f"average/{k}": v for k, v in state.average.items()}}
    values = np.asarray(metrics.values).reshape(-1, len(metrics.names), 2)[-1]
    return jax.device_get(arrays), values, shards


def difference_of_statistics() -> float:
    """Data-dependent initialisation and batch norm of a batch that is spread over 8 devices, against one device."""
    x = jnp.asarray(np.random.RandomState(4).normal(size=(64, 3)), sys.argv[1])
    spread = jax.device_put(x, training.Parallel(num_devices=8).batch_sharding())
    layers = cast(dgm.Chain([dgm.layers.ActNorm((3,)), dgm.layers.BatchNorm((3,))]), x.dtype)

    @jax.jit
    def statistics(x: jax.Array):
        made = layers.with_data_init(x)
        z, log_det, updated = made.inverse_and_update(x)
        return jax.tree.leaves(made), z, log_det, jax.tree.leaves(updated)

    pairs = zip(jax.tree.leaves(statistics(spread)), jax.tree.leaves(statistics(x)), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


def difference_of_running_statistics(strategy: str) -> float:
    """A running mean that a loss returns with its model, trained on 8 devices, against one device."""

    class Mean(nnx.Module):
        def __init__(self):
            self.w = nnx.Param(jnp.ones(3, sys.argv[1]))
            self.mean = nnx.BatchStat(jnp.zeros(3, sys.argv[1]))

    def loss(model, batch, key):
        del key
        new = nnx.clone(model)
        mean = batch["x"].mean(0)
        new.mean[...] = 0.5 * (model.mean[...] + mean)
        return (model.w[...] * mean).sum(), {}, new

    def final(parallel: training.Parallel) -> np.ndarray:
        params, fixed, merge = training.partition(Mean())
        step = training.make_train_step(
            loss, merge, optax.sgd(0.1), key=jax.random.key(0), ema_decay=0.0, parallel=parallel
        )
        state = parallel.place_state(training.init_state(params, fixed, optax.sgd(0.1)))
        for index in range(2):
            rows = np.random.RandomState(index).normal(size=(64, 3)).astype(sys.argv[1])
            state, _ = step(state, parallel.place_batch({"x": rows}))
        return np.asarray(state.fixed["mean"])

    many = training.Parallel(strategy=strategy, num_devices=8)
    return float(np.abs(final(many) - final(training.Parallel(num_devices=1))).max())


def halves_of_an_array() -> list[int]:
    """Shape of what one of two devices has of a parameter ``[2, 8, 4]``."""
    half = training.Parallel(fsdp=2, num_devices=2).place_state({"w": jnp.zeros((2, 8, 4))})
    return list(half["w"].addressable_shards[0].data.shape)


def main() -> None:
    """Print one JSON object."""
    expected, expected_metrics, _ = train(training.Parallel(num_devices=1))
    report = {}
    for name, way in WAYS.items():
        arrays, metrics, shards = train(**way)
        report[name] = {
            "params": max(float(np.abs(arrays[k] - expected[k]).max()) for k in expected),
            "metrics": float(
                (np.abs(metrics - expected_metrics) / (1 + np.abs(expected_metrics))).max()
            ),
            "smallest_shard": min(shards.values()),
        }
    report["statistics"] = max(
        difference_of_statistics(),
        *map(difference_of_running_statistics, ("jit", "shard_map", "pmap")),
    )
    report["moved"] = max(
        float(np.abs(expected[k] - v).max()) for k, v in training.partition(model())[0].items()
    )
    report["halves"] = halves_of_an_array()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
