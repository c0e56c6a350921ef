"""What the typed settings of all flows share: the first layer, and noise on integers."""

from typing import Any, ClassVar, Literal

from flax import nnx

import dgmjax as dgm
from experiments.settings.dequantization import DequantizationConfig
from experiments.settings.derived import settings_of
from experiments.settings.model import ModelConfig


@settings_of(also=[dgm.Logit, dgm.HistogramGaussianize], leave_out=["shared"])
class FlowConfig(ModelConfig):
    """What all flows share."""

    uses_noise: ClassVar[bool] = True

    preprocess: Literal["none", "standardize", "logit", "histogram", "shared_histogram"] = (
        "standardize"
    )
    """Fixed first layer on the data."""

    def check(
        self, dataset: dgm.data.Dataset, *, conditional: bool, dequantization: DequantizationConfig
    ) -> None:
        """Refuse, also, noise or data that the first layer cannot take."""
        super().check(dataset, conditional=conditional, dequantization=dequantization)
        if dequantization.kind == "gaussian" and self.preprocess not in ("none", "standardize"):
            raise ValueError(
                f"dequantization.kind: gaussian noise leaves the range of the data, outside of which "
                f"{self.preprocess!r} has no value; use --model.preprocess standardize."
            )
        if self.preprocess not in ("none", "standardize") and dataset.num_levels is None:
            raise ValueError(
                f"model.preprocess: {self.preprocess!r} needs integer data with --num-levels, and {dataset.name} is "
                f"continuous; use --model.preprocess standardize."
            )

    def parts(self, dataset: dgm.data.Dataset, rngs: nnx.Rngs) -> dict[str, Any]:
        """The first layer."""
        return super().parts(dataset, rngs) | {"preprocess": self._preprocess(dataset)}

    def finished(
        self, model: Any, dataset: dgm.data.Dataset, noise: DequantizationConfig, rngs: nnx.Rngs
    ) -> Any:
        """The flow, dequantized if the values are integers."""
        if dataset.num_levels is None:
            return model
        made = noise.build(dataset.event_shape, dataset.num_levels, rngs)
        return dgm.Dequantized(model, dataset.num_levels, made)

    def _preprocess(self, dataset: dgm.data.Dataset) -> dgm.Bijector | None:
        shape, levels = dataset.event_shape, dataset.num_levels
        if self.preprocess == "logit":
            return dgm.Logit(shape, float(levels or 0), alpha=self.alpha)
        if self.preprocess in ("histogram", "shared_histogram"):
            return dgm.HistogramGaussianize(
                shape,
                levels or 0,
                pseudo_count=self.pseudo_count,
                shared=self.preprocess == "shared_histogram",
            )
        return dgm.Standardize(shape) if self.preprocess == "standardize" else None
