"""Rows of the reversible residual blocks."""

import jax
from flax import nnx

import dgmjax as dgm
from tests.instances import Instance


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return 1.5 * jax.random.normal(key, shape)


def _stack(rngs: nnx.Rngs) -> dgm.Bijector:
    return dgm.Stack([dgm.RevBlock((3, 2, 4), rngs=rngs) for _ in range(2)], reversible=True)


ROWS: dict[str, Instance] = {
    "RevNet blocks, reversible stack": Instance(_stack, _normal),
    "RevNet block, bottleneck": Instance(
        lambda rngs: dgm.RevBlock((3, 2, 16), kind="bottleneck", rngs=rngs), _normal
    ),
    "i-RevNet block": Instance(
        lambda rngs: dgm.IRevBlock((1, 2, 8), activate_first=False, rngs=rngs), _normal
    ),
    "i-RevNet block, stride": Instance(
        lambda rngs: dgm.IRevBlock((2, 4, 4), stride=2, rngs=rngs), _normal
    ),
}
