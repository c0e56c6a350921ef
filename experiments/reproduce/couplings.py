"""Couplings: the blocks of their Jacobian, and what keeps volume."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast, scramble
from experiments.reproduce._modules import KEY, distance, float64, round_trip
from experiments.reproduce.entry import Check, Context, at_most, close, entry


@entry(
    "L7-05",
    "L7-06",
    "L7-07",
    "D3-13",
    "D3-14",
    title="Affine coupling: one evaluation each way, det = prod of scales",
)
def coupling(context: Context) -> list[Check]:
    """The blocks of the Jacobian: identity, zero, and a diagonal of scales."""
    del context
    one = scramble(
        dgm.Coupling(
            (6,),
            mask="half",
            make_conditioner=functools.partial(dgm.nets.MLP, width=32, rngs=nnx.Rngs(0)),
            transformer=dgm.bijectors.AffineTransformer(),
        ),
        KEY,
        scale=0.3,
    )
    x = jax.random.normal(KEY, (16, 6))
    jacobian = np.asarray(jax.vmap(jax.jacfwd(one.inverse))(x))
    kept = np.flatnonzero(np.all(np.abs(jacobian - np.eye(6)).max(0) == 0, axis=1))
    moved = np.setdiff1d(np.arange(6), kept)
    block = jacobian[:, moved][:, :, moved]
    off = np.abs(block * (1 - np.eye(len(moved)))).max()
    diagonal = np.log(np.abs(np.diagonal(block, axis1=1, axis2=2))).sum(1)
    return [
        *round_trip(one, x),
        close("elements that stay", len(kept), 3, 0),
        close("largest derivative beside the diagonal of the moved block", float(off), 0.0, 0.0),
        at_most(
            "log-determinant less sum of log-scales",
            distance(one.inverse_log_det(x), jnp.asarray(diagonal)),
            1e-5,
        ),
    ]


@entry("D3-06", "D3-15", title="Volume: permutations and additive couplings keep it")
def volume(context: Context) -> list[Check]:
    """Log-determinants that are exactly 0; a swap of two elements has the sign -1."""
    del context
    x = jax.random.normal(KEY, (8, 6))
    swap = dgm.Permute((6,), [1, 0, 2, 3, 4, 5])
    nice: Any = dgm.NICE((6,), depth=4, width=16, rngs=nnx.Rngs(0)).bijector
    additive = scramble(nice.layers[0], KEY, scale=0.3)
    sign, _ = jnp.linalg.slogdet(jax.jacfwd(swap.inverse)(x[0]))
    return [
        close(
            "log-determinant of a permutation", float(jnp.abs(swap.inverse_log_det(x)).max()), 0, 0
        ),
        close(
            "log-determinant of additive couplings",
            float(jnp.abs(additive.inverse_log_det(x)).max()),
            0,
            0,
        ),
        close("sign of a swap", float(sign), -1, 0),
    ]


@entry(
    "L7-08", title="A coupling is an autoregressive layer: constants, then functions of what stays"
)
def special_case(context: Context) -> list[Check]:
    """Parameters 0 for the first half and the coupling's network for the second, in the same elementwise map."""
    del context
    with float64():
        one = cast(
            scramble(
                dgm.Coupling(
                    (6,),
                    mask="half",
                    make_conditioner=functools.partial(dgm.nets.MLP, width=32, rngs=nnx.Rngs(0)),
                    transformer=dgm.bijectors.AffineTransformer(),
                ),
                KEY,
                scale=0.3,
            ),
            jnp.float64,
        )
        x = jax.random.normal(KEY, (16, 6))
        params = jnp.concatenate([jnp.zeros((16, 3, 2)), one.conditioner(x[:, :3])], 1)
        z, log_slopes = one.transformer.inverse(x, params)
        expected, log_det = one.inverse_and_log_det(x)
        return [
            at_most("largest difference of latents", distance(z, expected), 1e-12),
            at_most(
                "largest difference of log-determinants",
                distance(log_slopes.sum(-1), log_det),
                1e-12,
            ),
        ]
