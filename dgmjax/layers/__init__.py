"""Flax modules that own parameters and call the pure functions of `dgmjax.bijectors`."""

from dgmjax.layers.actnorm import ActNorm
from dgmjax.layers.autoregressive import MaskedAutoregressive
from dgmjax.layers.batchnorm import BatchNorm
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain, Inverse
from dgmjax.layers.constructor import recorded
from dgmjax.layers.coupling import Coupling
from dgmjax.layers.dequantize import Dequantized, UniformDequantization
from dgmjax.layers.flow import IID, Flow, standard_normal
from dgmjax.layers.linear import (
    DenseLinear,
    DiagonalLinear,
    HouseholderLinear,
    OrthogonalLinear,
    PLULinear,
)
from dgmjax.layers.permute import Permute
from dgmjax.layers.preprocess import HistogramGaussianize, Logit, Standardize

__all__ = [
    "ActNorm",
    "BatchNorm",
    "DenseLinear",
    "DiagonalLinear",
    "HouseholderLinear",
    "OrthogonalLinear",
    "PLULinear",
    "Permute",
    "IID",
    "Bijector",
    "Chain",
    "Coupling",
    "Dequantized",
    "Flow",
    "HistogramGaussianize",
    "Inverse",
    "Logit",
    "MaskedAutoregressive",
    "Standardize",
    "UniformDequantization",
    "recorded",
    "standard_normal",
]
