"""Variational autoencoders: bounds, surgery, priors, posteriors."""

import math

import jax
import jax.numpy as jnp
import numpy as np

import dgmjax as dgm
from experiments.reproduce.entry import Check, Context, at_least, at_most, close, entry

_KEY = jax.random.key(0)


def _linear_gaussian(dim: int, data: int) -> tuple[jax.Array, jax.Array, float]:
    """Weight, bias and log-scale of ``p(x | z) = N(W z + b, s^2 I)``."""
    rng = np.random.RandomState(0)
    return (
        jnp.asarray(rng.normal(size=(data, dim)) / math.sqrt(dim), jnp.float32),
        jnp.asarray(rng.normal(size=data), jnp.float32),
        math.log(0.5),
    )


@entry(
    "A4-07",
    "A4-08",
    title="TABLE: KL of a Gaussian from N(0, 1), far away and near zero, in float32",
)
def divergence(context: Context) -> list[Check]:
    """The two examples of the assignment, and the closed form against quadrature."""
    del context
    kl = dgm.densities.normal_kl_standard
    near = float(kl(jnp.float32(1e-5), jnp.float32(math.log1p(1e-5))))
    z = np.linspace(-12, 12, 200_001)
    q = np.exp(-0.5 * ((z - 0.7) / 0.4) ** 2) / (0.4 * math.sqrt(2 * math.pi))
    log_ratio = -0.5 * ((z - 0.7) / 0.4) ** 2 - math.log(0.4) + 0.5 * z**2
    expected = float(np.trapezoid(q * log_ratio, z))
    found = float(kl(jnp.float32(0.7), jnp.float32(math.log(0.4))))
    printed = 0.5 * (1 / 2 - 1 - math.log(2))
    return [
        close("near zero, mean 1e-5 and scale 1 + 1e-5", near / 1e-10, 1.5, 0.002),
        close("closed form less quadrature", found - expected, 0.0, 1e-5),
        at_least(
            "KL at variance 2, mean 0, less the printed form (trace of the inverse), which is negative",
            float(kl(jnp.float32(0.0), jnp.float32(0.5 * math.log(2)))) - printed,
            0.5,
        ),
    ]


@entry(
    "L7-30",
    "L7-39",
    "A4-09",
    "L5-28",
    title="The gap of the ELBO is the divergence from the true posterior",
)
def exact_posterior(context: Context) -> list[Check]:
    """A linear Gaussian model, whose likelihood and posterior are known."""
    del context
    weight, bias, log_scale = _linear_gaussian(2, 4)
    x = jax.random.normal(_KEY, (64, 4))
    log_p = dgm.densities.linear_gaussian_log_prob(x, weight, bias, log_scale)
    mean, tril = dgm.densities.linear_gaussian_posterior(x, weight, bias, log_scale)
    tril = jnp.broadcast_to(tril, (64, 2, 2))
    z = mean + jnp.einsum("nij,nj->ni", tril, jax.random.normal(jax.random.key(1), (64, 2)))
    log_q = dgm.densities.tril_normal_log_prob(z, mean, tril)
    log_joint = dgm.densities.normal_log_prob(x, z @ weight.T + bias, log_scale).sum(-1)
    log_joint = log_joint + dgm.densities.normal_log_prob(z, 0.0, 0.0).sum(-1)
    return [
        close(
            "largest |ELBO - log p| with the exact posterior",
            float(jnp.abs(log_joint - log_q - log_p).max()),
            0.0,
            1e-4,
        )
    ]


@entry("A4-05", "A4-06", title="Samples of the prior fail geometrically with the number of latents")
def prior_samples(context: Context) -> list[Check]:
    """The share of effective samples at x = 0 of ``p(x | z) = N(z, 1/4)``, in 1 to 16 dimensions."""
    count = context.size(20_000, 200_000)
    shares = []
    for dim in (1, 2, 4, 8):
        z = jax.random.normal(_KEY, (count, dim))
        log_weights = dgm.densities.normal_log_prob(jnp.zeros(dim), z, math.log(0.5)).sum(-1)
        shares.append(float(dgm.objectives.effective_sample_size(log_weights)) / count)
    slope = (math.log(shares[3]) - math.log(shares[1])) / 6
    expected = math.log(shares[0])
    return [
        close("log of the share lost a dimension", slope, expected, 0.1 * abs(expected)),
        at_most("share of effective samples in 8 dimensions", shares[3], 0.05),
    ]


