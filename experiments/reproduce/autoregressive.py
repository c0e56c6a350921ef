"""Autoregressive flows: what depends on what, both directions, and what each costs."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast, scramble
from experiments.reproduce._modules import KEY, distance, float64, round_trip
from experiments.reproduce.entry import Check, Context, at_least, at_most, close, entry

_DIM = 6


def layer(order: str | list[int] = "sequential", **options: Any) -> dgm.MaskedAutoregressive:
    """One affine layer of MAF with random weights, in the precision of the moment."""
    made = dgm.MaskedAutoregressive(
        (_DIM,),
        transformer=dgm.bijectors.AffineTransformer(),
        width=32,
        order=order,
        rngs=nnx.Rngs(0),
        **options,
    )
    return cast(scramble(made, KEY, scale=0.3), jnp.zeros(()).dtype)


class Counter(nnx.Module):
    """A network that counts its evaluations, also those of compiled loops.

    Args:
      network: called as it is.
      calls: gets one entry an evaluation.
    """

    def __init__(self, network: Any, calls: list[int]):
        self.network = nnx.data(network)
        self.note = lambda: calls.append(1)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """The network's output."""
        jax.debug.callback(self.note)
        return self.network(*arguments, **options)


def counted(made: dgm.MaskedAutoregressive) -> tuple[dgm.MaskedAutoregressive, list[int]]:
    """The layer with a network that counts, and the list that grows with every evaluation."""
    calls: list[int] = []
    new: Any = nnx.clone(made)
    new.conditioner = Counter(made.conditioner, calls)
    return new, calls


def evaluations(calls: list[int]) -> int:
    """How many there were since the last time."""
    jax.effects_barrier()
    number = len(calls)
    calls.clear()
    return number


@entry("L7-01", "L5-32", title="Gaussian autoregressive flow: triangular Jacobian, both directions")
def autoregressive(context: Context) -> list[Check]:
    """One layer in an order that is not that of the elements: ``z_j = (x_j - mu_j) / sigma_j`` of earlier ones.

    Layers alternate in order, so the Jacobian of several is full; it is that of each layer that is triangular.
    """
    del context
    order = [2, 0, 4, 1, 5, 3]
    with float64():
        made = layer(order)
        x = jax.random.normal(KEY, (16, _DIM))
        jacobian = np.asarray(jax.vmap(jax.jacfwd(made.inverse))(x))[:, order][:, :, order]
        log_scales = np.log(np.diagonal(jacobian, axis1=1, axis2=2)).sum(1)
        return [
            *round_trip(made, x, 1e-10),
            close(
                "largest derivative by later elements", np.abs(np.triu(jacobian, 1)).max(), 0.0, 0.0
            ),
            at_least(
                "smallest derivative by the element itself", np.diagonal(jacobian[0]).min(), 1e-3
            ),
            at_most(
                "log-determinant less minus the sum of log-scales",
                distance(made.inverse_log_det(x), jnp.asarray(log_scales)),
                1e-10,
            ),
        ]


@entry(
    "L7-02", title="The density takes one evaluation of the network, a sample as many as elements"
)
def costs(context: Context) -> list[Check]:
    """``x <- sigma(x) z + mu(x)`` from 0: every evaluation makes one more element exact."""
    del context
    with float64():
        made, calls = counted(layer())
        z = jax.random.normal(KEY, (16, _DIM))
        x, errors = jnp.zeros_like(z), []
        exact = layer().forward(z)
        for _ in range(_DIM):
            x, _ = made.transformer.forward(z, made.conditioner(x))
            errors.append(distance(x, exact))
        sampling = evaluations(calls)
        made.inverse_and_log_det(x)
        density = evaluations(calls)
        jacobi, calls = counted(layer(sequential="jacobi"))
        jacobi.forward_and_log_det(z)
        until_still = evaluations(calls)
    return [
        close("evaluations of a density", density, 1, 0),
        close("evaluations of samples, element by element", sampling, _DIM, 0),
        at_most("error after as many evaluations as elements", errors[-1], 1e-12),
        at_least("error after one less", errors[-2], 1e-6),
        at_least("evaluations until nothing changes (Jacobi)", until_still, _DIM),
        # One sees that nothing changes, one is for the rounding, one for the log-determinant.
        at_most("evaluations until nothing changes (Jacobi)", until_still, _DIM + 3),
    ]


