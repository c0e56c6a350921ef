"""Couplings with the monotone transformers: mixture CDFs and splines."""

import functools
from collections.abc import Callable

import jax
from flax import nnx

import dgmjax as dgm
from dgmjax.bijectors.mixture_cdf import MixtureCDFTransformer
from dgmjax.bijectors.spline import SplineTransformer
from tests.instances import Instance


def _coupling(
    size: int, mask: str, transformer: dgm.bijectors.Transformer, context_size: int | None = None
) -> Callable[[nnx.Rngs], dgm.Coupling]:
    def make(rngs: nnx.Rngs) -> dgm.Coupling:
        return dgm.Coupling(
            (size,),
            mask=mask,
            make_conditioner=functools.partial(
                dgm.nets.MLP, width=16, activation="tanh", dropout=0.3, rngs=rngs
            ),
            transformer=transformer,
            context_shape=None if context_size is None else (context_size,),
        )

    return make


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return 1.5 * jax.random.normal(key, shape)


ROWS: dict[str, Instance] = {
    "coupling, mixture cdf": Instance(
        _coupling(4, "alternating", MixtureCDFTransformer(3)), _normal
    ),
    "coupling, mixture cdf, context": Instance(
        _coupling(3, "half", MixtureCDFTransformer(4), 2), _normal, context_shape=(2,)
    ),
    # Some elements lie outside the bound.
    "coupling, spline": Instance(
        _coupling(4, "alternating", SplineTransformer(5, bound=2.0)), _normal
    ),
    "coupling, spline, context": Instance(
        _coupling(3, "half", SplineTransformer(4), 2), _normal, context_shape=(2,)
    ),
}
