"""Variational autoencoders: ``python -m experiments.benchmarks.vae [--quick] [--only TASK ...] [--out FILE]``.

The training step of the UvA assignment's network beside the same in PyTorch, importance-weighted bounds with many
samples, and ELBO surgery over all pairs of codes and posteriors, with its memory.
"""

import dataclasses
import importlib
import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import dgmjax as dgm
from experiments.benchmarks._command import run
from experiments.benchmarks._timing import Row, System, milliseconds, race
from experiments.benchmarks._training_work import Part


@dataclasses.dataclass(frozen=True)
class Work:
    """How much is measured.

    Attributes:
      size: pixels.
      width: hidden units.
      latents: of the training step and the bounds.
      batch: images a training step.
      images: of the importance-weighted bounds.
      samples: K.
      batch_size: samples at a time.
      codes: of the surgery, and posteriors.
      code_size: latents of a code.
      rounds: rounds of the race.
      calls: calls a turn.
    """

    size: int = 784
    width: int = 500
    latents: int = 20
    batch: int = 128
    images: int = 100
    samples: int = 5_000
    batch_size: int = 10
    codes: int = 50_000
    code_size: int = 40
    rounds: int = 15
    calls: int = 8


QUICK = Work(
    size=12, width=8, latents=2, batch=4, images=3, samples=20, codes=64, code_size=3, rounds=2,
    calls=2,
)  # fmt: skip


def step(work: Work) -> Part:
    """An Adam step on the ELBO of a batch, in dgmjax and PyTorch."""
    x = np.random.RandomState(0).randint(0, 2, (work.batch, work.size)).astype(np.uint8)
    task = f"training step, {work.size}-{work.width}-{work.latents}, batch {work.batch}"
    systems = [_training_system(_vae(work, work.latents), jnp.asarray(x))]
    if importlib.util.find_spec("torch") is None:
        rows = race(task, systems, rounds=work.rounds, calls=work.calls)
        return Part([*rows, Row(task, "PyTorch", "not installed", None)], {})  # type: ignore[arg-type]
    peer = importlib.import_module("experiments.benchmarks._vae_torch")
    systems.append(peer.training_system(x, work.width, work.latents))
    rows = race(task, systems, rounds=work.rounds, calls=work.calls)
    return Part(rows, {"goal": "dgmjax / PyTorch at most 0.7", "ratio": rows[1].ratio})


def iwae(work: Work) -> Part:
    """Importance-weighted bounds of a few images with many samples, and what that makes a second."""
    model = _vae(work, work.latents)
    x = jnp.asarray(np.random.RandomState(0).randint(0, 2, (work.images, work.size)), jnp.uint8)
    key = jax.random.key(0)

    @jax.jit
    def bound(model: dgm.VAE, x: jax.Array, key: jax.Array) -> jax.Array:
        return dgm.objectives.iwae(
            model, x, key, num_samples=work.samples, batch_size=work.batch_size
        )

    memory = bound.lower(model, x, key).compile().memory_analysis()
    task = f"importance-weighted bounds, {work.images} images, K = {work.samples}"
    system = System("dgmjax", lambda: jax.block_until_ready(bound(model, x, key)))
    rows = race(task, [system], rounds=3, calls=1)
    rate = work.images / (rows[0].median / 1e3)
    facts: dict[str, Any] = {"images_a_second": round(rate, 1)}
    if memory is not None:
        facts["working_mebibytes"] = round(memory.temp_size_in_bytes / 2**20, 1)
    return Part(rows, facts)


def surgery(work: Work) -> Part:
    """Mutual information and marginal divergence of all codes, each beside all posteriors."""
    model = _vae(work, work.code_size)
    x = np.random.RandomState(0).randint(0, 2, (work.codes, work.size)).astype(np.uint8)

    def cut() -> None:
        dgm.objectives.elbo_surgery(model, x, jax.random.key(0))

    cut()  # compiles
    wall, cpu = milliseconds(cut)
    task = f"ELBO surgery, {work.codes} codes of {work.code_size} beside {work.codes} posteriors"
    return Part([Row(task, "dgmjax", "ms", wall, cpu=cpu)], {"pairs": work.codes**2})


def _vae(work: Work, latents: int) -> dgm.VAE:
    return dgm.VAE(
        (work.size,), latent_dim=latents, width=work.width, depth=1, activation="tanh",
        rngs=nnx.Rngs(0),
    )  # fmt: skip


def _training_system(model: dgm.VAE, x: jax.Array) -> System:
    params, fixed, merge = dgm.training.partition(model)
    optimizer = optax.adam(1e-3)

    def loss(params: Any, fixed: Any, x: jax.Array, key: jax.Array) -> jax.Array:
        return -dgm.objectives.elbo(merge(params, fixed), x, key).mean()

    def step(params: Any, state: Any, key: jax.Array, fixed: Any, x: jax.Array) -> tuple:
        key, seed = jax.random.split(key)
        value, grads = jax.value_and_grad(loss)(params, fixed, x, seed)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, key, value

    compiled = jax.jit(step, donate_argnums=(0, 1, 2))
    current = jax.tree.map(jnp.copy, params), optimizer.init(params), jax.random.key(0)

    def run() -> None:
        nonlocal current
        *rest, value = compiled(*current, fixed, x)
        current = tuple(rest)
        jax.block_until_ready((current, value))

    return System("dgmjax", run, sum(value.size for value in params.values()))


TASKS = {"step": step, "iwae": iwae, "surgery": surgery}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Command line; returns what ``--out`` writes."""
    return run("vae", TASKS, (Work(), QUICK), arguments)


if __name__ == "__main__":
    main()
