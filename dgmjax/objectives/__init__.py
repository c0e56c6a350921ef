"""Losses and likelihoods; each ``loss(model, batch, key) -> (scalar, metrics)`` fits the trainer."""

from dgmjax.objectives.likelihood import Likelihood, bound_of, log_likelihood, log_prob
from dgmjax.objectives.maximum_likelihood import maximum_likelihood, negative_log_likelihood
from dgmjax.objectives.reverse_kl import reverse_kl

__all__ = [
    "Likelihood",
    "bound_of",
    "log_likelihood",
    "log_prob",
    "maximum_likelihood",
    "negative_log_likelihood",
    "reverse_kl",
]
