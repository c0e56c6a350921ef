"""The numbers of a run: ``result.json``."""

import json
import os
import pathlib
import platform
import subprocess
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp

import dgmjax as dgm
from experiments.run.data import data_version
from experiments.settings.config import Config


def write_result(
    workdir: pathlib.Path,
    config: Config,
    dataset: dgm.data.Dataset,
    truth: dgm.data.Toy | None,
    fitted: dgm.FitResult,
    numbers: dict[str, dict[str, Any]],
    *,
    seconds: float,
) -> dict[str, Any]:
    """Write ``result.json``, the last file of a run, and return what it holds."""
    params, _, _ = dgm.training.partition(fitted.model)
    result: dict[str, Any] = {
        "config": config.name,
        "data": config.data,
        "data_version": data_version(config.data),
        "test": dict(numbers["test"]),
        "validation": dict(numbers["validation"]),
        "selected_on": "validation" if config.model.validation_loss() else None,
        "selected_step": fitted.best_step,
        "steps": fitted.steps,
        "parameters": sum(int(array.size) for array in params.values()),
        "seconds_of_last_session": round(seconds, 1),
        "commit": commit_of_checkout(),
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


def print_result(config: Config, result: dict[str, Any], workdir: pathlib.Path) -> None:
    """The closing lines of a run."""
    test = result["test"]
    print(f"{result['config']}: test {config.model.headline(test)}")
    if "nats_of_the_true_density" in test:
        print(
            f"log-likelihood of the true density {-test['nats_of_the_true_density']:.2f} nats on the same points"
        )
    selected = f"selected on {result['selected_on']} at" if result["selected_on"] else "weights of"
    print(
        f"{selected} step {result['selected_step']} of {result['steps']}; {result['parameters']:,} parameters; "
        f"everything is in {workdir}"
    )


def commit_of_checkout() -> str | None:
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
