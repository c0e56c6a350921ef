"""Losses and likelihoods; each ``loss(model, batch, key) -> (scalar, metrics)`` fits the trainer."""

from dgmjax.objectives.likelihood import Likelihood, bound_of, log_likelihood, log_prob
from dgmjax.objectives.maximum_likelihood import maximum_likelihood, negative_log_likelihood

__all__ = [
    "Likelihood",
    "bound_of",
    "log_likelihood",
    "log_prob",
    "maximum_likelihood",
    "negative_log_likelihood",
]
