"""Priors of VAEs: flows as densities of latents, what their directions cost, and all of them side by side."""

import jax
import jax.numpy as jnp
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast, scramble
from experiments.commands.vae_comparison import VARIANTS, measure, table
from experiments.reproduce._modules import KEY, dense_log_det, digits_vae, distance, float64
from experiments.reproduce.autoregressive import Counter, counted, evaluations, layer
from experiments.reproduce.entry import Check, Context, at_least, at_most, close, entry
from experiments.run.data import load_data


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
    "L7-35",
    "L7-37",
    title="Flow priors: densities that integrate to 1; the identity is the plain ELBO",
)
def flow_prior(context: Context) -> list[Check]:
    """``log p(z) = log p(f(z)) + log |det J_f|`` on a grid of the plane, by dense Jacobians, and in an ELBO."""
    del context
    axis = jnp.linspace(-80.0, 80.0, 1001)
    points = jnp.stack(jnp.meshgrid(axis, axis), -1).reshape(-1, 2)
    area = float((axis[1] - axis[0]) ** 2)
    checks = []
    for kind in ("realnvp", "maf"):
        prior = scramble(
            dgm.FlowPrior(2, kind, depth=3, width=16, rngs=nnx.Rngs(0)), KEY, scale=0.15
        )
        values = jax.jit(lambda prior, points: prior.log_prob(points))(prior, points)
        z = jax.random.normal(KEY, (8, 2))
        dense = dense_log_det(prior.bijector.inverse, z)
        by_hand = prior.base.log_prob(prior.bijector.inverse(z)) + dense
        checks += [
            close(
                f"{kind}: integral over the plane", float(jnp.exp(values).sum()) * area, 1.0, 1e-3
            ),
            at_most(
                f"{kind}: density less that by dense Jacobians",
                distance(prior.log_prob(z), by_hand),
                1e-4,
            ),
        ]
    with float64():
        plain, other = (_small(prior) for prior in (None, dgm.FlowPrior(3, rngs=nnx.Rngs(0))))
        plain = cast(plain, jnp.float64)
        other = cast(other, jnp.float64)
        other.encoder, other.decoder = plain.encoder, plain.decoder
        x = jax.random.randint(KEY, (8, 6), 0, 5)
        ours, theirs = (m.elbo_terms(x, seed=KEY).log_weight for m in (plain, other))
        checks.append(
            at_most("identity: ELBO of a draw less that of N(0, I)", distance(ours, theirs), 1e-12)
        )
    return checks


def _small(prior: dgm.distributions.Density | None) -> dgm.VAE:
    return dgm.VAE(
        (6,), latent_dim=3, prior=prior, likelihood="categorical", num_levels=5, width=8, depth=1,
        rngs=nnx.Rngs(0),
    )  # fmt: skip


@entry(
    "L7-36",
    title="Is IAF a good prior? Evaluations of the network a density, and a sample, of three flows",
)
def calls_of_priors(context: Context) -> list[Check]:
    """Training a VAE needs densities of codes, one a step; with d = 6 IAF's take 6 evaluations and more."""
    del context
    maf, of_maf = counted(layer(sequential="jacobi"))
    iaf, of_iaf = counted(layer(sequential="jacobi"))
    of_coupling: list[int] = []
    coupling = dgm.Coupling(
        (6,),
        mask="half",
        make_conditioner=lambda size, shape, context_size: Counter(
            dgm.nets.MLP(size, shape, width=16, rngs=nnx.Rngs(0)), of_coupling
        ),
        transformer=dgm.bijectors.AffineTransformer(),
    )
    checks = []
    for name, prior, calls, density, sample in (
        ("MAF", dgm.Flow(maf), of_maf, 1, 6),
        ("IAF", dgm.Flow(dgm.Inverse(iaf)), of_iaf, 6, 1),
        ("RealNVP", dgm.Flow(coupling), of_coupling, 1, 1),
    ):
        prior.log_prob(jax.random.normal(KEY, (4, 6)))
        of_density = evaluations(calls)
        prior.sample(seed=KEY, sample_shape=4)
        of_sample = evaluations(calls)
        for what, found, expected in (
            ("density", of_density, density),
            ("sample", of_sample, sample),
        ):
            label = f"{name}: evaluations of a {what}"
            # Sequential: as many as latents, one to see that nothing changes, one for rounding, one for the density.
            checks += (
                [close(label, found, 1, 0)]
                if expected == 1
                else [at_least(label, found, expected), at_most(label, found, expected + 3)]
            )
    return checks


@entry(
    "L7-32", "D3-39", title="TABLE: priors by ELBO, importance-weighted bound, marginal KL and time"
)
def side_by_side(context: Context) -> list[Check]:
    """N(0, I) regularises too much, the aggregated posterior overfits, learned priors are between; one seed."""
    names = ("normal", "realnvp", "aggregated") if context.quick else VARIANTS["priors"]
    samples = context.size(64, 512)
    rows = {}
    for name in names:
        label = "" if name == "normal" else name
        model, result, config = digits_vae(context, label, prior=name)
        rows[name] = [measure(model, load_data(config), result, samples=samples)]
    # Differences of one seed have no standard error.
    context.table("priors", table(rows, samples).replace(" +- nan", ""))
    numbers = {name: found[0] for name, found in rows.items()}
    overfit = {name: found["test_elbo"] - found["train_elbo"] for name, found in numbers.items()}
    learned = [numbers[name] for name in names if name not in ("normal", "aggregated")]
    checks = [
        close(
            "marginal KL of the aggregated posterior, nats",
            numbers["aggregated"]["marginal_kl"],
            0.0,
            1e-3,
        ),
        at_least(
            "smallest gain of importance samples, nats",
            min(found["test_elbo"] - found["test_iw"] for found in numbers.values()),
            0.0,
        ),
    ]
    if not context.quick:  # 250 steps are too few to order the models
        best = min(found["test_elbo"] for found in learned)
        checks += [
            at_least(
                "test less train ELBO, aggregated less N(0, I), nats",
                overfit["aggregated"] - overfit["normal"],
                0.0,
            ),
            at_most(
                "largest marginal KL of a learned prior less that of N(0, I), nats",
                max(found["marginal_kl"] for found in learned) - numbers["normal"]["marginal_kl"],
                0.0,
            ),
            at_most(
                "test: best learned prior less N(0, I), nats",
                best - numbers["normal"]["test_elbo"],
                0.0,
            ),
            at_least(
                "test: aggregated posterior less N(0, I), nats",
                numbers["aggregated"]["test_elbo"] - numbers["normal"]["test_elbo"],
                0.0,
            ),
        ]
    return checks
