"""Named systems of the papers, each a thin assembly of layers."""

from dgmjax.models.glow import Glow
from dgmjax.models.maf import IAF, MAF
from dgmjax.models.nice import NICE
from dgmjax.models.planar_flow import PlanarFlow, RadialFlow
from dgmjax.models.realnvp import RealNVP
from dgmjax.models.residual_flow import ResidualFlow
from dgmjax.models.spline_flow import NeuralSplineFlow

__all__ = [
    "Glow",
    "IAF",
    "MAF",
    "NICE",
    "NeuralSplineFlow",
    "PlanarFlow",
    "RadialFlow",
    "RealNVP",
    "ResidualFlow",
]
