"""Densities of latents given features: what an encoder's output parametrises."""

from dgmjax.distributions.posteriors.base import Posterior
from dgmjax.distributions.posteriors.build import AmortizedFlow, posterior
from dgmjax.distributions.posteriors.flow import FlowPosterior
from dgmjax.distributions.posteriors.gaussian import DiagonalGaussian, FullCovarianceGaussian
from dgmjax.distributions.posteriors.mixture import PosteriorMixture

__all__ = [
    "AmortizedFlow",
    "DiagonalGaussian",
    "FlowPosterior",
    "FullCovarianceGaussian",
    "Posterior",
    "PosteriorMixture",
    "posterior",
]
