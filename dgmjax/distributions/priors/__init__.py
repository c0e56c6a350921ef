"""Densities of latents, learned with the rest of a model; flows, such as `dgmjax.FlowPrior`, are others."""

from dgmjax.distributions.priors.aggregated import AggregatedPosterior
from dgmjax.distributions.priors.mixture import GaussianMixture
from dgmjax.distributions.priors.vamp import VampPrior

__all__ = ["AggregatedPosterior", "GaussianMixture", "VampPrior"]
