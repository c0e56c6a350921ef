"""Typed settings of the noise that makes integers continuous."""

import dataclasses
from typing import Literal

from flax import nnx

import dgmjax as dgm


@dataclasses.dataclass(frozen=True, kw_only=True)
class DequantizationConfig:
    """The noise of flows on integers; the fields but the first two are those of variational noise."""

    kind: Literal["uniform", "truncated_normal", "logit_normal", "variational", "gaussian"] = (
        "uniform"
    )
    """Which; gaussian gives no bound."""
    scale: float = 0.5
    """Standard deviation of gaussian, in levels."""
    couplings: int = 4
    """Couplings: as in Flow++ on images, affine ones of an MLP on vectors."""
    width: int = 96
    """Width of their networks."""
    depth: int = 2
    """Depth of their networks."""
    num_components: int = 32
    """Logistics of a coupling, on images."""
    coupling: Literal["mixture", "affine"] = "mixture"
    """Kind of the couplings, on images."""
    attention: bool = True
    """Self-attention in the networks, on images."""
    dropout: float = 0.0
    """Dropout in the networks, in training."""
    encoder_width: int = 32
    """Width of the network that sees the image once."""
    encoder_depth: int = 3
    """Depth of that network."""

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
        return dgm.FlowPPDequantizer(
            event_shape,
            couplings=self.couplings,
            width=self.width,
            depth=self.depth,
            num_components=self.num_components,
            coupling=self.coupling,
            attention=self.attention,
            dropout=self.dropout,
            encoder_width=self.encoder_width,
            encoder_depth=self.encoder_depth,
            rngs=rngs,
        )

    def _of_vectors(self, event_shape: tuple[int, ...], rngs: nnx.Rngs) -> dgm.Flow:
        return dgm.RealNVP(
            event_shape,
            depth=self.couplings,
            width=self.width,
            hidden_layers=self.depth,
            dropout=self.dropout,
            context_shape=event_shape,
            preprocess=dgm.Logit(event_shape, 1.0, alpha=0.0),
            rngs=rngs,
        )


UNIFORM = DequantizationConfig()
