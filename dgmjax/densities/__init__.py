"""Pure log-densities and samplers that distrax lacks, and the labels of likelihoods; jax only."""

from dgmjax.densities.bound import EXACT, Bound, bits_per_dim
from dgmjax.densities.discretized import (
    discretized_log_prob,
    discretized_logistic_mixture_log_prob,
)
from dgmjax.densities.logistic_mixture import (
    logistic_mixture_cdf,
    logistic_mixture_icdf,
    logistic_mixture_log_cdf,
    logistic_mixture_log_prob,
    logistic_mixture_log_sf,
    logistic_mixture_logit_cdf,
    logistic_mixture_logit_icdf,
    logistic_mixture_sample,
)

__all__ = [
    "EXACT",
    "Bound",
    "bits_per_dim",
    "discretized_log_prob",
    "discretized_logistic_mixture_log_prob",
    "logistic_mixture_cdf",
    "logistic_mixture_icdf",
    "logistic_mixture_log_cdf",
    "logistic_mixture_log_prob",
    "logistic_mixture_log_sf",
    "logistic_mixture_logit_cdf",
    "logistic_mixture_logit_icdf",
    "logistic_mixture_sample",
]
