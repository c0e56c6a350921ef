"""Rows of whole flows on images, their learned priors and the layers only they use."""

from collections.abc import Callable

import jax
from flax import nnx

import dgmjax as dgm
from tests.instances import Instance
from tests.rows.image import TinyConv


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.normal(key, shape)


def glow(shape: tuple[int, int, int], **options) -> Callable[[nnx.Rngs], dgm.Bijector]:
    def make(rngs: nnx.Rngs) -> dgm.Bijector:
        return dgm.Glow(shape, width=4, activation="tanh", rngs=rngs, **options).bijector

    return make


def realnvp(shape: tuple[int, int, int], **options) -> Callable[[nnx.Rngs], dgm.Bijector]:
    def make(rngs: nnx.Rngs) -> dgm.Bijector:
        return dgm.ImageRealNVP(
            shape, depth=2, width=4, hidden_layers=1, activation="tanh", rngs=rngs, **options
        ).bijector

    return make


def nice(rngs: nnx.Rngs) -> dgm.Bijector:
    return dgm.NICE((2, 3, 1), depth=3, width=5, activation="tanh", rngs=rngs).bijector


ROWS: dict[str, Instance] = {
    "reshape": Instance(lambda _: dgm.Reshape((2, 3, 1), (3, 2)), _normal),
    "shuffle": Instance(lambda rngs: dgm.Shuffle((2, 1, 5), rngs=rngs), _normal),
    "NICE, images": Instance(nice, _normal),
    # Two levels, with the networks of the rows of couplings.
    "RealNVP, images, dropout": Instance(
        realnvp((4, 6, 1), normalization="none", conditioner=TinyConv), _normal
    ),
    "RealNVP, images, batch norm, context": Instance(
        realnvp(
            (2, 3, 2),
            levels=1,
            normalization="batch",
            context_shape=(2,),
            reversible=True,
            widen=False,
        ),
        _normal,
        context_shape=(2,),
    ),
    "glow, shuffle, anchors": Instance(
        glow((2, 4, 1), levels=1, depth=2, mixing="shuffle", anchor_every=1, principal=True),
        _normal,
    ),
    "Gaussian prior, context": Instance(
        lambda rngs: dgm.ConditionalAffine((2, 1, 3), context_shape=(2,), rngs=rngs),
        _normal,
        context_shape=(2,),
    ),
    "glow": Instance(glow((8, 4, 1), levels=2, depth=1), _normal),
    "glow, additive, context, plain scan": Instance(
        glow(
            (4, 2, 1),
            levels=1,
            depth=2,
            coupling="additive",
            context_shape=(2,),
            reversible=False,
            parametrization="dense",
        ),
        _normal,
        context_shape=(2,),
    ),
}
