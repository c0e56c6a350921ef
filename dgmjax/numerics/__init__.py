"""Numerical methods that bijectors, densities and networks share: solvers with implicit gradients, norms, tails."""

from dgmjax.numerics import prng
from dgmjax.numerics.compiler import avoid_wrong_sums
from dgmjax.numerics.conv import conv2d
from dgmjax.numerics.fixed_point import residual_fixed_point
from dgmjax.numerics.importance_weighting import log_mean_weight
from dgmjax.numerics.reversible import reversible_scan
from dgmjax.numerics.root import monotone_root
from dgmjax.numerics.rows import map_rows
from dgmjax.numerics.spectral import (
    conv_power_iteration,
    dense_power_iteration,
    dense_spectral_norm,
    same_conv,
    spectral_init,
    spectral_normalize,
)
from dgmjax.numerics.tails import erfcx, log_difference, log_tails
from dgmjax.numerics.triangular import solve_triangular

__all__ = [
    "avoid_wrong_sums",
    "conv2d",
    "conv_power_iteration",
    "dense_power_iteration",
    "dense_spectral_norm",
    "erfcx",
    "log_difference",
    "log_mean_weight",
    "log_tails",
    "map_rows",
    "monotone_root",
    "prng",
    "residual_fixed_point",
    "reversible_scan",
    "same_conv",
    "solve_triangular",
    "spectral_init",
    "spectral_normalize",
]