@entry("L7-03", title="IAF is MAF the other way round")
def inverse_autoregressive(context: Context) -> list[Check]:
    """With the same weights one direction of either is the other direction of the other."""
    del context
    with float64():
        maf, z = layer(), jax.random.normal(KEY, (16, _DIM))
        iaf = dgm.Inverse(maf)
        return [at_most("largest difference", distance(iaf.forward(z), maf.inverse(z)), 1e-12)]


@entry(
    "L5-33",
    title="IAF with a gate is the plain form: sigma = 1 / sigma_hat, mu = -mu_hat / sigma_hat",
)
def gated(context: Context) -> list[Check]:
    """``z = s x + (1 - s) m`` with ``s = sigmoid(raw + 1)``, against ``(x - mu_hat) / sigma_hat``."""
    del context
    with float64():
        gate = dgm.bijectors.GatedTransformer(bias=1.0)
        plain = dgm.bijectors.AffineTransformer("exp")
        x, m, raw = jax.random.normal(KEY, (3, 50))
        s = jax.nn.sigmoid(raw + 1.0)
        z, log_slope = gate.inverse(x, jnp.stack([m, raw], -1))
        hat = jnp.stack([-(1.0 - s) * m / s, -jnp.log(s)], -1)  # mu_hat and log sigma_hat
        expected, expected_slope = plain.inverse(x, hat)
        return [
            at_most("largest difference of values", distance(z, expected), 1e-12),
            at_most("largest difference of log-slopes", distance(log_slope, expected_slope), 1e-12),
        ]


def _banana(x: jax.Array) -> jax.Array:
    """``N(x_0 | 0, 1) N(x_1 | x_0^2 / 2, 1/4)`` times ``e^3``."""
    residual = (x[1] - 0.5 * x[0] ** 2) / 0.5
    return -0.5 * x[0] ** 2 - 0.5 * residual**2 - math.log(2 * math.pi) - math.log(0.5) + 3.0


@entry(
    "L7-04", "L5-35", title="Reverse KL: an inverse autoregressive flow finds a known normaliser"
)
def reverse_kl(context: Context) -> list[Check]:
    """The bound on ``log Z = 3`` of a banana."""
    flow = dgm.IAF((2,), depth=4, width=32, activation="tanh", rngs=nnx.Rngs(context.seed))
    steps = context.size(800, 2_000)
    fitted = dgm.fit_density(flow, _banana, seed=KEY, steps=steps, learning_rate=1e-2).model
    x, log_q = fitted.sample_and_log_prob(seed=jax.random.key(1), sample_shape=(20_000,))
    weights = jax.vmap(_banana)(x) - log_q
    error = float(weights.std()) / math.sqrt(weights.size)
    mean = float(weights.mean())
    return [
        at_least("bound on log Z", mean, 3.0 - 0.03),
        at_most("bound on log Z, less 3 standard errors", mean - 3 * error, 3.0),
    ]


@entry("D3-23", title="Transformers of autoregressive flows are strictly increasing")
def slopes_of_transformers(context: Context) -> list[Check]:
    """Affine, mixtures of logistics, splines: slopes above 0 for random parameters."""
    del context
    z = jnp.linspace(-6, 6, 400)
    checks = []
    transformers: dict[str, Any] = {
        "affine": dgm.bijectors.AffineTransformer(),
        "mixture of logistics": dgm.bijectors.MixtureCDFTransformer(4),
        "spline": dgm.bijectors.SplineTransformer(8),
    }
    for name, transformer in transformers.items():
        raw = jax.random.normal(KEY, (400, transformer.num_params))
        slopes = jnp.exp(transformer.forward(z, raw)[1])
        checks.append(at_least(f"smallest slope, {name}", float(slopes.min()), 1e-6))
    return checks
