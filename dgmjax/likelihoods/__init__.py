"""Likelihoods p(x | z) of latent-variable models: distributions of data whose parameters a decoder gives."""

from dgmjax.likelihoods.base import Likelihood
from dgmjax.likelihoods.bernoulli import Bernoulli
from dgmjax.likelihoods.categorical import Categorical
from dgmjax.likelihoods.conditional_model import ConditionalModel
from dgmjax.likelihoods.discretized_logistic import (
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
)
from dgmjax.likelihoods.gaussian import Gaussian
from dgmjax.likelihoods.named import LIKELIHOODS, likelihood

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
