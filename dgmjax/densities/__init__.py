"""Pure log-densities and samplers that distrax lacks, and the labels of likelihoods; jax only."""

from dgmjax.densities.bound import EXACT, Bound, bits_per_dim
from dgmjax.densities.discretized_distribution import DiscretizedFromCDF
from dgmjax.densities.discretized_mixture import (
    discretized_log_prob,
    discretized_logistic_mixture_log_prob,
)
from dgmjax.densities.linear_gaussian import linear_gaussian_log_prob, linear_gaussian_posterior
from dgmjax.densities.logistic_mixture import (
    logistic_mixture_logit_cdf,
    logistic_mixture_logit_icdf,
)
from dgmjax.densities.logit_normal import (
    logit_normal_log_prob,
    logit_normal_sample,
)
from dgmjax.densities.normal import (
    normal_kl,
    normal_kl_standard,
    normal_log_prob,
    tril_normal_kl_standard,
    tril_normal_log_prob,
)
from dgmjax.densities.normal_mixture import normal_mixture_log_prob, normal_mixture_log_tails
from dgmjax.densities.rgb_mixture import (
    RGBMixture,
    categorical_pixel_log_prob,
    categorical_pixel_sample,
    rgb_mixture,
    rgb_mixture_conditional_log_prob,
    rgb_mixture_log_prob,
    rgb_mixture_num_params,
    rgb_mixture_sample,
)
from dgmjax.densities.truncated import (
    truncated_normal_cdf,
    truncated_normal_icdf,
    truncated_normal_log_prob,
    truncated_normal_sample,
)

__all__ = [
    "Bound",
    "DiscretizedFromCDF",
    "EXACT",
    "RGBMixture",
    "bits_per_dim",
    "categorical_pixel_log_prob",
    "categorical_pixel_sample",
    "discretized_log_prob",
    "discretized_logistic_mixture_log_prob",
    "linear_gaussian_log_prob",
    "linear_gaussian_posterior",
    "logistic_mixture_logit_cdf",
    "logistic_mixture_logit_icdf",
    "logit_normal_log_prob",
    "logit_normal_sample",
    "normal_kl",
    "normal_kl_standard",
    "normal_log_prob",
    "normal_mixture_log_prob",
    "normal_mixture_log_tails",
    "rgb_mixture",
    "rgb_mixture_conditional_log_prob",
    "rgb_mixture_log_prob",
    "rgb_mixture_num_params",
    "rgb_mixture_sample",
    "tril_normal_kl_standard",
    "tril_normal_log_prob",
    "truncated_normal_cdf",
    "truncated_normal_icdf",
    "truncated_normal_log_prob",
    "truncated_normal_sample",
]
