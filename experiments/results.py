"""The numbers of a run: likelihoods with their bound, ``result.json``."""

import json
import os
import pathlib
import platform
import subprocess
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgmjax as dgm
from experiments.config import Config

# A one-sample bound is an expectation over the noise: the mean over draws estimates the same number, less noisily.
NOISE_DRAWS = 16
_CHUNK = 512


def likelihood_on(
    model: Any,
    x: np.ndarray,
    context: np.ndarray | None = None,
    *,
    seed: int,
    num_samples: int = 1,
    draws: int = NOISE_DRAWS,
) -> dgm.Likelihood:
    """Log-likelihoods of all rows of ``x``, each the mean over ``draws`` of its bound if there is noise."""
    bound = dgm.objectives.bound_of(model, num_samples)
    draws = draws if bound.is_noisy else 1

    @jax.jit
    def evaluate(model: Any, x: jax.Array, context: jax.Array | None, key: jax.Array) -> jax.Array:
        def draw(key: jax.Array) -> jax.Array:
            return dgm.objectives.log_prob(model, x, context, seed=key, num_samples=num_samples)

        return jax.lax.map(draw, jax.random.split(key, draws)).mean(0)

    key = jax.random.key(seed)
    parts = [
        evaluate(
            model,
            jnp.asarray(x[i : i + _CHUNK]),
            None if context is None else jnp.asarray(context[i : i + _CHUNK]),
            jax.random.fold_in(key, i),
        )
        for i in range(0, len(x), _CHUNK)
    ]
    return dgm.Likelihood(jnp.concatenate(parts), bound, int(np.prod(model.event_shape)))


def as_record(likelihood: dgm.Likelihood, *, draws: int) -> dict[str, Any]:
    """JSON-compatible numbers of a likelihood, with their unit and bound.

    ``noise_draws`` says over how many independent draws of the noise a bound was averaged; it does not tighten it.
    """
    return {
        "nats": round(likelihood.nats, 4),
        "standard_error_nats": round(likelihood.standard_error, 4),
        "bits_per_dim": round(likelihood.bits_per_dim, 5),
        "bound": str(likelihood.bound),
        "rows": int(likelihood.log_prob.size),
    } | ({"noise_draws": draws} if likelihood.bound.is_noisy else {})


def write_result(
    workdir: pathlib.Path,
    config: Config,
    dataset: dgm.data.Dataset,
    truth: dgm.data.Toy | None,
    fitted: dgm.FitResult,
    likelihoods: dict[str, dgm.Likelihood],
    *,
    seconds: float,
) -> dict[str, Any]:
    """Write ``result.json``, the last file of a run, and return what it holds."""
    params, _, _ = dgm.training.partition(fitted.model)
    result: dict[str, Any] = {
        "config": config.name,
        "data": config.data,
        "test": as_record(likelihoods["test"], draws=NOISE_DRAWS),
        "validation": as_record(likelihoods["validation"], draws=NOISE_DRAWS),
        "selected_on": "validation",
        "selected_step": fitted.best_step,
        "steps": fitted.steps,
        "parameters": sum(int(array.size) for array in params.values()),
        "seconds_of_last_session": round(seconds, 1),
        "commit": _commit(),
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in ("dgmjax", "jax", "flax", "optax", "distrax")},
        "device": jax.devices()[0].device_kind,
    }
    if truth is not None:
        log_p = truth.log_prob(jnp.asarray(dataset.test))
        result["test"]["nats_of_the_true_density"] = round(-float(log_p.mean()), 4)
    write_json(workdir / "result.json", result)
    return result


def finished_result(workdir: pathlib.Path) -> dict[str, Any] | None:
    """What an earlier call of the run wrote, if it came to its end."""
    path = workdir / "result.json"
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it to write it again.") from None


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write strict JSON, in one piece."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
    os.replace(temporary, path)


def print_result(result: dict[str, Any], workdir: pathlib.Path) -> None:
    """The closing lines of a run."""
    test = result["test"]
    print(
        f"{result['config']}: test {test['nats']:.2f} +- {test['standard_error_nats']:.2f} nats = "
        f"{test['bits_per_dim']:.3f} bits/dim, {test['bound']}"
    )
    if "nats_of_the_true_density" in test:
        print(
            f"the true density has {test['nats_of_the_true_density']:.2f} nats on the same points"
        )
    print(
        f"selected on validation at step {result['selected_step']} of {result['steps']}; "
        f"{result['parameters']:,} parameters; everything is in {workdir}"
    )


def _commit() -> str | None:
    """The commit of this checkout, with ``+`` if files differ from it; None outside a checkout."""
    root = pathlib.Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
