"""Residual layers."""

import jax
from flax import nnx

from dgmjax.layers.residual import Residual
from dgmjax.models.residual_flow import ResidualFlow
from dgmjax.nets.lipschitz import LipschitzConv, LipschitzMLP
from tests.instances import Instance


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return 1.5 * jax.random.normal(key, shape)


def _vector(rngs: nnx.Rngs) -> Residual:
    return Residual((3,), LipschitzMLP(3, 3, width=8, rngs=rngs))


def _image(rngs: nnx.Rngs) -> Residual:
    return Residual((3, 2, 1), LipschitzConv((3, 2, 1), width=3, rngs=rngs))


def _context(rngs: nnx.Rngs) -> Residual:
    net = LipschitzMLP(3, 3, width=8, depth=1, context_size=2, rngs=rngs)
    return Residual((3,), net, context_shape=(2,))


def _flow(rngs: nnx.Rngs) -> nnx.Module:
    return ResidualFlow((2,), depth=2, width=8, hidden_layers=1, rngs=rngs).bijector


ROWS: dict[str, Instance] = {
    "residual, vector": Instance(_vector, _normal),
    "residual, image": Instance(_image, _normal),
    "residual, context": Instance(_context, _normal, context_shape=(2,)),
    "residual, flow": Instance(_flow, _normal),
}
