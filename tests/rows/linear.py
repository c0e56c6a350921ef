"""Rows of permutations, linear maps and normalization."""

import jax
import numpy as np
from flax import nnx

import dgmjax as dgm
from dgmjax.layers.actnorm import ActNorm
from dgmjax.layers.batchnorm import BatchNorm
from dgmjax.layers.linear import (
    DenseLinear,
    DiagonalLinear,
    HouseholderLinear,
    OrthogonalLinear,
    PLULinear,
)
from dgmjax.layers.permute import Permute
from tests.instances import Instance


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return 1.5 * jax.random.normal(key, shape)


def _batch(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.RandomState(0).normal(3.0, 5.0, (20, *shape)).astype(np.float32)


def _after_update(rngs: nnx.Rngs) -> dgm.Bijector:
    del rngs
    return BatchNorm((4,), momentum=0.5).inverse_and_update(_batch((4,)))[2]


ROWS: dict[str, Instance] = {
    "permute, reverse": Instance(lambda _: Permute.reverse((5,)), _normal),
    "permute, shuffle, image": Instance(lambda _: Permute.shuffle((2, 1, 4), seed=1), _normal),
    "linear, dense": Instance(lambda rngs: DenseLinear((4,), rngs=rngs), _normal),
    "linear, PLU": Instance(lambda rngs: PLULinear((4,), rngs=rngs), _normal),
    "linear, Householder": Instance(lambda rngs: HouseholderLinear((4,), rngs=rngs), _normal),
    "linear, Householder, one reflection": Instance(
        lambda rngs: HouseholderLinear((3,), num_reflections=1, rngs=rngs), _normal
    ),
    "linear, Cayley": Instance(lambda rngs: OrthogonalLinear((4,), rngs=rngs), _normal),
    "linear, diagonal": Instance(lambda _: DiagonalLinear((2, 3)), _normal),
    "actnorm": Instance(lambda _: ActNorm((4,)).with_data_init(_batch((4,))), _normal),
    "actnorm, image": Instance(
        lambda _: ActNorm((3, 2, 2)).with_data_init(_batch((3, 2, 2))), _normal
    ),
    "batchnorm": Instance(_after_update, _normal),
    "batchnorm, image": Instance(
        lambda _: BatchNorm((3, 2, 2)).with_data_init(_batch((3, 2, 2))), _normal
    ),
}
