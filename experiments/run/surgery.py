"""ELBO surgery along a run, on request: ``surgery.jsonl`` and TensorBoard."""

import json
import pathlib
from typing import Any

import jax
import numpy as np

import dgmjax as dgm
from experiments.run.tensorboard import Events

_PARTS = ("elbo", "reconstruction", "mutual_information", "marginal_kl", "log_n")


class SurgeryLog:
    """After every evaluation, the parts of the ELBO over the training data, in nats.

    Args:
      data: training data.
      workdir: run directory.
      events: where TensorBoard gets them.
      seed: of the codes, the same at every step.
      num_codes: codes over which expectations are taken, at most; all data are in the aggregated posterior.
    """

    def __init__(
        self,
        data: np.ndarray,
        workdir: pathlib.Path,
        events: Events,
        *,
        seed: int,
        num_codes: int = 2_000,
    ):
        self._data, self._events = data, events
        self._path = workdir / "surgery.jsonl"
        self._key = jax.random.key(seed)
        self._num_codes = min(num_codes, len(data))

    def __call__(self, step: int, model: Any) -> None:
        """After an evaluation."""
        parts = dgm.objectives.elbo_surgery(model, self._data, self._key, num_codes=self._num_codes)
        record = {"step": step, "split": "surgery"} | {
            name: getattr(parts, name) for name in _PARTS
        }
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        # A run that continues from a checkpoint meets steps again.
        kept = [line for line in lines if json.loads(line)["step"] < step]
        self._path.write_text("\n".join([*kept, json.dumps(record)]) + "\n")
        self._events.write(record)
