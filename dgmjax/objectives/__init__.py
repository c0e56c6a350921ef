"""Losses and likelihoods; each ``loss(model, batch, key) -> (scalar, metrics)`` fits the trainer."""

from dgmjax.objectives.classification import classification_errors, cross_entropy
from dgmjax.objectives.elbo import ELBOTerms, NegativeELBO, elbo, iwae
from dgmjax.objectives.elbo_surgery import (
    ELBOSurgery,
    aggregated_posterior,
    elbo_surgery,
    encode_all,
    hole_mass,
)
from dgmjax.objectives.every_member import every_member
from dgmjax.objectives.gan_game import (
    discriminator_loss,
    instance_noise,
    non_saturating_generator_loss,
    r1_penalty,
    saturating_generator_loss,
)
from dgmjax.objectives.gan_losses import (
    DiscriminatorLoss,
    GeneratorLoss,
    adversarial_losses,
)
from dgmjax.objectives.likelihood import LogLikelihood, bound_of, log_likelihood, log_prob
from dgmjax.objectives.maximum_likelihood import maximum_likelihood, negative_log_likelihood
from dgmjax.objectives.minimax import (
    jensen_shannon_divergence,
    minimax_value,
    optimal_discriminator,
)
from dgmjax.objectives.prior_monte_carlo import effective_sample_size, prior_monte_carlo
from dgmjax.objectives.reconstruction import Reconstruction
from dgmjax.objectives.reverse_kl import reverse_kl

__all__ = [
    "DiscriminatorLoss",
    "ELBOSurgery",
    "ELBOTerms",
    "GeneratorLoss",
    "LogLikelihood",
    "NegativeELBO",
    "Reconstruction",
    "adversarial_losses",
    "aggregated_posterior",
    "bound_of",
    "classification_errors",
    "cross_entropy",
    "discriminator_loss",
    "effective_sample_size",
    "elbo",
    "elbo_surgery",
    "encode_all",
    "every_member",
    "hole_mass",
    "instance_noise",
    "iwae",
    "jensen_shannon_divergence",
    "log_likelihood",
    "log_prob",
    "maximum_likelihood",
    "minimax_value",
    "negative_log_likelihood",
    "non_saturating_generator_loss",
    "optimal_discriminator",
    "prior_monte_carlo",
    "r1_penalty",
    "reverse_kl",
    "saturating_generator_loss",
]
