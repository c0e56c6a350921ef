"""Discrete data: discretization, dequantization of all kinds, and what the bounds lose."""

import math

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from experiments.reproduce.entry import Check, Context, at_least, at_most, close, entry, falling

_KEY = jax.random.key(0)


@entry(
    "L7-11",
    "L5-18",
    title="FIGURE: a density of integers falls below every bound, one of dequantized integers does not",
)
def degenerate(context: Context) -> list[Check]:
    """The negative log-likelihood without and with noise, against the entropy of the data."""
    record = context.figure("degenerate")
    plain, entropy = record["nats_without_dequantization"], record["entropy_nats"]
    noisy = record["nats_with_uniform_dequantization"]
    return [
        at_most("without noise at the end, less the entropy", plain[-1] - entropy, 0.0),
        at_least("with noise, smallest, less the entropy", min(noisy) - entropy, -0.05),
    ]


@entry(
    "L7-12",
    "L7-15",
    "L7-16",
    "L7-18",
    title="Discretized logistics: bins sum to 1, also at the ends",
)
def discretized(context: Context) -> list[Check]:
    """Sums over 256 levels for random scales, tiny ones and far means; an unseen value keeps some mass."""
    del context
    levels = jnp.arange(256)
    rng = np.random.RandomState(0)
    worst = 0.0
    for loc, scale in [
        *zip(rng.uniform(0, 255, 5), rng.uniform(0.3, 40, 5), strict=True),
        (128.0, 1e-4),
        (-500.0, 3.0),
    ]:
        dist = dgm.densities.DiscretizedFromCDF(
            distrax.Logistic(jnp.float32(loc), jnp.float32(scale)), 256
        )
        worst = max(worst, abs(float(jnp.exp(dist.log_prob(levels)).sum()) - 1))
    mass = dgm.densities.DiscretizedFromCDF(
        distrax.Logistic(jnp.float32(100.0), jnp.float32(5.0)), 256
    )
    unseen = float(jnp.exp(mass.log_prob(jnp.asarray(140))))
    return [
        at_most("largest distance of a sum from 1", worst, 1e-5),
        at_least("mass of a value that was never seen", unseen, 1e-6),
    ]


@entry("L7-14", title="FIGURE: the distribution of pixel values")
def pixel_values(context: Context) -> list[Check]:
    """The shares sum to 1; the ends stand out."""
    record = context.figure("pixel_histogram")
    return [
        close("sum of the shares", float(np.sum(record["share"])), 1.0, 1e-9),
        at_least(
            "share of 0 over the median share",
            record["share_of_the_ends"][0] / record["median_share"],
            2.0,
        ),
    ]


@entry(
    "L7-19",
    "L7-23",
    "D3-18",
    title="Uniform noise: it stays in its bin and is a sigmoid of logistic noise",
)
def uniform(context: Context) -> list[Check]:
    """``floor(y + u) = y``, the mean of u, and the interval shifted by a half."""
    del context
    y = jnp.tile(jnp.arange(17), 2_000)[:, None]
    noise = dgm.UniformDequantization((1,))
    x = noise.dequantize(y, seed=_KEY)[0]
    shifted = dgm.UniformDequantization((1,), low=-0.5).dequantize(y, seed=_KEY)[0]
    u = np.asarray(x - y)
    logistic = np.asarray(jax.nn.sigmoid(jax.random.logistic(_KEY, (20_000,))))
    distance = np.abs(np.sort(logistic) - (np.arange(20_000) + 0.5) / 20_000).max()
    return [
        close("share of floors that are the integer", float((jnp.floor(x) == y).mean()), 1.0, 0.0),
        close("mean of u", float(u.mean()), 0.5, 0.01),
        close(
            "difference of the two intervals", float(jnp.abs(x - shifted - 0.5).max()), 0.0, 1e-4
        ),
        at_most("KS statistic of a sigmoid of logistic noise", math.sqrt(20_000) * distance, 1.95),
    ]


@entry(
    "L7-20",
    "L5-17",
    "L5-22",
    "A4-27",
    title="FIGURE: the gap of the bound against importance samples",
)
def gap(context: Context) -> list[Check]:
    """One density with known masses, several kinds of noise: gaps are positive and close with K."""
    record = context.figure("gap")
    checks = []
    for name, values in record["gaps"].items():
        checks.append(falling(f"gap with K, {name}: least fall", values["gap"]))
        lowest = values["gap"][-1] + 4 * values["gap_standard_error"][-1]
        checks.append(at_least(f"gap at the largest K plus 4 standard errors, {name}", lowest, 0.0))
    return checks


