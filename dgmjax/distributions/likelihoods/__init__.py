"""Likelihoods p(x | z) of latent-variable models: distributions of data whose parameters a decoder gives."""

from dgmjax.distributions.likelihoods.base import Likelihood
from dgmjax.distributions.likelihoods.bernoulli import Bernoulli
from dgmjax.distributions.likelihoods.categorical import Categorical
from dgmjax.distributions.likelihoods.conditional_model import ConditionalModel
from dgmjax.distributions.likelihoods.discretized_logistic import (
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
)
from dgmjax.distributions.likelihoods.gaussian import Gaussian
from dgmjax.distributions.likelihoods.named import LIKELIHOODS, likelihood

__all__ = [
    "Bernoulli",
    "Categorical",
    "ConditionalModel",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "Gaussian",
    "LIKELIHOODS",
    "Likelihood",
    "likelihood",
]