@entry("L7-25", "L7-26", "L7-27", "L7-28", "L7-29", "D3-30", title="ELBO surgery of a trained VAE")
def surgery(context: Context) -> list[Check]:
    """The parts add up; the information is between 0 and log n."""
    model, _, config = context.trained("vae_digits", steps=400)
    data = dgm.data.load_dataset(config.data).flattened().train
    found = dgm.objectives.elbo_surgery(model, data, _KEY)
    parts = found.reconstruction - found.mutual_information - found.marginal_kl
    return [
        close("ELBO less its parts", found.elbo - parts, 0.0, 1e-6),
        close(
            "rate by entropies less rate",
            found.cross_entropy - found.posterior_entropy - found.rate,
            0.0,
            1e-4,
        ),
        at_least("mutual information, nats", found.mutual_information, 0.0),
        at_most("mutual information, nats", found.mutual_information, found.log_n),
    ]


@entry("L7-33", "D3-34", "D3-31", title="FIGURE: latent codes over learned and fixed priors")
def priors(context: Context) -> list[Check]:
    """Learned priors lie closer to the aggregated posterior."""
    record = context.figure("vae_priors")["priors"]
    fixed = record["standard normal"]["marginal_kl"]
    learned = [
        values["marginal_kl"] for name, values in record.items() if name != "standard normal"
    ]
    return [
        at_most(
            "marginal KL of the best learned prior, less that of N(0, I)", min(learned) - fixed, 0.0
        )
    ]


@entry(
    "L5-36", "L5-34", title="FIGURE: four points, Gaussian and inverse autoregressive posteriors"
)
def iaf_toy(context: Context) -> list[Check]:
    """The richer posterior has the higher ELBO and the smaller marginal KL."""
    record = context.figure("iaf_toy")["posteriors"]
    gaussian, iaf = record["Gaussian"], record["IAF"]
    return [
        at_least(
            "ELBO of IAF less that of the Gaussian, nats",
            iaf["elbo_nats"][0] - gaussian["elbo_nats"][0],
            0.0,
        ),
        at_most(
            "ELBO of IAF", iaf["elbo_nats"][0], -math.log(4) + 4 * iaf["elbo_standard_error"][0]
        ),
    ]


@entry("A4-14", title="FIGURE: curves of the negative ELBO with 20 and with 2 latents")
def curves(context: Context) -> list[Check]:
    """Both fall; 20 latents end lower."""
    options = {"epochs": 24, "rows": None, "width": 256} if context.quick else {}
    record = context.figure("vae_curves", **options)["latents"]
    return [
        at_most(
            "train, 20 latents less 2 latents, nats",
            record["20"]["train"][-1] - record["2"]["train"][-1],
            0.0,
        ),
        at_most(
            "train at the end less at epoch 1, 2 latents",
            record["2"]["train"][-1] - record["2"]["train"][1],
            0.0,
        ),
    ]


@entry("A4-15", title="FIGURE: samples along the training")
def samples(context: Context) -> list[Check]:
    """The validation ELBO rises from panel to panel."""
    elbo = context.figure("vae_samples")["validation_elbo_nats"]
    return [at_least("ELBO at the end less at the start, nats", elbo[-1] - elbo[0], 20.0)]


@entry("A4-16", title="FIGURE: the plane that two latents decode to")
def manifold(context: Context) -> list[Check]:
    """Neighbours are alike, pictures half a side apart are not."""
    record = context.figure("vae_manifold")
    ratio = record["difference_of_neighbours"][-1] / record["difference_across_half"][-1]
    return [at_most("difference of neighbours over that across half the plane", ratio, 0.7)]


@entry("A4-01", "A4-02", title="FIGURE: an autoencoder is no generative model")
def autoencoder(context: Context) -> list[Check]:
    """Decoded N(0, I) under a third model: medians in nats."""
    record = context.figure("autoencoder")["log_prob_of_pictures_nats"]
    gap = record["VAE"]["N(0, I)"][1] - record["autoencoder"]["N(0, I)"][1]
    return [
        at_least("log-likelihood of the VAE's pictures less the autoencoder's, nats", gap, 20.0)
    ]


@entry(
    "A4-03", title="Samples of Bernoulli pixels are 1 with the probability that the decoder says"
)
def bernoulli(context: Context) -> list[Check]:
    """Not the complement, as in the author's code."""
    del context
    logits = jnp.linspace(-4, 4, 33)
    likelihood = dgm.likelihoods.Bernoulli((33,))
    draws = likelihood.sample(jnp.broadcast_to(logits, (20_000, 33)), seed=_KEY)
    error = jnp.abs(draws.mean(0) - jax.nn.sigmoid(logits)).max()
    return [at_most("largest difference of a frequency from its probability", float(error), 0.02)]
