"""A run begun on some virtual devices and ended on others: prints the difference to one on a single device as JSON.

``python -m tests.programs.change_devices WORKDIR``
"""

import json
import pathlib
import sys

import jax

# Twice as many as are used: on few cores XLA's collectives can otherwise wait for a thread for ever.
jax.config.update("jax_num_cpu_devices", 16)
jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402 - the devices are made at first use
import numpy as np  # noqa: E402
import optax  # noqa: E402
from flax import nnx  # noqa: E402

import dgmjax as dgm  # noqa: E402
from dgmjax.testing import cast  # noqa: E402
from dgmjax.training import Parallel  # noqa: E402

DATA = np.random.RandomState(0).normal(size=(128, 4))


class Stop(Exception):  # noqa: N818 - a way out, not an error
    """Raised instead of the second evaluation."""


def fit(workdir: pathlib.Path | None, parallel: Parallel, stop_at: int | None = None):
    """Thirty steps with a checkpoint every ten; stopped before that of ``stop_at``."""

    def on_evaluation(step: int, model: object) -> None:
        if step == stop_at:
            raise Stop

    flow = dgm.RealNVP((4,), depth=2, width=16, dropout=0.2, rngs=nnx.Rngs(0))
    return dgm.fit(
        cast(flow, jnp.float64),
        DATA,
        seed=jax.random.key(0),
        validation=DATA[:16],
        steps=30,
        eval_every=10,
        batch_size=32,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1e-2)),
        execution=dgm.Execution(parallel=parallel),
        workdir=workdir,
        watch=dgm.Watch(on_evaluation=on_evaluation, progress=False),
    )


def main() -> None:
    """Print one JSON object."""
    ways = {
        "8 to 1": (Parallel(num_devices=8), Parallel(num_devices=1)),
        "1 to 8": (Parallel(num_devices=1), Parallel("shard_map", num_devices=8)),
        "fsdp 4 to pmap 2": (Parallel(fsdp=4, num_devices=8), Parallel("pmap", num_devices=2)),
    }
    expected = jax.tree.leaves(fit(None, Parallel(num_devices=1)).model)
    report = {}
    for name, (first, second) in ways.items():
        workdir = pathlib.Path(sys.argv[1]) / name.replace(" ", "_")
        try:
            fit(workdir, first, stop_at=20)
        except Stop:
            assert [p.name for p in (workdir / "checkpoints").iterdir()] == ["10"]
        result = fit(workdir, second)
        leaves = jax.tree.leaves(result.model)
        report[name] = max(
            float(np.abs(np.asarray(a) - np.asarray(b)).max())
            for a, b in zip(leaves, expected, strict=True)
        )
        assert [record["step"] for record in result.history] == [10, 10, 20, 20, 30, 30]
    print(json.dumps(report))


if __name__ == "__main__":
    main()
