"""What the typed settings of all models share: how a model is built, trained and measured."""

from typing import Any, ClassVar

import numpy as np
import optax
import tyro
from flax import nnx

import dgmjax as dgm
from experiments.settings.dequantization import UNIFORM, DequantizationConfig
from experiments.settings.derived import Settings, settings_of
from experiments.settings.measured_likelihood import (
    NOISE_DRAWS,
    as_record,
    likelihood_on,
    plus_minus,
)


@settings_of()
class ModelConfig(Settings):
    """Base of the settings of a model, which are arguments of its constructor and what else it is made of."""

    images: ClassVar[bool] = False
    uses_labels: ClassVar[bool] = False  # classes are the context, whether asked for or not
    uses_noise: ClassVar[bool] = False  # integers are dequantized
    monitor: ClassVar[str] = "nats"  # what selects weights, and its curve
    monitor_label: ClassVar[str] = "negative log-likelihood [nats]"
    smoke_sizes: ClassVar[dict[str, Any]] = {}  # of its small version, beside those of all systems

    system: tyro.conf.Suppress[str]

    def build(
        self,
        dataset: dgm.data.Dataset,
        rngs: nnx.Rngs,
        *,
        conditional: bool = False,
        dequantization: DequantizationConfig = UNIFORM,
    ) -> Any:
        """The model for ``dataset``, ``conditional`` on its labels if asked.

        Raises:
          ValueError: data or an option that the system has no use for.
        """
        self.check(dataset, conditional=conditional, dequantization=dequantization)
        found: dict[str, Any] = {"num_levels": dataset.num_levels}
        if self.uses_labels:
            (found["num_classes"],) = dataset.context_shape
        options = {name: found[name] for name in self.from_data if name in found}
        if conditional and not self.uses_labels:
            options["context_shape"] = dataset.context_shape
        options |= self.given() | self.parts(dataset, rngs)
        model = self.constructor(dataset.event_shape, **options, rngs=rngs)
        return self.finished(model, dataset, dequantization, rngs)

    def check(
        self, dataset: dgm.data.Dataset, *, conditional: bool, dequantization: DequantizationConfig
    ) -> None:
        """Refuse what the system has no use for."""
        if conditional and not self.uses_labels and "context_shape" not in self.from_data:
            raise ValueError(f"{self.system} takes no labels; leave --conditional out.")
        if dequantization.kind != "uniform" and not (self.uses_noise and dataset.num_levels):
            raise ValueError(self._without_noise(dataset, dequantization.kind))

    def parts(self, dataset: dgm.data.Dataset, rngs: nnx.Rngs) -> dict[str, Any]:
        """Arguments of the constructor that are made of fields and data."""
        del dataset, rngs
        return {}

    def finished(
        self, model: Any, dataset: dgm.data.Dataset, noise: DequantizationConfig, rngs: nnx.Rngs
    ) -> Any:
        """What the constructor made, with what belongs around it."""
        del dataset, noise, rngs
        return model

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

    def _without_noise(self, dataset: dgm.data.Dataset, kind: str) -> str:
        from experiments.settings.systems import SYSTEMS  # which imports this file

        takes = "continuous data" if self.uses_noise else "data as they are"
        flows = ", ".join(name for name, cls in SYSTEMS.items() if cls.uses_noise)
        return (
            f"dequantization.kind: {kind!r} is noise of flows on integers, and {self.system} on {dataset.name} takes "
            f"{takes}; leave --dequantization.kind out. Systems with noise, on integers, are {flows}."
        )
