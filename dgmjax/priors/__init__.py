"""Densities of latents, learned with the rest of a model; flows and distrax distributions are others."""

from dgmjax.priors.aggregated import AggregatedPosterior
from dgmjax.priors.flow import FlowPrior
from dgmjax.priors.mixture import GaussianMixture
from dgmjax.priors.vamp import VampPrior

__all__ = ["AggregatedPosterior", "FlowPrior", "GaussianMixture", "VampPrior"]
