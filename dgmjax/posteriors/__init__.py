"""Densities of latents given features: what an encoder's output parametrises."""

from dgmjax.posteriors.build import AmortizedFlow, posterior
from dgmjax.posteriors.flow import FlowPosterior
from dgmjax.posteriors.gaussian import DiagonalGaussian, FullCovarianceGaussian
from dgmjax.posteriors.mixture import PosteriorMixture
from dgmjax.posteriors.posterior import Posterior

__all__ = [
    "AmortizedFlow",
    "DiagonalGaussian",
    "FlowPosterior",
    "FullCovarianceGaussian",
    "Posterior",
    "PosteriorMixture",
    "posterior",
]
