"""Distributions: flows and other densities, dequantization, stochastic maps, posteriors, likelihoods, priors."""

from dgmjax.distributions import likelihoods, posteriors, priors
from dgmjax.distributions.base import Density, as_density
from dgmjax.distributions.bases import Normal, Product, StudentT, Uniform
from dgmjax.distributions.categorical import CategoricalVector
from dgmjax.distributions.conditional import ConditionalGaussian, NetworkDensity
from dgmjax.distributions.dequantization.base import (
    Dequantization,
    GaussianNoise,
    UniformDequantization,
)
from dgmjax.distributions.dequantization.dequantized import Dequantized
from dgmjax.distributions.dequantization.shaped import (
    LogitNormalDequantization,
    TruncatedNormalDequantization,
)
from dgmjax.distributions.dequantization.variational import VariationalDequantization
from dgmjax.distributions.ensemble import Ensemble
from dgmjax.distributions.flow import IID, Flow, standard_normal
from dgmjax.distributions.stochastic.base import Bijective, StochasticMap, as_stochastic_map
from dgmjax.distributions.stochastic.encoder_decoder import EncoderDecoder
from dgmjax.distributions.stochastic.flow import StochasticChain, StochasticFlow
from dgmjax.distributions.stochastic.max_pool import MaxPool
from dgmjax.distributions.stochastic.surjections import AbsoluteValue, Augment, Slice
from dgmjax.distributions.tabular import TabularDensity

__all__ = [
    "AbsoluteValue",
    "Augment",
    "Bijective",
    "CategoricalVector",
    "ConditionalGaussian",
    "Density",
    "Normal",
    "Product",
    "StudentT",
    "TabularDensity",
    "Uniform",
    "Dequantization",
    "Dequantized",
    "EncoderDecoder",
    "Ensemble",
    "Flow",
    "GaussianNoise",
    "IID",
    "LogitNormalDequantization",
    "MaxPool",
    "NetworkDensity",
    "Slice",
    "StochasticChain",
    "StochasticFlow",
    "StochasticMap",
    "TruncatedNormalDequantization",
    "UniformDequantization",
    "VariationalDequantization",
    "as_density",
    "as_stochastic_map",
    "likelihoods",
    "posteriors",
    "priors",
    "standard_normal",
]
