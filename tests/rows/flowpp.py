"""Rows of Flow++: its layers, and small whole flows."""

from collections.abc import Callable

import jax
from flax import nnx

import dgmjax as dgm
from dgmjax.layers.checkerboard import CheckerboardHalves
from dgmjax.layers.halves_conv import HalvesConv
from dgmjax.models.flowpp import FlowPP
from dgmjax.models.flowpp_dequantizer import FlowPPDequantizer
from tests.instances import Instance


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.normal(key, shape)


def _unit(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.uniform(key, shape, minval=0.05, maxval=0.95)


def flowpp(
    shape: tuple[int, int, int] = (6, 4, 1), **options
) -> Callable[[nnx.Rngs], dgm.Bijector]:
    defaults = {"couplings": (2, 2, 2), "width": 4, "depth": 1, "num_components": 2, "num_heads": 2}

    def make(rngs: nnx.Rngs) -> dgm.Bijector:
        return FlowPP(shape, **{**defaults, **options}, rngs=rngs).bijector

    return make


def dequantizer(**options) -> Callable[[nnx.Rngs], dgm.Bijector]:
    def make(rngs: nnx.Rngs) -> dgm.Bijector:
        return FlowPPDequantizer(
            (4, 2, 1),
            couplings=2,
            width=4,
            depth=1,
            num_components=2,
            num_heads=2,
            encoder_width=2,
            encoder_depth=1,
            rngs=rngs,
            **options,
        ).bijector

    return make


ROWS: dict[str, Instance] = {
    "halves of a checkerboard": Instance(lambda _: CheckerboardHalves((3, 4, 2)), _normal),
    "halves of columns": Instance(
        lambda _: CheckerboardHalves((3, 4, 2), pattern="columns"), _normal
    ),
    "convolutions of halves": Instance(lambda rngs: HalvesConv((2, 3, 4), rngs=rngs), _normal),
    "Flow++": Instance(flowpp((4, 2, 1), couplings=(2, 0, 0), reversible=False), _normal),
    "Flow++, affine, reversible, context": Instance(
        flowpp(couplings=(0, 0, 1), coupling="affine", context_shape=(3,), remat_blocks=True),
        _normal,
        context_shape=(3,),
    ),
    "Flow++, three groups, no attention": Instance(
        flowpp(
            couplings=(1, 1, 1), coupling="affine", attention=False, reversible=False, remat=True
        ),
        _normal,
    ),
    "Flow++, dequantizer": Instance(dequantizer(), _unit, context_shape=(4, 2, 1)),
}
