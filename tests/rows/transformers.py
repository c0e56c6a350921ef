"""Couplings with the monotone transformers: mixture CDFs and splines."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import dgmjax as dgm
from dgmjax.bijectors.mixture_cdf import MixtureCDFTransformer
from dgmjax.bijectors.spline import SplineTransformer
from tests.instances import Instance


def _coupling(
    size: int,
    mask: str,
    transformer: dgm.bijectors.Transformer,
    context_size: int | None = None,
    activation: Any = "tanh",
) -> Callable[[nnx.Rngs], dgm.Coupling]:
    def make(rngs: nnx.Rngs) -> dgm.Coupling:
        return dgm.Coupling(
            (size,),
            mask=mask,
            make_conditioner=functools.partial(
                dgm.nets.MLP, width=16, activation=activation, dropout=0.3, rngs=rngs
            ),
            transformer=transformer,
            context_shape=None if context_size is None else (context_size,),
        )

    return make


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return 1.5 * jax.random.normal(key, shape)


def _positive(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.uniform(key, shape, minval=0.05, maxval=5.0)


def _autoregressive(
    transformer: dgm.bijectors.Transformer,
) -> Callable[[nnx.Rngs], dgm.MaskedAutoregressive]:
    return lambda rngs: dgm.MaskedAutoregressive(
        (3,), transformer=transformer, width=8, activation="tanh", rngs=rngs
    )


def _elementwise(
    transformer: dgm.bijectors.Transformer, event_shape: tuple[int, ...]
) -> Callable[[nnx.Rngs], dgm.Elementwise]:
    return lambda _: dgm.Elementwise(transformer, event_shape)


def _conditional(rngs: nnx.Rngs) -> dgm.Elementwise:
    make = functools.partial(dgm.nets.MLP, width=8, activation="tanh", dropout=0.3, rngs=rngs)
    return dgm.Elementwise(SplineTransformer(4), (3,), context_shape=(2,), make_conditioner=make)


def _angle(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.uniform(key, shape, minval=-3.1, maxval=3.1)


# A spline of the circle behind a rotation; and one angle among real numbers.
CLOSED = dgm.ComposedTransformer(
    (dgm.bijectors.RotationTransformer(), dgm.bijectors.CircularSplineTransformer(4))
)
MIXED = dgm.bijectors.MixedTransformer((SplineTransformer(3), CLOSED, dgm.AffineTransformer()))


# An affine map, then a softplus.
POSITIVE = dgm.ComposedTransformer((dgm.SoftplusTransformer(), dgm.AffineTransformer()))

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
    "coupling, functions for names": Instance(
        _coupling(4, "half", dgm.AffineTransformer(jnp.arctan), activation=jax.nn.mish), _normal
    ),
    "coupling, positive data": Instance(_coupling(4, "half", POSITIVE), _positive),
    "half of the elements through a leaky relu": Instance(
        _coupling(4, "half", dgm.LeakyReLUTransformer(0.3)), _normal
    ),
    "autoregressive, positive data": Instance(_autoregressive(POSITIVE), _positive),
    "autoregressive, no parameters": Instance(
        _autoregressive(dgm.LeakyReLUTransformer(0.3)), _normal
    ),
    "elementwise, affine": Instance(_elementwise(dgm.AffineTransformer(), (2, 3)), _normal),
    "elementwise, spline": Instance(_elementwise(SplineTransformer(4, bound=5.0), (3,)), _normal),
    "elementwise, spline, context, dropout": Instance(_conditional, _normal, context_shape=(2,)),
    "elementwise, angles": Instance(_elementwise(CLOSED, (3,)), _angle),
    "coupling, numbers and an angle": Instance(_coupling(3, "half", MIXED), _angle),
    "coupling, angles, context": Instance(
        _coupling(4, "alternating", CLOSED, 2), _angle, context_shape=(2,)
    ),
    "autoregressive, numbers and an angle": Instance(
        lambda rngs: dgm.MaskedAutoregressive(
            (3,), transformer=MIXED, width=8, activation="tanh", sequential="jacobi", rngs=rngs
        ),
        _angle,
    ),
    "elementwise, mixture cdf": Instance(_elementwise(MixtureCDFTransformer(3), (2, 2)), _normal),
    "elementwise, tanh of a spline": Instance(
        _elementwise(
            dgm.ComposedTransformer(
                (dgm.TanhTransformer(), SplineTransformer(3), dgm.AffineTransformer("exp"))
            ),
            (3,),
        ),
        lambda key, shape: jax.random.uniform(key, shape, minval=-0.9, maxval=0.9),
    ),
}
