"""Elementwise maps, inverse CDFs and the Rosenblatt transform."""

from collections.abc import Callable

import distrax
import jax
import jax.numpy as jnp
import numpy as np

import dgmjax as dgm
from dgmjax.layers.inverse_cdf import GaussianMixtureRosenblatt, InverseCDF
from tests.instances import Instance


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return 1.5 * jax.random.normal(key, shape)


def _between(low: float, high: float) -> Callable[[jax.Array, tuple[int, ...]], jax.Array]:
    # Bounded, since u = F(x) loses the digits of x in the upper tail.
    return lambda key, shape: jax.random.uniform(key, shape, minval=low, maxval=high)


def normals() -> distrax.Distribution:
    return distrax.Normal(jnp.asarray([0.3, -1.0, 2.0]), jnp.asarray([0.8, 1.5, 3.0]))


FULL = (
    np.array([0.5, 0.3, 0.2]),
    np.array([[-1.0, 0.5], [1.0, 1.0], [0.5, -1.5]]),
    np.array([[[0.5, 0.3], [0.3, 0.6]], [[0.8, -0.4], [-0.4, 0.5]], [[0.3, 0.0], [0.0, 0.9]]]),
)
DIAGONAL = (
    np.array([1.0, 2.0]),
    np.array([[-1.0, 0.0], [1.0, 0.5]]),
    np.array([[1.0, 0.5], [0.6, 1.2]]),
)

ROWS: dict[str, Instance] = {
    "leaky relu": Instance(lambda _: dgm.Elementwise(dgm.LeakyReLUTransformer(0.2), (4,)), _normal),
    "softplus": Instance(
        lambda _: dgm.Elementwise(dgm.SoftplusTransformer(), (3,)), _between(0.05, 20.0)
    ),
    "sigmoid": Instance(
        lambda _: dgm.Elementwise(dgm.SigmoidTransformer(), (2, 2)), _between(0.02, 0.98)
    ),
    "tanh": Instance(lambda _: dgm.Elementwise(dgm.TanhTransformer(), (3,)), _between(-0.97, 0.97)),
    "inverse cdf, normals": Instance(lambda _: InverseCDF(normals(), (3,)), _between(-1.5, 1.5)),
    "rosenblatt": Instance(lambda _: GaussianMixtureRosenblatt(*FULL), _between(-1.5, 1.5)),
    "rosenblatt, one dimension": Instance(
        lambda _: GaussianMixtureRosenblatt([1.0, 2.0], [[-1.0], [1.0]], [[1.0], [0.6]]),
        _between(-1.5, 1.5),
    ),
}
