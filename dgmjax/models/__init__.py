"""Named systems of the papers, each a thin assembly of layers."""

from dgmjax.models.maf import IAF, MAF
from dgmjax.models.realnvp import RealNVP

__all__ = ["IAF", "MAF", "RealNVP"]
