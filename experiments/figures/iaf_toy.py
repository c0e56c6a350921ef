"""Four data points, two latents: Gaussian posteriors leave gaps in the prior, inverse autoregressive flows fill it."""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import dgmjax as dgm
from dgmjax.plots.canvas import INK, new_figure, save_figure
from experiments.figures._axes import COLOURS
from experiments.figures._vae import BOUND
from experiments.figures.registry import register
from experiments.run.results import write_json

POINTS = np.eye(4, dtype=np.int32)
POSTERIORS = {"Gaussian": "gaussian", "IAF": "iaf"}
_WINDOW = 3.6
_NODES = 200  # of the quadrature along each axis, over [-6, 6]


@register(quick={"steps": 600, "seeds": 1, "draws": 200})
def draw(
    out: pathlib.Path,
    *,
    seed: int = 0,
    steps: int = 3_000,
    seeds: int = 2,
    draws: int = 1_000,
) -> dict[str, Any]:
    """Write the picture ``out`` (.png) and the numbers beside it (.json); returns the numbers.

    The data are the four one-hot vectors of length 4, equally likely, with Bernoulli pixels: no model has more than
    ``-log 4`` nats, and there the posteriors are four regions of equal mass of the prior, without gaps or overlaps.
    Everything is repeated with other seeds; the picture is of the first.

    Args:
      out: the picture.
      seed: the first, of weights, batches, noise and samples.
      steps: of training, of each model.
      seeds: how many, one after the other.
      draws: samples of each posterior in the picture.

    Source: Kingma et al., 2016, *Improving variational inference with inverse autoregressive flow*, arXiv:1606.04934,
      figure 1.
    """
    results: dict[str, list[dict[str, float]]] = {name: [] for name in POSTERIORS}
    clouds = {}
    for number in range(seed, seed + seeds):
        for name, posterior in POSTERIORS.items():
            model = _trained(posterior, number, steps)
            results[name].append(_measured(model, number))
            if number == seed:
                clouds[name] = np.asarray(_codes(model, jax.random.key(seed), draws))
    prior = np.asarray(jax.random.normal(jax.random.key(seed), (4 * draws, 2)))
    record = {
        "points": POINTS.tolist(),
        "steps": steps,
        "seeds": list(range(seed, seed + seeds)),
        "draws": draws,
        "bound": BOUND,
        "highest_possible_elbo_nats": float(-np.log(4)),
        "posteriors": {
            name: {key: [one[key] for one in runs] for key in runs[0]}
            for name, runs in results.items()
        },
        "smallest_distance_of_means": {
            name: float(np.linalg.norm(_pairs(cloud.mean(0)), axis=-1).min())
            for name, cloud in clouds.items()
        },
    }
    _picture(out, prior, clouds, record)
    write_json(out.with_suffix(".json"), record)
    return record


def _pairs(means: np.ndarray) -> np.ndarray:
    first, second = np.triu_indices(len(means), 1)
    return means[first] - means[second]


