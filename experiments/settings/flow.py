"""What the typed settings of all flows share: the first layer, and noise on integers."""

import dataclasses
from typing import Any, Literal

from flax import nnx

import dgmjax as dgm
from experiments.settings.dequantization import UNIFORM, DequantizationConfig
from experiments.settings.model import ModelConfig

ScaleFn = Literal["tanh", "sigmoid", "double_sigmoid", "softplus", "exp"]
ComputeDtype = Literal["bfloat16", "float16"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowConfig(ModelConfig):
    """What all flows share."""

    preprocess: Literal["none", "standardize", "logit", "histogram", "shared_histogram"] = (
        "standardize"
    )
    """Fixed first layer on the data."""
    alpha: float = 0.05
    """Margin of the logit."""
    pseudo_count: float = 1.0
    """Smoothing of the histogram."""

    def build(
        self,
        dataset: dgm.data.Dataset,
        rngs: nnx.Rngs,
        *,
        conditional: bool = False,
        dequantization: DequantizationConfig = UNIFORM,
    ) -> Any:
        """The flow for ``dataset``: dequantized if its values are integers; ``conditional`` on its labels if asked."""
        if dequantization.kind == "gaussian" and self.preprocess not in ("none", "standardize"):
            raise ValueError(
                f"dequantization.kind: gaussian noise leaves the range of the data, outside of which "
                f"{self.preprocess!r} has no value; use --model.preprocess standardize."
            )
        options = self.options(dataset, conditional=conditional)
        if options.get("mask") == "checkerboard":
            options["mask"] = _checkerboard(dataset)
        flow = self.constructor(
            dataset.event_shape, **options, preprocess=self._preprocess(dataset), rngs=rngs
        )
        if dataset.num_levels is None:
            return flow
        noise = dequantization.build(dataset.event_shape, dataset.num_levels, rngs)
        return dgm.Dequantized(flow, dataset.num_levels, noise)

    def _preprocess(self, dataset: dgm.data.Dataset) -> dgm.Bijector | None:
        shape, levels = dataset.event_shape, dataset.num_levels
        if self.preprocess in ("logit", "histogram", "shared_histogram") and levels is None:
            raise ValueError(
                f"model.preprocess: {self.preprocess!r} needs integer data with --num-levels, and {dataset.name} is "
                f"continuous; use --model.preprocess standardize."
            )
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


def _checkerboard(dataset: dgm.data.Dataset) -> Any:
    if dataset.image_shape is None:
        raise ValueError(
            f"model.mask: 'checkerboard' needs images, and {dataset.name} is not known to hold any; use "
            f"--model.mask alternating."
        )
    height, width, channels = dataset.image_shape
    mask = dgm.bijectors.checkerboard_mask((height, width))[..., None].repeat(channels, -1)
    return mask.ravel()
