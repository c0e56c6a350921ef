"""Planar, radial and Sylvester layers."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

import dgmjax as dgm
from dgmjax.layers.planar import Planar
from dgmjax.layers.radial import Radial
from dgmjax.layers.sylvester import Sylvester
from tests.instances import Instance


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return 1.5 * jax.random.normal(key, shape)


def _far(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return 30.0 * jax.random.normal(key, shape)


def _make(cls: type[dgm.Bijector], size: int, **kwargs: Any) -> Callable[[nnx.Rngs], dgm.Bijector]:
    return lambda rngs: cls((size,), **kwargs, rngs=rngs)


def _amortized(
    cls: type[dgm.Bijector], size: int, **kwargs: Any
) -> Callable[[nnx.Rngs], dgm.Bijector]:
    def make(rngs: nnx.Rngs) -> dgm.Bijector:
        net = functools.partial(dgm.nets.MLP, width=8, depth=1, activation="tanh", rngs=rngs)
        return cls((size,), context_shape=(2,), make_conditioner=net, **kwargs, rngs=rngs)

    return make


ROWS: dict[str, Instance] = {
    "planar, tanh": Instance(_make(Planar, 4), _normal),
    "planar, sigmoid, far": Instance(_make(Planar, 3, h="sigmoid"), _far),
    "planar, softplus, one dimension": Instance(_make(Planar, 1, h="softplus"), _normal),
    "planar, context": Instance(_amortized(Planar, 3), _normal, context_shape=(2,)),
    "radial": Instance(_make(Radial, 4), _far),
    "radial, context": Instance(_amortized(Radial, 3), _normal, context_shape=(2,)),
    "sylvester, fewer units, leaky relu": Instance(
        _make(Sylvester, 4, num_units=2, num_reflections=3, h="leaky_relu"), _normal
    ),
    "sylvester, context": Instance(_amortized(Sylvester, 2), _normal, context_shape=(2,)),
}
