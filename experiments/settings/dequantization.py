"""Typed settings of the noise that makes integers continuous."""

from typing import Literal

from flax import nnx

import dgmjax as dgm
from experiments.settings.derived import Settings, settings_of


@settings_of(dgm.FlowPPDequantizer, also=[dgm.GaussianNoise], leave_out=["low"])
class DequantizationConfig(Settings):
    """The noise of flows on integers; all but kind and scale are of variational noise, on vectors a RealNVP."""

    kind: Literal["uniform", "truncated_normal", "logit_normal", "variational", "gaussian"] = (
        "uniform"
    )
    """Distribution of the noise; gaussian gives no bound."""
    scale: float
    """Standard deviation of gaussian noise, in levels."""

    def build(
        self, event_shape: tuple[int, ...], num_levels: int, rngs: nnx.Rngs
    ) -> dgm.distributions.Dequantization:
        """The noise for events of ``event_shape`` with ``num_levels`` levels."""
        if self.kind == "variational":
            flow = self._of_images if len(event_shape) == 3 else self._of_vectors
            return dgm.VariationalDequantization(flow(event_shape, rngs), num_levels)
        if self.kind == "gaussian":
            return dgm.GaussianNoise(event_shape, scale=self.scale)
        kinds = {
            "uniform": dgm.UniformDequantization,
            "truncated_normal": dgm.TruncatedNormalDequantization,
            "logit_normal": dgm.LogitNormalDequantization,
        }
        return kinds[self.kind](event_shape)

    def _of_images(self, event_shape: tuple[int, ...], rngs: nnx.Rngs) -> dgm.Flow:
        return dgm.FlowPPDequantizer(event_shape, **self.given(), rngs=rngs)

    def _of_vectors(self, event_shape: tuple[int, ...], rngs: nnx.Rngs) -> dgm.Flow:
        return dgm.RealNVP(
            event_shape,
            depth=self.couplings,
            width=self.width,
            hidden_layers=self.depth,
            scale_fn=self.scale_fn,
            dropout=self.dropout,
            reversible=self.reversible,
            remat=self.remat,
            compute_dtype=self.compute_dtype,
            context_shape=event_shape,
            preprocess=dgm.Logit(event_shape, 1.0, alpha=0.0),
            rngs=rngs,
        )


UNIFORM = DequantizationConfig()
