"""Rows of the layers for images: squeezing, couplings of pixels and channels, 1x1 convolutions."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import dgmjax as dgm
from dgmjax.layers.image_coupling import ImageCoupling
from dgmjax.layers.invertible_conv import Invertible1x1Conv
from dgmjax.layers.squeeze import Squeeze
from tests.instances import Instance


class TinyConv(nnx.Module):
    """A 3x3 and a 1x1 convolution with dropout in between; contexts are concatenated, vectors at every pixel."""

    def __init__(self, event_shape, out_channels, *, context_size=0, rngs: nnx.Rngs):
        self.first = nnx.Conv(event_shape[-1] + context_size, 6, (3, 3), rngs=rngs)
        self.last = nnx.Linear(6, out_channels, rngs=rngs)

    def __call__(self, x, context=None, *, key=None):
        if context is not None:
            if context.ndim < 3 or context.ndim == x.ndim - 2:  # vectors
                context = context[..., None, None, :]
            context = jnp.broadcast_to(context, (*x.shape[:-1], context.shape[-1]))
            x = jnp.concatenate([x, context], axis=-1)
        x = jnp.tanh(self.first(x))
        return self.last(x if key is None else dgm.nets.dropout(x, 0.3, key))


def image_coupling(
    event_shape: tuple[int, int, int],
    mask: Any,
    transformer: dgm.bijectors.Transformer | None = None,
    **options: Any,
) -> Callable[[nnx.Rngs], ImageCoupling]:
    def make(rngs: nnx.Rngs) -> ImageCoupling:
        return ImageCoupling(
            event_shape,
            mask=mask,
            make_conditioner=functools.partial(TinyConv, rngs=rngs),
            transformer=transformer or dgm.bijectors.AffineTransformer(),
            **options,
        )

    return make


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return 1.5 * jax.random.normal(key, shape)


def shared_histogram(_: nnx.Rngs) -> dgm.Bijector:
    levels = jnp.asarray([[0.0, 6.0], [2.0, 5.0], [2.0, 5.0], [3.0, 1.0]]).reshape(1, 4, 1, 2)
    return dgm.HistogramGaussianize((4, 1, 2), 7, shared=True).with_data_init(levels)


ROWS: dict[str, Instance] = {
    "histogram, shared by the pixels": Instance(
        shared_histogram, lambda key, shape: 7.0 * jax.random.uniform(key, shape)
    ),
    "squeeze": Instance(lambda _: Squeeze((2, 4, 3)), _normal),
    "squeeze, blocks of three": Instance(
        lambda _: Squeeze((6, 3, 2), order="outer", factor=3), _normal
    ),
    "squeeze, checkerboard": Instance(lambda _: Squeeze((4, 2, 2), order="checkerboard"), _normal),
    # With this scale all-zero parameters are not the identity.
    "image coupling, checkerboard": Instance(
        image_coupling((4, 3, 2), "checkerboard", dgm.bijectors.AffineTransformer("sigmoid")),
        _normal,
    ),
    "image coupling, channels, swap, context": Instance(
        image_coupling((2, 3, 4), "channel_swapped", swap=True, context_shape=(2,)),
        _normal,
        context_shape=(2,),
    ),
    "image coupling, odd squares, mixture": Instance(
        image_coupling(
            (3, 2, 1),
            "checkerboard_odd",
            dgm.bijectors.MixtureCDFTransformer(3),
            mask_channel=False,
        ),
        _normal,
    ),
    "image coupling, unequal halves": Instance(
        image_coupling(
            (2, 3, 3),
            "channel",
            dgm.bijectors.AffineTransformer("double_sigmoid", shift_first=True),
        ),
        _normal,
    ),
    "image coupling, irregular channels, spline": Instance(
        image_coupling(
            (2, 1, 4),
            [True, False, False, True],
            dgm.bijectors.SplineTransformer(4, bound=2.0),
        ),
        _normal,
    ),
    "pixels of a checkerboard through a leaky relu": Instance(
        image_coupling((2, 3, 1), "checkerboard", dgm.LeakyReLUTransformer(0.3)), _normal
    ),
    "image coupling, columns, context of pixels": Instance(
        image_coupling((2, 4, 1), [[True, False, True, False]] * 2, context_shape=(2, 4, 3)),
        _normal,
        context_shape=(2, 4, 3),
    ),
    "1x1 convolution, dense": Instance(
        lambda rngs: Invertible1x1Conv((4, 2, 2), parametrization="dense", rngs=rngs), _normal
    ),
    "1x1 convolution, PLU": Instance(lambda rngs: Invertible1x1Conv((2, 3, 3), rngs=rngs), _normal),
}
