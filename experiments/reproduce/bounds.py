"""The ELBO: its gap, what samples of the prior would cost, and what a flow prior makes of its divergence."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast, scramble
from experiments.reproduce._modules import KEY, float64
from experiments.reproduce.entry import Check, Context, at_least, at_most, close, entry


def _linear_gaussian(dim: int, data: int) -> tuple[jax.Array, jax.Array, float]:
    """Weight, bias and log-scale of ``p(x | z) = N(W z + b, s^2 I)``."""
    rng = np.random.RandomState(0)
    return (
        jnp.asarray(rng.normal(size=(data, dim)) / math.sqrt(dim), jnp.float32),
        jnp.asarray(rng.normal(size=data), jnp.float32),
        math.log(0.5),
    )


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
    x = jax.random.normal(KEY, (64, 4))
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
        z = jax.random.normal(KEY, (count, dim))
        log_weights = dgm.densities.normal_log_prob(jnp.zeros(dim), z, math.log(0.5)).sum(-1)
        shares.append(float(dgm.objectives.effective_sample_size(log_weights)) / count)
    slope = (math.log(shares[3]) - math.log(shares[1])) / 6
    expected = math.log(shares[0])
    return [
        close("log of the share lost a dimension", slope, expected, 0.1 * abs(expected)),
        at_most("share of effective samples in 8 dimensions", shares[3], 0.05),
    ]


@entry(
    "D3-33",
    title="With a flow prior the divergence is that of the posterior taken back from the base",
)
def taken_back(context: Context) -> list[Check]:
    """``log q(z) - log p(z)`` is that of ``u = T^-1(z)``, draw by draw; without the log-determinant it is not."""
    del context
    with float64():
        prior = cast(
            scramble(dgm.FlowPrior(2, depth=3, width=16, rngs=nnx.Rngs(0)), KEY, scale=0.3),
            jnp.float64,
        )
        base = dgm.posteriors.DiagonalGaussian(2)
        features = jnp.asarray([0.7, -0.3, -0.4, 0.2])
        z, log_q = base.sample_and_log_prob(features, seed=KEY, sample_shape=2_000)
        u, log_det = prior.bijector.inverse_and_log_det(z)
        back = dgm.posteriors.FlowPosterior(base, dgm.Inverse(prior.bijector))
        terms = log_q - prior.log_prob(z)
        pushed = back.log_prob(u, features) - prior.base.log_prob(u)
        printed = log_q - prior.base.log_prob(u)
        return [
            at_most(
                "largest difference of a draw's terms", float(jnp.abs(terms - pushed).max()), 1e-9
            ),
            at_least(
                "|printed form - divergence|, nats", abs(float((printed - terms).mean())), 0.02
            ),
            close(
                "the difference less the mean log-determinant",
                float((printed - terms - log_det).mean()),
                0.0,
                1e-9,
            ),
        ]
