"""Typed settings of the classifiers: RevNet, its ResNet twin, i-RevNet."""

import dataclasses
import math
import types
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import nnx

import dgmjax as dgm
from dgmjax.numerics import map_rows
from experiments.settings.dequantization import UNIFORM, DequantizationConfig
from experiments.settings.likelihoods import plus_minus
from experiments.settings.model import ModelConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierConfig(ModelConfig):
    """What all classifiers share."""

    images: ClassVar[bool] = True
    uses_labels: ClassVar[bool] = True
    # A few hundred rows resolve the cross-entropy, where errors are a handful and tie.
    monitor: ClassVar[str] = "nats"
    monitor_label: ClassVar[str] = "cross-entropy of the labels [nats]"

    depth: int = 3
    """Units, or blocks, of every stage."""
    momentum: float = 0.9
    """Share of the old running statistics that a step keeps."""
    epsilon: float = 1e-5
    """Of the normalizations."""

    def build(
        self,
        dataset: dgm.data.Dataset,
        rngs: nnx.Rngs,
        *,
        conditional: bool = False,
        dequantization: DequantizationConfig = UNIFORM,
    ) -> Any:
        """The classifier of the images of ``dataset``."""
        del conditional, dequantization
        return self.constructor(
            dataset.event_shape,
            *dataset.context_shape,
            num_levels=dataset.num_levels,
            rngs=rngs,
            **self.settings(),
        )

    def settings(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {"momentum": self.momentum, "epsilon": self.epsilon}

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreActResNetConfig(ClassifierConfig):
    """A pre-activation ResNet, the twin of a RevNet."""

    constructor: ClassVar[Any] = dgm.PreActResNet
    system: tyro.conf.Suppress[str] = "resnet"
    depth: int = 5
    """Units of every stage."""
    width: int = 16
    """Channels of the first convolution."""
    filters: tuple[int, ...] = (16, 32, 64)
    """Channels of the stages, of which the second and later ones halve the images; a bottleneck has four times them."""
    bottleneck: bool = False
    """1x1, 3x3, 1x1 convolutions instead of two of 3x3."""
    stem_stride: int = 1
    """Of the first convolution."""

    def settings(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return super().settings() | {
            "filters": (self.width, *self.filters),
            "units": (self.depth,) * len(self.filters),
            "bottleneck": self.bottleneck,
            "stem_stride": self.stem_stride,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class RevNetConfig(PreActResNetConfig):
    """A reversible residual network."""

    constructor: ClassVar[Any] = dgm.RevNet
    system: tyro.conf.Suppress[str] = "revnet"
    depth: int = 3
    """Units of every stage, each of two functions."""
    width: int = 32
    """Channels of the first convolution."""
    filters: tuple[int, ...] = (32, 64, 112)
    """Channels of the stages."""
    reversible: bool = True
    """Rebuild activations instead of storing them."""

    def settings(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return super().settings() | {"reversible": self.reversible}


@dataclasses.dataclass(frozen=True, kw_only=True)
class IRevNetConfig(ClassifierConfig):
    """An i-RevNet."""

    constructor: ClassVar[Any] = dgm.IRevNet
    system: tyro.conf.Suppress[str] = "irevnet"
    depth: int = 18
    """Blocks of every stage."""
    width: int = 32
    """Channels of the image with zeros appended; its own number for none."""
    strides: tuple[int, ...] = (1, 2, 2)
    """1 or 2, of every stage."""
    squeeze: int = 1
    """Side of the blocks of pixels that become channels first."""
    kind: Literal["bottleneck", "wide_bottleneck"] = "wide_bottleneck"
    """1x1, 3x3, 1x1 convolutions, or three of 3x3."""
    dropout: float = 0.1
    """In training."""
    reversible: bool = True
    """Rebuild activations instead of storing them."""

    def settings(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return super().settings() | {
            "blocks": (self.depth,) * len(self.strides),
            "strides": self.strides,
            "pad_to": self.width,
            "squeeze": self.squeeze,
            "kind": self.kind,
            "dropout": self.dropout,
            "reversible": self.reversible,
        }

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