def _trained(posterior: str, seed: int, steps: int) -> Any:
    model = dgm.VAE(
        (4,),
        latent_dim=2,
        posterior=posterior,
        posterior_depth=4,
        posterior_width=64,
        context_size=16,
        width=64,
        depth=2,
        activation="silu",
        rngs=nnx.Rngs(seed),
    )
    x = np.tile(POINTS, (32, 1))
    per_call = max(1, steps // 10)
    return dgm.fit(
        model,
        x,
        seed=jax.random.key(seed),
        steps=steps // per_call * per_call,
        execution=dgm.Execution(steps_per_call=per_call),
        eval_every=per_call,
        batch_size=len(x),
        optimizer=optax.adam(optax.cosine_decay_schedule(3e-3, steps)),
        ema_decay=0.99,
        loss=dgm.objectives.NegativeELBO(),
        init_rows=0,
        watch=dgm.Watch(progress=False),
    ).model


def _measured(model: dgm.VAE, seed: int, *, draws: int = 20_000) -> dict[str, float]:
    """The ELBO and its parts over samples, and the exact likelihood."""
    key, mixture_key = jax.random.split(jax.random.key(seed))
    terms = _terms(model, key, draws)
    log_weight = np.asarray(terms.log_weight, np.float64)
    gap = np.asarray(_log_ratio(model, mixture_key, draws), np.float64)
    return {
        "elbo_nats": float(log_weight.mean()),
        "elbo_standard_error": float(log_weight.std(0).mean() / np.sqrt(4 * draws)),
        "exact_log_likelihood_nats": _exact(model),
        "rate": float((terms.log_posterior - terms.log_prior).mean()),
        "marginal_kl": float(gap.mean()),
        "marginal_kl_standard_error": float(gap.std() / np.sqrt(draws)),
    }


@functools.partial(jax.jit, static_argnums=2)
def _codes(model: dgm.VAE, key: jax.Array, draws: int) -> jax.Array:
    """``[draws, 4, 2]``."""
    features = model.encode(jnp.asarray(POINTS))
    return model.posterior.sample(features, seed=key, sample_shape=(draws,))


@functools.partial(jax.jit, static_argnums=2)
def _terms(model: dgm.VAE, key: jax.Array, draws: int) -> dgm.objectives.ELBOTerms:
    x = jnp.broadcast_to(jnp.asarray(POINTS), (draws, *POINTS.shape))
    return model.elbo_terms(x, seed=key)


@functools.partial(jax.jit, static_argnums=2)
def _log_ratio(model: dgm.VAE, key: jax.Array, draws: int) -> jax.Array:
    """``log q(z) - log p(z)`` of draws of ``q(z)``, whose mean is the marginal KL."""
    features = model.encode(jnp.asarray(POINTS))
    mixture = dgm.posteriors.PosteriorMixture(model.posterior, features)
    z, log_q = mixture.sample_and_log_prob(seed=key, sample_shape=(draws,))
    return log_q - model.prior_distribution().log_prob(z)


def _exact(model: dgm.VAE) -> float:
    """``log p(x)``, mean over the points, by midpoints."""
    axis = (np.arange(_NODES) + 0.5) / _NODES * 12 - 6
    z = jnp.asarray(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), jnp.float32)
    log_joint = _log_joint(model, z)
    return float(jax.nn.logsumexp(log_joint, axis=1).mean() + 2 * np.log(12 / _NODES))


@jax.jit
def _log_joint(model: dgm.VAE, z: jax.Array) -> jax.Array:
    log_prior = model.prior_distribution().log_prob(z)
    return jax.vmap(lambda x: model.log_likelihood(x, z) + log_prior)(jnp.asarray(POINTS))


def _picture(
    out: pathlib.Path, prior: np.ndarray, clouds: dict[str, np.ndarray], record: dict[str, Any]
) -> None:
    figure = new_figure(11.0, 4.6)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    panels = figure.subplots(1, 3, sharey=True)
    panels[0].scatter(*prior.T, s=4, c="#777777", alpha=0.5, linewidths=0)
    panels[0].set_title("(a) prior\n$z \\sim N(0, I)$", size=10, color=INK)
    for axes, letter, (name, cloud) in zip(panels[1:], "bc", clouds.items(), strict=True):
        numbers = {key: values[0] for key, values in record["posteriors"][name].items()}
        for index, colour in enumerate(COLOURS[:4]):
            label = "x = " + "".join(map(str, POINTS[index]))
            axes.scatter(*cloud[:, index].T, s=4, c=colour, alpha=0.5, linewidths=0, label=label)
        axes.set_title(
            f"({letter}) {name} posteriors\nELBO ${numbers['elbo_nats']:.3f}$, marginal KL "
            f"{numbers['marginal_kl']:.3f} nats",
            size=10,
            color=INK,
        )
    for axes in panels:
        axes.set_xlim(-_WINDOW, _WINDOW)
        axes.set_ylim(-_WINDOW, _WINDOW)
        axes.set_aspect("equal")
        axes.set_xlabel("$z_1$", color=INK)
        axes.tick_params(labelsize=8, color=INK, labelcolor=INK)
        for spine in axes.spines.values():
            spine.set_color("#b0b0b0")
    panels[0].set_ylabel("$z_2$", color=INK)
    figure.suptitle(
        f"A VAE of four data points; no ELBO is higher than "
        f"$-\\log 4 = {record['highest_possible_elbo_nats']:.3f}$ nats",
        size=11,
        color=INK,
    )
    legend = figure.legend(
        *panels[1].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        markerscale=3,
    )
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    save_figure(figure, out)
