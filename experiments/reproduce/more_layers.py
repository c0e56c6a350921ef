"""Linear, residual and planar layers."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import scramble
from experiments.reproduce._modules import KEY, distance, round_trip
from experiments.reproduce.entry import Check, Context, at_least, at_most, close, entry


@entry(
    "D3-22",
    "L5-12",
    title="Linear flows: PLU keeps a rotation at the start, log-determinant in O(c)",
)
def linear(context: Context) -> list[Check]:
    """The factors of a random rotation, and a trained layer against its dense Jacobian."""
    del context
    rotation = jnp.linalg.qr(jax.random.normal(KEY, (8, 8)))[0]
    factors = dgm.bijectors.plu_factors(rotation)
    layer = scramble(dgm.PLULinear((8,), rngs=nnx.Rngs(0)), KEY, scale=0.1)
    return [
        at_most(
            "P L (U + diag s) less the rotation",
            distance(dgm.bijectors.plu_matrix(factors), rotation),
            1e-5,
        ),
        *round_trip(layer, jax.random.normal(KEY, (8, 8))),
    ]


@entry(
    "D3-24",
    title="Residual flows: Lipschitz bounds, series and unbiased log-determinants, fixed-point inverse",
)
def residual(context: Context) -> list[Check]:
    """Against the dense Jacobian; the roulette over many keys."""
    exact = scramble(
        dgm.ResidualFlow((4,), depth=2, width=32, log_det="exact", rngs=nnx.Rngs(0)), KEY, scale=0.3
    )
    x = jax.random.normal(KEY, (32, 4))
    checks = round_trip(exact.bijector, x, tolerance=3e-4)
    unbiased = scramble(
        dgm.ResidualFlow((4,), depth=2, width=32, log_det="unbiased", rngs=nnx.Rngs(0)),
        KEY,
        scale=0.3,
    )
    keys = jax.random.split(jax.random.key(2), context.size(2_000, 10_000))
    value = jax.jit(jax.vmap(lambda k: unbiased.bijector.inverse_and_log_det(x, key=k)[1].mean()))
    draws = dgm.numerics.map_rows(value, keys, batch_size=100)
    error = float(draws.std()) / math.sqrt(len(keys))
    gap = float(draws.mean() - exact.bijector.inverse_log_det(x).mean())
    return [*checks, at_most("bias of the roulette, in standard errors", abs(gap) / error, 3.0)]


@entry(
    "D3-28", title="Planar flows are invertible for all parameters under the corrected condition"
)
def planar(context: Context) -> list[Check]:
    """Random parameters after the constraint, and one point where the printed one fails."""
    del context
    keys = jax.random.split(KEY, 4)
    u, w = (5 * jax.random.normal(k, (10_000, 3)) for k in keys[:2])
    b = jax.random.normal(keys[2], (10_000,))
    z = 3 * jax.random.normal(keys[3], (10_000, 3))
    _, log_det = dgm.bijectors.planar_forward(z, dgm.bijectors.planar_constrain(u, w), w, b)
    finite = float(jnp.isfinite(log_det).mean())

    def slope(u: float) -> float:
        """Of the map of one sigmoid unit at its steepest point."""

        def one(z: jax.Array) -> jax.Array:
            unit = jnp.ones(1)
            return dgm.bijectors.planar_forward(z[None], u * unit, unit, jnp.zeros(()), "sigmoid")[
                0
            ][0]

        return float(jax.grad(one)(jnp.zeros(())))

    # Printed: w.u >= -1 / sup h, for the sigmoid -1; it is the largest slope, 1 / 4, that counts: -4.
    printed, wrong = slope(-3.0), slope(-5.0)
    return [
        close("share of finite log-determinants", finite, 1.0, 0.0),
        at_least(
            "smallest determinant at w.u = -3, sigmoid (refused by the printed condition)",
            printed,
            1e-6,
        ),
        at_most("smallest determinant at w.u = -5, sigmoid", wrong, 0.0),
    ]
