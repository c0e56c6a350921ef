"""Named systems of the papers, each a thin assembly of layers."""

from dgmjax.models.realnvp import RealNVP

__all__ = ["RealNVP"]
