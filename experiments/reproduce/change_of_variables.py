"""Change of variables: by hand, by distribution functions, in chains, in two dimensions, trained."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from scipy import stats

import dgmjax as dgm
from dgmjax.testing import cast, scramble
from experiments.reproduce._modules import KEY, float64, round_trip
from experiments.reproduce.entry import Check, Context, at_least, at_most, close, entry


@entry("D3-03", "D3-04", "D3-05", title="Change of variables: x = 2u + 1 of a standard normal")
def change_of_variables(context: Context) -> list[Check]:
    """``p(3) = N(3 | 1, 4) = 0.1209853623``."""
    del context
    params = (jnp.asarray(1.0), jnp.log(2.0))
    u, log_det = dgm.bijectors.affine_inverse(jnp.asarray(3.0), *params)
    density = float(jnp.exp(jax.scipy.stats.norm.logpdf(u) + log_det))
    _, forward = dgm.bijectors.affine_forward(u, *params)
    return [
        close("p(3)", density, 0.1209853623, 1e-7),
        close("log-determinants of both directions together", float(log_det + forward), 0.0, 1e-7),
    ]


def _kolmogorov_smirnov(u: np.ndarray) -> float:
    """``sqrt(n)`` times the largest distance from the uniform distribution; above 1.95 in 1 of 1000."""
    return float(math.sqrt(len(u)) * stats.kstest(u, "uniform").statistic)


@entry("D3-07", "D3-08", title="Inverse transform sampling is a flow; Rosenblatt in two dimensions")
def rosenblatt(context: Context) -> list[Check]:
    """A mixture of two Gaussians to independent uniforms, both coordinates tested."""
    del context
    layer = dgm.GaussianMixtureRosenblatt(
        jnp.array([0.4, 0.6]),
        jnp.array([[-1.0, 0.5], [1.5, -0.5]]),
        jnp.array([[[1.0, 0.6], [0.6, 1.0]], [[0.5, -0.2], [-0.2, 0.3]]]),
    )
    u = jax.random.uniform(KEY, (4_000, 2), minval=1e-6, maxval=1 - 1e-6)
    x = layer.forward(u)
    back = np.asarray(layer.inverse(x))
    rng = np.random.RandomState(0)
    component = rng.rand(4_000) < 0.4
    means = np.where(component[:, None], [-1.0, 0.5], [1.5, -0.5])
    first = np.linalg.cholesky([[1.0, 0.6], [0.6, 1.0]])
    second = np.linalg.cholesky([[0.5, -0.2], [-0.2, 0.3]])
    noise = rng.normal(size=(4_000, 2))
    samples = means + np.where(component[:, None], noise @ first.T, noise @ second.T)
    v = np.asarray(layer.inverse(jnp.asarray(samples, jnp.float32)))
    return [
        at_most("largest error of the round trip", float(np.abs(back - np.asarray(u)).max()), 1e-4),
        at_most(
            "Kolmogorov-Smirnov statistic, first coordinate", _kolmogorov_smirnov(v[:, 0]), 1.95
        ),
        at_most(
            "Kolmogorov-Smirnov statistic, second coordinate", _kolmogorov_smirnov(v[:, 1]), 1.95
        ),
        at_most("correlation of the coordinates", abs(float(np.corrcoef(v.T)[0, 1])), 0.06),
    ]


@entry("D3-11", "A4-25", title="Composition: log-determinants add up at the intermediate points")
def composition(context: Context) -> list[Check]:
    """A chain of four layers against its dense Jacobian, in float64."""
    del context
    with float64():
        flow = scramble(dgm.RealNVP((4,), depth=4, width=16, rngs=nnx.Rngs(0)), KEY, scale=0.15)
        chain = cast(flow, jnp.float64).bijector
        return round_trip(chain, jax.random.normal(KEY, (16, 4)), 1e-10)


@entry("D3-12", "D3-40", title="The plane: densities of two dimensions, learned and true")
def plane(context: Context) -> list[Check]:
    """RealNVP on two moons: the KL from the known density, by held-out points."""
    model, result, config = context.trained("realnvp_two_moons", steps=600)
    test = result["test"]
    toy = dgm.data.TOYS[config.data]
    samples = model.sample(seed=KEY, sample_shape=(5_000,))
    dgm.plots.density_2d(
        model.log_prob,
        context.picture("two_moons"),
        data=toy.sample(seed=KEY, sample_shape=5_000),
        samples=samples,
        true_log_prob=toy.log_prob,
        title="two moons",
    )
    gap = test["nats"] - test["nats_of_the_true_density"]
    return [
        at_least("KL from the true density, nats", gap, -0.05),
        at_most("KL from the true density, nats", gap, 0.1 if context.quick else 0.05),
    ]


@entry("D3-09", title="Training needs only the direction from data to latents")
def one_direction(context: Context) -> list[Check]:
    """A flow whose other direction raises is trained all the same."""

    class OneWay(dgm.Bijector):
        def __init__(self) -> None:
            self.event_shape = (2,)
            self.log_scale = nnx.Param(jnp.zeros(2))

        def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
            scale = jnp.broadcast_to(self.log_scale[...], x.shape)
            return x * jnp.exp(-scale), -scale.sum(-1)

    x = 3.0 * jax.random.normal(KEY, (2_000, 2))
    fitted = dgm.fit(
        dgm.Flow(OneWay()), x, seed=KEY, steps=context.size(300, 300), optimizer=optax.adam(0.03),
        ema_decay=0.0, watch=dgm.Watch(progress=False),
    )  # fmt: skip
    trained: Any = fitted.model.bijector
    scale = float(jnp.exp(trained.log_scale[...]).mean())
    return [close("scale found, of 3", scale, 3.0, 0.1)]
