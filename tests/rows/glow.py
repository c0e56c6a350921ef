"""Rows of Glow: learned priors, and the whole flow with its levels."""

from collections.abc import Callable

import jax
from flax import nnx

import dgmjax as dgm
from tests.instances import Instance


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.normal(key, shape)


def glow(**options) -> Callable[[nnx.Rngs], dgm.Bijector]:
    def make(rngs: nnx.Rngs) -> dgm.Bijector:
        return dgm.Glow(
            (4, 4, 1), levels=2, depth=2, width=4, activation="tanh", rngs=rngs, **options
        ).bijector

    return make


ROWS: dict[str, Instance] = {
    "Gaussian prior, context": Instance(
        lambda rngs: dgm.GaussianPrior((2, 2, 3), context_shape=(2,), rngs=rngs),
        _normal,
        context_shape=(2,),
    ),
    "glow": Instance(glow(), _normal, slow=True),
    "glow, additive, context, plain scan": Instance(
        glow(coupling="additive", context_shape=(2,), reversible=False, parametrization="dense"),
        _normal,
        context_shape=(2,),
        slow=True,
    ),
}
