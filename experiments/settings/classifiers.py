"""Typed settings of the classifiers: RevNet, its ResNet twin, i-RevNet."""

import math
import types
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import dgmjax as dgm
from dgmjax.numerics import map_rows
from experiments.settings.derived import settings_of
from experiments.settings.measured_likelihood import plus_minus
from experiments.settings.model import ModelConfig


@settings_of()
class ClassifierConfig(ModelConfig):
    """What all classifiers share."""

    images: ClassVar[bool] = True
    uses_labels: ClassVar[bool] = True
    # A few hundred rows resolve the cross-entropy, where errors are a handful and tie.
    monitor: ClassVar[str] = "nats"
    monitor_label: ClassVar[str] = "cross-entropy of the labels [nats]"

    def loss(self) -> Any:
        """Cross-entropy with statistics of the batch, which it accumulates."""
        return dgm.objectives.cross_entropy

    def validation_loss(self) -> Any:
        """Cross-entropy and errors with running statistics."""
        return dgm.objectives.classification_errors

    def measure(
        self, model: Any, x: np.ndarray, context: np.ndarray | None, *, seed: int
    ) -> dict[str, Any]:
        """Accuracy, error with the standard error of a share, and cross-entropy."""
        del seed
        if context is None:
            raise ValueError(f"{self.system}: the data have no labels to be measured with.")

        logits = map_rows(lambda rows: _logits(model, rows), x, batch_size=1_000)
        known = types.SimpleNamespace(logits=lambda logits: logits)
        batch = {"x": logits, "context": jnp.asarray(context)}
        _, metrics = dgm.objectives.classification_errors(known, batch, jax.random.key(0))
        nats, error = (float(metrics[name][0]) / len(x) for name in ("nats", "error"))
        return {
            "accuracy": round(1.0 - error, 6),
            "error_percent": round(100 * error, 4),
            "standard_error_percent": None
            if len(x) < 2
            else round(100 * math.sqrt(error * (1 - error) / len(x)), 4),
            "nats": round(nats, 6),
            "rows": len(x),
        }

    def headline(self, test: dict[str, Any]) -> str:
        """The numbers of a split in a line."""
        return (
            f"{test['error_percent']:.2f}{plus_minus(test['standard_error_percent'])} % wrong "
            f"(accuracy {100 * test['accuracy']:.2f} %), cross-entropy {test['nats']:.4f} nats"
        )


@settings_of(dgm.PreActResNet, described_by=dgm.RevNet)
class PreActResNetConfig(ClassifierConfig):
    """A pre-activation ResNet, the twin of a RevNet."""

    system: tyro.conf.Suppress[str] = "resnet"


@settings_of(dgm.RevNet)
class RevNetConfig(ClassifierConfig):
    """A reversible residual network."""

    system: tyro.conf.Suppress[str] = "revnet"


@settings_of(dgm.IRevNet)
class IRevNetConfig(ClassifierConfig):
    """An i-RevNet."""

    system: tyro.conf.Suppress[str] = "irevnet"

    def measure(
        self, model: Any, x: np.ndarray, context: np.ndarray | None, *, seed: int
    ) -> dict[str, Any]:
        """Those of a classifier, and the largest error of a pixel in [0, 1] that comes back from the final features."""
        numbers = super().measure(model, x, context, seed=seed)

        errors = map_rows(lambda rows: _reconstruction_errors(model, rows), x, batch_size=1_000)
        return numbers | {"largest_reconstruction_error": float(errors.max())}


@jax.jit
def _logits(model: Any, x: jax.Array) -> jax.Array:
    return model.logits(x)


@jax.jit
def _reconstruction_errors(model: Any, x: jax.Array) -> jax.Array:
    """The largest of each event, ``[n]``."""
    errors = jnp.abs(model.invert(model.final_features(x)) - model.scaled(x))
    return errors.reshape(len(x), -1).max(1)
