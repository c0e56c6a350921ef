"""Flax modules that own parameters and call the pure functions of `dgmjax.bijectors`."""

from dgmjax.layers.actnorm import ActNorm
from dgmjax.layers.amortized import AmortizedParameters
from dgmjax.layers.autoregressive import MaskedAutoregressive
from dgmjax.layers.batchnorm import BatchNorm
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.block import Block
from dgmjax.layers.checked import Checked, checked
from dgmjax.layers.checkerboard import CheckerboardHalves
from dgmjax.layers.combinators import Chain, Inverse
from dgmjax.layers.concatenate import Concatenate
from dgmjax.layers.conditional_affine import ConditionalAffine
from dgmjax.layers.coupling import Coupling
from dgmjax.layers.elementwise import Elementwise
from dgmjax.layers.encoded_context import EncodedContext
from dgmjax.layers.fixed_affine import FixedAffine
from dgmjax.layers.halves_conv import HalvesConv
from dgmjax.layers.image_coupling import ImageCoupling
from dgmjax.layers.inverse_cdf import GaussianMixtureRosenblatt, InverseCDF
from dgmjax.layers.invertible_conv import Invertible1x1Conv
from dgmjax.layers.linear import (
    DenseLinear,
    DiagonalLinear,
    HouseholderLinear,
    OrthogonalLinear,
    PLULinear,
)
from dgmjax.layers.multi_scale import MultiScale
from dgmjax.layers.not_reversible import not_reversible
from dgmjax.layers.permute import Permute, Shuffle
from dgmjax.layers.planar import Planar
from dgmjax.layers.preprocess import HistogramGaussianize, Logit, Standardize
from dgmjax.layers.radial import Radial
from dgmjax.layers.reshape import Reshape
from dgmjax.layers.residual import Residual
from dgmjax.layers.reversible import IRevBlock, RevBlock
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.layers.squeeze import Squeeze
from dgmjax.layers.stack import Stack
from dgmjax.layers.sylvester import Sylvester
from dgmjax.nets.data_init import forget_data_init
from dgmjax.nets.summary import summary

__all__ = [
    "ActNorm",
    "AmortizedParameters",
    "BatchNorm",
    "Bijector",
    "Block",
    "Chain",
    "Concatenate",
    "FixedAffine",
    "Checked",
    "CheckerboardHalves",
    "Coupling",
    "DenseLinear",
    "DiagonalLinear",
    "Elementwise",
    "EncodedContext",
    "GaussianMixtureRosenblatt",
    "ConditionalAffine",
    "HalvesConv",
    "HistogramGaussianize",
    "HouseholderLinear",
    "IRevBlock",
    "ImageCoupling",
    "Inverse",
    "InverseCDF",
    "Invertible1x1Conv",
    "Logit",
    "MaskedAutoregressive",
    "MultiScale",
    "OrthogonalLinear",
    "PLULinear",
    "Permute",
    "Planar",
    "Radial",
    "Reshape",
    "Residual",
    "RevBlock",
    "Shuffle",
    "Squeeze",
    "Stack",
    "Standardize",
    "Sylvester",
    "checked",
    "forget_data_init",
    "not_reversible",
    "recorded",
    "summary",
]
