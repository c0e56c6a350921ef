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
from dgmjax.layers.conditional import ConditionalGaussian, NetworkDensity
from dgmjax.layers.constructor import recorded
from dgmjax.layers.coupling import Coupling
from dgmjax.layers.density import Density, as_density
from dgmjax.layers.dequantization import Dequantization, GaussianNoise, UniformDequantization
from dgmjax.layers.dequantize import Dequantized
from dgmjax.layers.distrax import from_distrax, to_distrax
from dgmjax.layers.elementwise import LeakyReLU, Sigmoid, Softplus, Tanh
from dgmjax.layers.encoded_context import EncodedContext
from dgmjax.layers.encoder_decoder import EncoderDecoder
from dgmjax.layers.flow import IID, Flow, standard_normal
from dgmjax.layers.gaussian_prior import GaussianPrior
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
from dgmjax.layers.max_pool import MaxPool
from dgmjax.layers.multi_scale import MultiScale
from dgmjax.layers.not_reversible import not_reversible
from dgmjax.layers.permute import Permute, Shuffle
from dgmjax.layers.planar import Planar
from dgmjax.layers.preprocess import HistogramGaussianize, Logit, Standardize
from dgmjax.layers.radial import Radial
from dgmjax.layers.reshape import Reshape
from dgmjax.layers.residual import Residual
from dgmjax.layers.reversible import IRevBlock, RevBlock
from dgmjax.layers.shaped_dequantization import (
    LogitNormalDequantization,
    TruncatedNormalDequantization,
)
from dgmjax.layers.squeeze import Squeeze
from dgmjax.layers.stack import Stack
from dgmjax.layers.stochastic import Bijective, StochasticMap, as_stochastic_map
from dgmjax.layers.stochastic_flow import StochasticChain, StochasticFlow
from dgmjax.layers.surjections import AbsoluteValue, Augment, Slice
from dgmjax.layers.sylvester import Sylvester
from dgmjax.layers.variational_dequantization import VariationalDequantization
from dgmjax.nets.data_init import forget_data_init
from dgmjax.nets.summary import summary

__all__ = [
    "AbsoluteValue",
    "ActNorm",
    "AmortizedParameters",
    "Augment",
    "BatchNorm",
    "Bijective",
    "Bijector",
    "Block",
    "Chain",
    "Checked",
    "CheckerboardHalves",
    "ConditionalGaussian",
    "Coupling",
    "DenseLinear",
    "Density",
    "Dequantization",
    "Dequantized",
    "DiagonalLinear",
    "EncodedContext",
    "EncoderDecoder",
    "Flow",
    "GaussianMixtureRosenblatt",
    "GaussianNoise",
    "GaussianPrior",
    "HalvesConv",
    "HistogramGaussianize",
    "HouseholderLinear",
    "IID",
    "IRevBlock",
    "ImageCoupling",
    "Inverse",
    "InverseCDF",
    "Invertible1x1Conv",
    "LeakyReLU",
    "Logit",
    "LogitNormalDequantization",
    "MaskedAutoregressive",
    "MaxPool",
    "MultiScale",
    "NetworkDensity",
    "OrthogonalLinear",
    "PLULinear",
    "Permute",
    "Planar",
    "Radial",
    "Reshape",
    "Residual",
    "RevBlock",
    "Shuffle",
    "Sigmoid",
    "Slice",
    "Softplus",
    "Squeeze",
    "Stack",
    "Standardize",
    "StochasticChain",
    "StochasticFlow",
    "StochasticMap",
    "Sylvester",
    "Tanh",
    "TruncatedNormalDequantization",
    "UniformDequantization",
    "VariationalDequantization",
    "as_density",
    "as_stochastic_map",
    "checked",
    "forget_data_init",
    "from_distrax",
    "not_reversible",
    "recorded",
    "standard_normal",
    "summary",
    "to_distrax",
]
