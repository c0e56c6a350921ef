"""Posteriors of VAEs that are flows: their densities, the three forms of the bound, and what inference loses."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast, scramble
from experiments.reproduce._modules import KEY, distance, float64
from experiments.reproduce.entry import Check, Context, at_least, at_most, close, entry


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


def _amortized(kind: str) -> tuple[dgm.posteriors.FlowPosterior, jax.Array]:
    """A flow of two layers over two latents with random weights, and the features of four examples."""
    made = dgm.posteriors.posterior(kind, 2, depth=2, width=8, context_size=3, rngs=nnx.Rngs(0))
    features = np.random.default_rng(0).normal(size=(4, made.feature_size))
    return cast(scramble(made, KEY, scale=0.2), jnp.float64), jnp.asarray(features)


@entry(
    "L7-40",
    "L5-29",
    "L5-30",
    "L5-31",
    title="Posterior flows: log-determinants, densities, the ELBO in three forms",
)
def posterior_flows(context: Context) -> list[Check]:
    """``log q_K = log q_0 - sum log |det|`` of planar, radial, coupling and IAF layers with amortised parameters."""
    del context
    checks = []
    with float64():
        axis = jnp.linspace(-40.0, 40.0, 801)  # tails of couplings are wide
        points = jnp.stack(jnp.meshgrid(axis, axis), -1).reshape(-1, 2)
        area = float((axis[1] - axis[0]) ** 2)
        for kind in ("planar", "radial", "coupling", "iaf"):
            q, features = _amortized(kind)
            log_det, dense, drawn, found, grid = _densities(q, features, points)
            checks += [
                at_most(
                    f"{kind}: log-determinant less that of the Jacobian",
                    distance(log_det, dense),
                    1e-10,
                ),
                close(f"{kind}: integral of q_K", float(jnp.exp(grid).sum()) * area, 1.0, 1e-4),
                at_most(f"{kind}: density of draws less q_0 / |det|", distance(found, drawn), 1e-8),
                at_most(f"{kind}: largest difference of three forms", _three_forms(q), 1e-6),
            ]
    return checks


@jax.jit
def _densities(
    q: dgm.posteriors.FlowPosterior, features: jax.Array, points: jax.Array
) -> tuple[jax.Array, ...]:
    """Of one draw an example: the log-determinant, that of the Jacobian, the density both ways; that of all points."""
    z0, log_q0, z, log_det = q.sample_parts(features, seed=KEY)
    given = features[:, q.base.feature_size :]
    jacobian = jax.vmap(jax.jacfwd(q.bijector.forward))(z0, given)
    dense = jnp.linalg.slogdet(jacobian)[1]
    # Of the first example alone: a density of the plane.
    grid = q.log_prob(points, features[0])
    return log_det, dense, log_q0 - log_det, q.log_prob(z, features), grid


def _three_forms(q: dgm.posteriors.FlowPosterior) -> float:
    """By the joint, by a divergence, and by the base and the log-determinants, draw by draw."""
    model = cast(
        dgm.VAE(
            (6,), latent_dim=2, posterior=q, prior=dgm.FlowPrior(2, rngs=nnx.Rngs(0)),
            likelihood="categorical", num_levels=5, width=8, depth=1, rngs=nnx.Rngs(0),
        ),
        jnp.float64,
    )  # fmt: skip
    x = jax.random.randint(KEY, (4, 6), 0, 5)

    @jax.jit
    def forms(model: dgm.VAE) -> tuple[jax.Array, ...]:
        terms = model.elbo_terms(x, seed=KEY)
        _, log_q0, z, log_det = q.sample_parts(model.encode(x), seed=KEY)
        joint = model.log_likelihood(x, z) + model.prior.log_prob(z)
        return terms.elbo, terms.log_weight, joint - log_q0 + log_det

    divergence, weight, base = forms(model)
    return max(distance(divergence, weight), distance(divergence, base))


@entry(
    "D3-27",
    title="FIGURE: the gap of the ELBO: the encoder's part and that of the family of posteriors",
)
def gaps_of_inference(context: Context) -> list[Check]:
    """Amortised ELBO, the best of the same family for each image, and annealed importance sampling."""
    record = context.figure("inference_gaps")["posteriors"]
    checks = []
    for name, found in record.items():
        slack = 4 * found["amortization_gap_standard_error"]
        checks += [
            at_least(
                f"{name}: best of the family less the encoder's, plus 4 standard errors, nats",
                found["local_elbo"] - found["amortized_elbo"] + slack,
                0.0,
            ),
            at_least(
                f"{name}: log p less the best of the family, nats",
                found["log_prob"] - found["local_elbo"],
                0.0,
            ),
        ]
    return checks
