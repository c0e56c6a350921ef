"""Losses and likelihoods; each ``loss(model, batch, key) -> (scalar, metrics)`` fits the trainer."""

from dgmjax.objectives.elbo import ELBOTerms, NegativeELBO, elbo, iwae
from dgmjax.objectives.elbo_surgery import (
    ELBOSurgery,
    aggregated_posterior,
    elbo_surgery,
    encode_all,
    hole_mass,
)
from dgmjax.objectives.likelihood import Likelihood, bound_of, log_likelihood, log_prob
from dgmjax.objectives.maximum_likelihood import maximum_likelihood, negative_log_likelihood
from dgmjax.objectives.prior_monte_carlo import effective_sample_size, prior_monte_carlo
from dgmjax.objectives.reconstruction import Reconstruction
from dgmjax.objectives.reverse_kl import reverse_kl

__all__ = [
    "ELBOSurgery",
    "ELBOTerms",
    "Likelihood",
    "NegativeELBO",
    "Reconstruction",
    "aggregated_posterior",
    "bound_of",
    "effective_sample_size",
    "elbo",
    "elbo_surgery",
    "encode_all",
    "hole_mass",
    "iwae",
    "log_likelihood",
    "log_prob",
    "maximum_likelihood",
    "negative_log_likelihood",
    "prior_monte_carlo",
    "reverse_kl",
]