@entry(
    "L7-21",
    "L7-22",
    "L7-24",
    "L5-19",
    "L5-21",
    title="FIGURE: hypercubes of uniform noise, and variational noise",
)
def hypercubes(context: Context) -> list[Check]:
    """Variational noise gives the tighter bound; both stay above the exact value."""
    record = context.figure("hypercubes")
    uniform, variational = record["uniform"], record["variational"]
    slack = 4 * uniform["standard_error_nats"]
    return [
        at_least(
            "uniform: bound less exact, nats", uniform["nats"] - uniform["exact_nats"], -slack
        ),
        at_least(
            "variational: bound less exact, nats",
            variational["nats"] - variational["exact_nats"],
            -slack,
        ),
        at_least(
            "gap of uniform less gap of variational noise, nats",
            (uniform["nats"] - uniform["exact_nats"])
            - (variational["nats"] - variational["exact_nats"]),
            0.0 if not context.quick else -0.01,
        ),
    ]


@entry("L7-13", title="Discretize the model or dequantize the data: both find the entropy of a toy")
def both_ways(context: Context) -> list[Check]:
    """A VAE-free comparison: a mixture of discretized logistics and a dequantized spline flow on one integer."""
    rng = np.random.RandomState(0)
    mass = np.array([0.05, 0.3, 0.1, 0.05, 0.35, 0.15])
    y = rng.choice(6, size=(4_000, 1), p=mass)
    held = rng.choice(6, size=(4_000, 1), p=mass)
    entropy = -float((mass * np.log(mass)).sum())
    flow = dgm.NeuralSplineFlow(
        (2,), depth=2, width=32, rngs=nnx.Rngs(0), preprocess=dgm.Standardize((2,))
    )
    # Couplings need two elements: the second is an independent fair coin of 6 sides, whose entropy is log 6.
    pairs, held_pairs = (np.concatenate([a, rng.randint(0, 6, a.shape)], 1) for a in (y, held))
    model = dgm.fit(
        dgm.Dequantized(flow, 6), pairs, seed=_KEY, steps=context.size(800, 3_000), learning_rate=5e-3,
        watch=dgm.Watch(progress=False),
    ).model  # fmt: skip
    nats = dgm.log_likelihood(
        model, jnp.asarray(held_pairs), seed=_KEY, num_samples=16
    ).negative_log_likelihood - math.log(6)
    head = jnp.asarray(np.log(np.bincount(y[:, 0], minlength=6) / len(y)))
    categorical = -float(head[held[:, 0]].mean())
    return [
        close("entropy found by a categorical model, nats", categorical, entropy, 0.03),
        close("by a dequantized flow (K = 16), nats", nats, entropy, 0.08),
    ]


@entry("L5-20", title="The bound of a data set is the sum of those of its examples")
def sum_of_bounds(context: Context) -> list[Check]:
    """Uniform noise under a logistic density, whose masses are known: ``sum_i E log p(y_i + u) <= log P(Y)``."""
    del context
    base = distrax.Independent(distrax.Logistic(jnp.full(1, 5.0), jnp.full(1, 1.5)), 1)
    model = dgm.Dequantized(dgm.Flow(dgm.Permute((1,), [0]), base), 11)
    y = jnp.asarray(np.random.RandomState(0).randint(0, 11, (200, 1)))
    keys = jax.random.split(_KEY, 200)
    together = model.log_prob(y, seed=keys)
    singly = sum(float(model.log_prob(y[i], seed=keys[i])) for i in range(5))
    cdf = base.distribution.cdf
    exact = jnp.log(cdf(y + 1.0) - cdf(y + 0.0))[:, 0]
    totals = jax.jit(lambda keys: jax.lax.map(lambda key: model.log_prob(y, seed=key).sum(), keys))
    draws = np.asarray(totals(jax.random.split(_KEY, 1_000)), np.float64)
    gap = float(exact.sum()) - draws.mean()
    return [
        close(
            "five examples one by one less the same of the batch, nats",
            singly - float(together[:5].sum()),
            0.0,
            1e-4,
        ),
        at_least(
            "log-mass of 200 examples less the bound, less 4 standard errors, nats",
            gap - 4 * draws.std() / math.sqrt(len(draws)),
            0.0,
        ),
    ]
