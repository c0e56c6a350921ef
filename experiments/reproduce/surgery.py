"""What the ELBO of a trained VAE is made of, which latents it uses, and a prior fitted to its codes."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from experiments.reproduce._modules import KEY, digits_vae
from experiments.reproduce.entry import Check, Context, at_least, at_most, close, entry


@entry("L7-25", "L7-26", "L7-27", "L7-28", "L7-29", "D3-30", title="ELBO surgery of a trained VAE")
def surgery(context: Context) -> list[Check]:
    """The parts add up; the information is between 0 and log n."""
    model, _, config = digits_vae(context)
    data = dgm.data.load_dataset(config.data).flattened().train
    found = dgm.objectives.elbo_surgery(model, data, KEY)
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


@entry(
    "A4-10",
    title="Two effects of the bound: a divergence that weighs too much switches latents off",
)
def collapse(context: Context) -> list[Check]:
    """Active units and mutual information with the factors 1 and 20 on the divergence."""
    found = {}
    for label, beta in (("", 1.0), ("beta20", 20.0)):
        model, _, config = digits_vae(context, label, beta=beta)
        data = dgm.data.load_dataset(config.data).flattened().train
        information = dgm.objectives.elbo_surgery(model, data, KEY).mutual_information
        found[beta] = dgm.analysis.active_units(model, data).number, information
    return [
        at_least("active units of 16, factor 1", found[1.0][0], 1),
        at_least("active units, factor 1 less factor 20", found[1.0][0] - found[20.0][0], 1),
        at_least("mutual information, factor 1, nats", found[1.0][1], 0.1),
        at_most("mutual information, factor 20 over factor 1", found[20.0][1] / found[1.0][1], 0.5),
    ]


@entry(
    "A4-11",
    title="Reconstruction and regularisation are the loss; the aggregated posterior is nearer to the prior",
)
def two_parts(context: Context) -> list[Check]:
    """The metrics of the training loss, and the divergence of the mean of the posteriors (not of their sum)."""
    model, _, config = digits_vae(context)
    data = dgm.data.load_dataset(config.data).flattened().train
    loss, metrics = dgm.objectives.NegativeELBO()(model, {"x": jnp.asarray(data[:200])}, KEY)
    reconstruction, kl = (
        float(metrics[name][0] / metrics[name][1]) for name in ("reconstruction", "kl")
    )
    found = dgm.objectives.elbo_surgery(model, data, KEY)
    return [
        close(
            "(reconstruction + regularisation) / loss",
            (reconstruction + kl) / float(loss),
            1.0,
            1e-5,
        ),
        at_least(
            "mean divergence less that of the aggregated posterior, nats",
            found.rate - found.marginal_kl,
            0.0,
        ),
        at_least(
            "divergence of the aggregated posterior, nats",
            found.marginal_kl + 4 * found.standard_errors["marginal_kl"],
            0.0,
        ),
    ]


def _toy_posteriors() -> dgm.posteriors.PosteriorMixture:
    """Six Gaussian posteriors in the plane, whose mean is the aggregated posterior."""
    angles = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    features = np.stack(
        [2 * np.cos(angles), 2 * np.sin(angles), -1.0 + 0 * angles, -0.5 + 0 * angles], 1
    )
    return dgm.posteriors.PosteriorMixture(
        dgm.posteriors.DiagonalGaussian(2), jnp.asarray(features, jnp.float32)
    )


@entry(
    "L7-34",
    "D3-32",
    title="A prior fitted to codes: its loss falls to the entropy of the aggregated posterior",
)
def fitted_prior(context: Context) -> list[Check]:
    """In the plane, where a mixture can be equal to it; then on the codes of a trained VAE, whose other parts stay."""
    target = _toy_posteriors()
    codes, held = (target.sample(seed=jax.random.key(i), sample_shape=8_000) for i in (1, 2))
    entropy = -target.log_prob(held)
    prior = dgm.priors.GaussianMixture(2, 12, rngs=nnx.Rngs(context.seed))
    losses = [-prior.log_prob(held)]
    fitted = dgm.fit(
        prior, np.asarray(codes), seed=KEY, steps=600, batch_size=1_000, learning_rate=3e-2,
        execution=dgm.Execution(steps_per_call=100), watch=dgm.Watch(progress=False),
    ).model  # fmt: skip
    losses.append(-fitted.log_prob(held))
    start, end = (float((loss - entropy).mean()) for loss in losses)
    error = float((losses[1] - entropy).std()) / len(held) ** 0.5

    model, _, config = digits_vae(context)
    data = dgm.data.load_dataset(config.data).flattened().train
    # Many draws of each posterior: a flow would learn one draw each by heart.
    z = model.posterior.sample(
        model.encode(jnp.asarray(data)), seed=jax.random.key(3), sample_shape=20
    )
    flow = dgm.FlowPrior(model.latent_dim, depth=4, width=32, rngs=nnx.Rngs(context.seed))
    learned = dgm.fit(
        flow, np.asarray(z).reshape(-1, model.latent_dim), seed=KEY, steps=200,
        learning_rate=2e-3, execution=dgm.Execution(steps_per_call=50), watch=dgm.Watch(progress=False),
    ).model  # fmt: skip
    other = nnx.clone(model)
    other.prior, other.prior_is_standard = nnx.data(learned), False
    before, after = (dgm.objectives.elbo_surgery(m, data, KEY) for m in (model, other))
    return [
        at_least("toy: loss above the entropy at the start, nats", start, 0.3),
        at_most("toy: loss above the entropy at the end, nats", end, 0.05),
        at_least("toy: the same plus 4 standard errors", end + 4 * error, 0.0),
        at_most(
            "VAE: marginal KL with the fitted prior less that of N(0, I), nats",
            after.marginal_kl - before.marginal_kl,
            0.0,
        ),
        close(
            "VAE: change of reconstruction, nats",
            after.reconstruction - before.reconstruction,
            0.0,
            1e-3,
        ),
        close(
            "VAE: change of information, nats",
            after.mutual_information - before.mutual_information,
            0.0,
            1e-3,
        ),
    ]
