"""One process of a run: ``python -m tests.programs.one_of_many WORKDIR PROCESSES PROCESS PORT SECONDS OPTIONS``.

Trains on records that take ``SECONDS`` a batch to read, or with ``OPTIONS = all`` on arrays that lie on the devices,
with everything that changes how steps are run; writes what it saw to ``WORKDIR/../seen_PROCESS.npz``.
"""

import pathlib
import sys
import time

import jax
import numpy as np

WORKDIR = pathlib.Path(sys.argv[1])
PROCESSES, PROCESS, PORT = map(int, sys.argv[2:5])
SECONDS, OPTIONS = float(sys.argv[5]), sys.argv[6]
jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import optax  # noqa: E402
from flax import nnx  # noqa: E402

import dgmjax as dgm  # noqa: E402

ROWS, BATCH, STEPS = 200, 40, 60


class Slow:
    """Records that note which of their rows were read in which call."""

    def __init__(self, seed: int = 0):
        self.seed = seed
        self.x = np.random.RandomState(seed).normal(size=(ROWS, 4))
        self.calls: list[np.ndarray] = []

    def __repr__(self):
        return f"Slow({self.seed})"

    def __len__(self):
        return ROWS

    def __getitem__(self, rows):
        self.calls.append(rows)
        if len(rows) < ROWS:  # a batch, not the rows of the initialisation
            time.sleep(SECONDS)
        return {"x": self.x[rows]}


def save_and_load(model: dgm.Flow) -> dict[str, float | str]:
    """The largest change of a model on its way through files, written in every way that several processes have."""
    folder, found = WORKDIR.parent, {}
    params, fixed, merge = dgm.training.partition(model)
    spread = dgm.training.Parallel(fsdp=PROCESSES)
    leaves = list((params | fixed).values())

    def change(others: list) -> float:
        pairs = zip(leaves, map(np.asarray, others), strict=True)
        return max(float(np.abs(np.asarray(a) - b).max()) for a, b in pairs)

    if dgm.training.is_first():
        dgm.save(folder / "alone", model)  # the others do not
    dgm.save(folder / "together", model)
    dgm.save(folder / "together", model)  # once more
    dgm.save(folder / "copies", merge(spread.replicate(params), spread.replicate(fixed)))
    parts = {"params": spread.place_state(params), "fixed": spread.place_state(fixed)}
    assert PROCESSES == 1 or not all(a.is_fully_addressable for a in parts["params"].values())
    assert PROCESSES == 1 or not all(a.is_fully_replicated for a in parts["params"].values())
    dgm.save(folder / "parts", merge(**parts))
    for name in ("alone", "together", "copies", "parts"):
        loaded = dgm.load(folder / name)
        params, fixed, _ = dgm.training.partition(loaded)
        found[f"change/{name}"] = change(list((params | fixed).values()))
        assert all(leaf.is_fully_addressable for leaf in (params | fixed).values())
    try:
        dgm.save(folder, model)
    except FileExistsError as error:
        found["refused"] = str(error)
    # The last of all that Orbax does: after what the first process did alone.
    checkpoints = dgm.training.Checkpoints(folder / "more")
    arrays = {"local": dict(zip("abc", leaves, strict=False)), "parts": parts["params"]}
    checkpoints.save(1, arrays, {"step": 1})
    checkpoints.wait()
    restored = checkpoints.restore(arrays).arrays["local"]
    found["change/checkpoint"] = max(
        float(np.abs(np.asarray(restored[name]) - np.asarray(leaf)).max())
        for name, leaf in arrays["local"].items()
    )
    checkpoints.close()
    return found


def main() -> None:
    """Train."""
    if PROCESSES > 1:
        dgm.training.initialize(
            coordinator=f"127.0.0.1:{PORT}",
            num_processes=PROCESSES,
            process_id=PROCESS,
            heartbeat_timeout=10,
        )
    from dgmjax.testing import cast  # makes arrays

    records = Slow(PROCESS if OPTIONS.startswith("other data") else 0)
    flow = dgm.RealNVP(
        (4,), depth=2, width=16, dropout=0.2, preprocess=dgm.Standardize((4,)), rngs=nnx.Rngs(0)
    )
    options = {}
    if OPTIONS == "all":
        options = {
            "parallel": dgm.training.Parallel(fsdp=PROCESSES),
            "accumulate": 2,
            "steps_per_call": 5,
            "on_device": True,
        }
    result = dgm.fit(
        cast(flow, jnp.float64),
        records.x if OPTIONS == "all" else records,
        seed=jax.random.key(0),
        validation=records.x[:37],
        steps=STEPS,
        eval_every=10,
        batch_size=BATCH,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1e-2, momentum=0.9)),
        workdir=WORKDIR,
        execution=dgm.Execution(**options),
    )
    params, fixed, _ = dgm.training.partition(result.model)
    assert all(leaf.is_fully_addressable for leaf in params.values())
    batches = [len(rows) for rows in records.calls if len(rows) <= BATCH]
    np.savez(
        WORKDIR.parent / f"seen_{PROCESS}.npz",
        rows=np.asarray(batches),
        steps=[record["step"] for record in result.history],
        **save_and_load(result.model),
        **{f"params/{name}": np.asarray(leaf) for name, leaf in (params | fixed).items()},
    )


if __name__ == "__main__":
    main()
