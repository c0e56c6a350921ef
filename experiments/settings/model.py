"""What the typed settings of all models share.

One dataclass a model of `dgmjax.models`, whose fields are arguments of its constructor.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np
import optax
import tyro
from flax import nnx

import dgmjax as dgm
from experiments.settings.dequantization import UNIFORM, DequantizationConfig
from experiments.settings.likelihoods import NOISE_DRAWS, as_record, likelihood_on, plus_minus

_OF_THE_CONFIG = ("system", "preprocess", "alpha", "pseudo_count")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What all models share."""

    constructor: ClassVar[Any]
    images: ClassVar[bool] = False
    uses_labels: ClassVar[bool] = False  # classes are the context, whether asked for or not
    monitor: ClassVar[str] = "nats"  # what selects weights, and its curve
    monitor_label: ClassVar[str] = "negative log-likelihood [nats]"

    system: tyro.conf.Suppress[str]
    depth: int = 8
    """Number of layers."""
    width: int = 64
    """Hidden units of the networks."""

    def build(
        self,
        dataset: dgm.data.Dataset,
        rngs: nnx.Rngs,
        *,
        conditional: bool = False,
        dequantization: DequantizationConfig = UNIFORM,
    ) -> Any:
        """The model for ``dataset``, ``conditional`` on its labels if asked."""
        raise NotImplementedError

    def loss(self) -> Any:
        """The training loss, or losses by the part of the model that they train."""
        return dgm.objectives.maximum_likelihood

    def validation_loss(self) -> Any:
        """The loss of validation, whatever that of training is; None if nothing can be selected by it."""
        return dgm.objectives.negative_log_likelihood

    def optimizers(self, default: optax.GradientTransformation) -> Any:
        """The optimizer made of the settings, or one for each loss."""
        return default

    def measure(
        self, model: Any, x: np.ndarray, context: np.ndarray | None, *, seed: int
    ) -> dict[str, Any]:
        """The numbers of a trained model on the rows of a split, for ``result.json``."""
        found = likelihood_on(model, x, context, seed=seed)
        return as_record(found, draws=NOISE_DRAWS)

    def headline(self, test: dict[str, Any]) -> str:
        """The numbers of a split in a line."""
        bits = f" ({test['bits_per_dim']:.3f} bits/dim)" if "bits_per_dim" in test else ""
        error = plus_minus(test["standard_error_nats"])
        return f"log-likelihood {-test['nats']:.2f}{error} nats{bits}, {test['bound']}"

    def options(self, dataset: dgm.data.Dataset, *, conditional: bool) -> dict[str, Any]:
        """The fields that are arguments of the constructor, by name, and the shape of the context."""
        names = [field.name for field in dataclasses.fields(self)]
        options = {name: getattr(self, name) for name in names if name not in _OF_THE_CONFIG}
        return options | ({"context_shape": dataset.context_shape} if conditional else {})
