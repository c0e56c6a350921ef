"""Rows of layers made of layers, of adapters, and of the affine forms."""

import functools
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import nnx

import dgmjax as dgm
from tests.instances import Instance


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return 1.5 * jax.random.normal(key, shape)


def pair(size: int, context_shape: tuple[int, ...] | None, rngs: nnx.Rngs) -> dgm.Bijector:
    """Two couplings of complementary masks, with dropout."""
    make = functools.partial(dgm.nets.MLP, width=8, activation="tanh", dropout=0.3, rngs=rngs)
    return dgm.Chain(
        [
            dgm.Coupling(
                (size,),
                mask=mask,
                make_conditioner=make,
                transformer=dgm.bijectors.AffineTransformer(),
                context_shape=context_shape,
            )
            for mask in ("alternating", [False, True] * (size // 2))
        ]
    )


def stack(num_layers: int = 3, context_shape: tuple[int, ...] | None = None, **options: Any):
    """A stack of `pair`."""
    return lambda rngs: dgm.Stack(
        [pair(4, context_shape, rngs) for _ in range(num_layers)], **options
    )


def _swapping(rngs: nnx.Rngs) -> dgm.Bijector:
    make = functools.partial(dgm.nets.MLP, width=8, activation="tanh", dropout=0.3, rngs=rngs)
    transformer = dgm.bijectors.AffineTransformer()
    return dgm.Stack(
        [
            dgm.Coupling(
                (4,), mask="half", make_conditioner=make, transformer=transformer, swap=True
            )
            for _ in range(3)
        ]
    )


def _block(rngs: nnx.Rngs) -> dgm.Bijector:
    return dgm.Block(dgm.PLULinear((3,), rngs=rngs), (3, 2))


def _conditional_block(rngs: nnx.Rngs) -> dgm.Bijector:
    return dgm.Block(pair(4, (2,), rngs), (3,))


def _encoded(rngs: nnx.Rngs) -> dgm.Bijector:
    encoder = dgm.nets.MLP(3, (2,), width=8, activation="tanh", rngs=rngs)
    return dgm.layers.EncodedContext(pair(4, (2,), rngs), encoder, (3,))


def _side_by_side(rngs: nnx.Rngs) -> dgm.Bijector:
    leaky = dgm.Elementwise(dgm.LeakyReLUTransformer(0.3), (1,))
    return dgm.Concatenate([dgm.ActNorm((1,)), pair(2, (2,), rngs), leaky])


def _affine(**options: Any):
    return lambda rngs: dgm.Coupling(
        (4,),
        mask="half",
        make_conditioner=functools.partial(
            dgm.nets.MLP, width=8, activation="tanh", dropout=0.3, rngs=rngs
        ),
        transformer=dgm.bijectors.AffineTransformer(**options),
    )


def _autoregressive(transformer: dgm.bijectors.Transformer):
    return lambda rngs: dgm.MaskedAutoregressive(
        (3,), transformer=transformer, width=8, activation="tanh", rngs=rngs
    )


def _distrax(rngs: nnx.Rngs) -> dgm.Bijector:
    del rngs
    bijector = distrax.Block(distrax.Chain([distrax.Tanh(), _scalar_affine()]), 1)
    return dgm.from_distrax(bijector, (2, 3))


def _scalar_affine() -> distrax.Bijector:
    # Arrays, since distrax's own conversions leave weak types that a cast of the module cannot see.
    return distrax.ScalarAffine(jnp.full((), 0.1), jnp.full((), 0.5))


ROWS: dict[str, Instance] = {
    "stack": Instance(stack(), _normal),
    "stack, reversible, context": Instance(
        stack(2, (2,), reversible=True), _normal, context_shape=(2,)
    ),
    "stack, remat": Instance(stack(2, remat=True), _normal),
    "stack, parts change places": Instance(_swapping, _normal),
    "block": Instance(_block, _normal),
    "block of couplings, context": Instance(_conditional_block, _normal, context_shape=(2,)),
    "couplings, encoded context": Instance(_encoded, _normal, context_shape=(3,)),
    "couplings beside others, context": Instance(_side_by_side, _normal, context_shape=(2,)),
    "fixed affine, turned round": Instance(
        lambda _: dgm.layers.FixedAffine((2, 3), shift=0.5, scale=-2.0), _normal
    ),
    "coupling, shift first": Instance(_affine(shift_first=True), _normal),
    "coupling, softplus scale": Instance(_affine(scale_fn="softplus"), _normal),
    "autoregressive, gated": Instance(_autoregressive(dgm.bijectors.GatedTransformer()), _normal),
    "autoregressive, spline": Instance(
        _autoregressive(dgm.bijectors.SplineTransformer(4)), _normal
    ),
    "from distrax": Instance(
        _distrax, lambda key, shape: jax.random.uniform(key, shape, minval=-0.9, maxval=0.9)
    ),
}
