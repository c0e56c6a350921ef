"""Gaussian posteriors: the divergence in closed form and by samples, draws; and decoders."""

import math

import jax
import jax.numpy as jnp
import numpy as np

import dgmjax as dgm
from experiments.reproduce._modules import KEY, digits_vae
from experiments.reproduce.entry import Check, Context, at_least, at_most, close, entry


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
    far = float(kl(jnp.float32(1e5), jnp.float32(math.log(1e5 + 1))))
    z = np.linspace(-12, 12, 200_001)
    q = np.exp(-0.5 * ((z - 0.7) / 0.4) ** 2) / (0.4 * math.sqrt(2 * math.pi))
    log_ratio = -0.5 * ((z - 0.7) / 0.4) ** 2 - math.log(0.4) + 0.5 * z**2
    expected = float(np.trapezoid(q * log_ratio, z))
    found = float(kl(jnp.float32(0.7), jnp.float32(math.log(0.4))))
    printed = 0.5 * (1 / 2 - 1 - math.log(2))
    return [
        close("near zero, mean 1e-5 and scale 1 + 1e-5, over 1e-10", near / 1e-10, 1.5, 0.002),
        close("far, mean 1e5 and scale 1e5 + 1, over 1e10", far / 1e10, 1.00000999884870645, 1e-5),
        close("closed form less quadrature", found - expected, 0.0, 1e-5),
        at_least(
            "KL at variance 2, mean 0, less the printed form (trace of the inverse), which is negative",
            float(kl(jnp.float32(0.0), jnp.float32(0.5 * math.log(2)))) - printed,
            0.5,
        ),
    ]


@entry(
    "A4-12", title="Diagonal covariances: the divergence has the trace of Sigma, not of its inverse"
)
def diagonal_divergence(context: Context) -> list[Check]:
    """Three latents: the closed form against draws; the printed form is negative, so it is no divergence."""
    del context
    mean, log_std = jnp.asarray([0.7, -0.2, 0.0]), jnp.log(jnp.asarray([0.4, 1.5, 2.0]))
    right = float(dgm.densities.normal_kl_standard(mean, log_std).sum())
    noise = np.random.default_rng(0).normal(size=(200_000, 3))
    z = np.asarray(mean) + np.exp(log_std) * noise
    terms = (-0.5 * noise**2 - np.asarray(log_std) + 0.5 * z**2).sum(1)
    in_errors = abs(terms.mean() - right) / (terms.std() / math.sqrt(len(terms)))
    variances = np.array([2.0, math.e])
    printed = 0.5 * (1 / variances - 1 - np.log(variances))
    true = dgm.densities.normal_kl_standard(jnp.zeros(2), jnp.asarray(0.5 * np.log(variances)))
    return [
        at_most("closed form from the mean of draws, in standard errors", in_errors, 4.0),
        at_least("smallest divergence at mean 0, variances 2 and e", float(true.min()), 0.0),
        # (v - 1 / v) / 2: the printed form is negative there, -0.597 and -0.816.
        close("less the printed form, variance 2", float(true[0]) - printed[0], 0.75, 1e-5),
        close(
            "less the printed form, variance e", float(true[1]) - printed[1], math.sinh(1.0), 1e-5
        ),
    ]


@entry("A4-13", title="Reparametrisation: draws have the covariance, not its square")
def reparametrisation(context: Context) -> list[Check]:
    """``z = sigma e + mu`` of the library's Gaussian posterior; the report prints ``diag(Sigma) e + mu``."""
    del context
    q, count = dgm.posteriors.DiagonalGaussian(2), 100_000
    features = jnp.asarray([1.0, -1.0, -0.7, 0.6])
    log_std = np.asarray(q.moments(features)[1])
    z = np.asarray(q.sample(features, seed=KEY, sample_shape=count), np.float64)
    variance = z.var(0)
    ratio = variance / np.exp(2 * log_std)
    # The variance of a normal sample has the relative standard error sqrt(2 / n).
    slack = 4 * math.sqrt(2 / count)
    square = variance / np.exp(4 * log_std)
    return [
        close("variance of draws over sigma^2, first latent", ratio[0], 1.0, slack),
        close("variance of draws over sigma^2, second latent", ratio[1], 1.0, slack),
        at_most(
            "correlation of the two",
            abs(float(np.asarray(np.corrcoef(z.T))[0, 1])),
            4 / math.sqrt(count),
        ),
        at_least(
            "|variance over that of the printed form - 1|", float(np.abs(square - 1).min()), 0.3
        ),
    ]


@entry("D3-26", title="The divergence in closed form is the mean of that of samples")
def analytic_and_sampled(context: Context) -> list[Check]:
    """A trained VAE on 20 test images, many samples of the posterior each."""
    model, _, config = digits_vae(context)
    x = jnp.asarray(dgm.data.load_dataset(config.data).flattened().test[:20])
    seeds = jax.random.split(KEY, 2_000)
    features = model.encode(x)

    def sampled(model: dgm.VAE, seed: jax.Array) -> jax.Array:
        z, log_q = model.posterior.sample_and_log_prob(features, seed=seed)
        return log_q - model.prior_distribution().log_prob(z)

    draws = np.asarray(jax.jit(jax.vmap(sampled, in_axes=(None, 0)))(model, seeds), np.float64)
    analytic = np.asarray(model.posterior.kl_standard_normal(features).sum(-1))
    errors = draws.std(0) / math.sqrt(len(draws))
    return [
        at_most(
            "largest difference, in standard errors",
            float((np.abs(draws.mean(0) - analytic) / errors).max()),
            4.5,
        ),
        at_most(
            "largest standard error over the divergence", float((errors / analytic).max()), 0.1
        ),
    ]


@entry("L7-31", title="Decoders: continuous and discrete likelihoods are normalised")
def decoders(context: Context) -> list[Check]:
    """Sums over levels, and an integral, of random outputs of a decoder."""
    del context
    rng, checks = np.random.default_rng(0), []
    for name, count in (
        ("bernoulli", 2),
        ("categorical", 17),
        ("discretized_logistic", 17),
        ("discretized_logistic_mixture", 17),
    ):
        one = dgm.likelihoods.likelihood(name, (1,), count)
        output = jnp.asarray(rng.normal(size=one.output_shape), jnp.float32)
        mass = jnp.exp(one.log_prob(jnp.arange(count)[:, None], output[None]))
        checks.append(close(f"sum of {name}", float(mass.sum()), 1.0, 1e-5))
    for variance in ("fixed", "global", "pixel"):
        normal = dgm.likelihoods.Gaussian((1,), variance=variance, scale=0.5)
        output = jnp.asarray(0.3 * rng.normal(size=normal.output_shape), jnp.float32)
        x = jnp.linspace(-8, 8, 8_001)
        density = np.asarray(jnp.exp(normal.log_prob(x[:, None], output[None])), np.float64)
        checks.append(
            close(
                f"integral of gaussian, variance {variance}",
                float(np.trapezoid(density, x)),
                1.0,
                1e-5,
            )
        )
    return checks


@entry(
    "A4-03", title="Samples of Bernoulli pixels are 1 with the probability that the decoder says"
)
def bernoulli(context: Context) -> list[Check]:
    """Not the complement, as in the author's code."""
    del context
    logits = jnp.linspace(-4, 4, 33)
    likelihood = dgm.likelihoods.Bernoulli((33,))
    draws = likelihood.sample(jnp.broadcast_to(logits, (20_000, 33)), seed=KEY)
    error = jnp.abs(draws.mean(0) - jax.nn.sigmoid(logits)).max()
    return [at_most("largest difference of a frequency from its probability", float(error), 0.02)]
