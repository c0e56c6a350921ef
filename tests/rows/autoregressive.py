"""Autoregressive layers in both directions and any order."""

from typing import Any

import jax
from flax import nnx

import dgmjax as dgm
from dgmjax.layers.autoregressive import MaskedAutoregressive
from tests.instances import Instance


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.normal(key, shape)


def layer(size: int, **options: Any):
    def make(rngs: nnx.Rngs) -> MaskedAutoregressive:
        settings = {"width": 12, "activation": "tanh"} | options
        return MaskedAutoregressive(
            (size,), transformer=dgm.bijectors.AffineTransformer(), rngs=rngs, **settings
        )

    return make


ROWS: dict[str, Instance] = {
    "autoregressive": Instance(layer(4), _normal),
    "autoregressive, reverse order": Instance(layer(3, order="reverse"), _normal),
    "autoregressive, any order": Instance(layer(5, order=[3, 0, 4, 1, 2]), _normal),
    "autoregressive, more elements than units": Instance(layer(6, width=3), _normal),
    "autoregressive, one hidden layer": Instance(layer(3, hidden_layers=1), _normal),
    "autoregressive, jacobi": Instance(
        layer(5, order=[3, 0, 4, 1, 2], sequential="jacobi"), _normal
    ),
    "autoregressive, jacobi, context": Instance(
        layer(3, order="reverse", sequential="jacobi", context_shape=(2,)),
        _normal,
        context_shape=(2,),
    ),
    "autoregressive, context": Instance(layer(3, context_shape=(2,)), _normal, context_shape=(2,)),
    "inverse autoregressive, context": Instance(
        lambda rngs: dgm.Inverse(layer(3, context_shape=(2,), order="reverse")(rngs)),
        _normal,
        context_shape=(2,),
    ),
}
