"""A PixelCNN of a small receptive field, conditional on an image of features: the decoder of a lossy autoencoder."""

import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from dgmjax.checks import as_context, floating_dtype, level_dtype, sample_batch
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.models.pixel_cnn import PixelCNNpp, PixelLikelihood
from dgmjax.nets.pixelcnn.network import PixelCNN
from dgmjax.nets.pixelcnn.sampler import sample_cached, sample_naive
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled

LocalVariant = Literal["plain", "gated"]

_LAST_INIT = nnx.initializers.variance_scaling(0.01, "fan_in", "normal")


@recorded
class LocalPixelCNN(PixelCNNpp):
    """``P(y | context) = prod_i P(y_i | y_window(i), context_i)``, pixels in raster order; of integers, exact.

    A few blocks of a `dgmjax.nets.PixelCNN` see the pixels of a small window before pixel ``i``, and two dense layers
    join their features with the context at ``i``. A pixel farther away matters only through the context, which is an
    image of features, so that it can say what is where; the vector context of `dgmjax.PixelCNNpp` adds the same at all
    pixels.

    Args:
      event_shape: ``(h, w, c)``.
      num_levels: values an element can take.
      context_channels: ``k``; the context is ``(h, w, k)``.
      variant: ``"plain"`` (PixelCNN, whose window has a blind spot to the right) or ``"gated"`` (Gated PixelCNN).
      depth: blocks, each of which widens the window by a pixel.
      width: channels.
      num_components: logistics of a pixel.
      likelihood: ``"logistic_mixture"``, or ``"categorical"``.
      dropout: probability of dropping a unit in training.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: no image, a number out of range or an unknown name.

    Source: Chen et al., 2017, *Variational lossy autoencoder*, arXiv:1611.02731, section 3.1.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int = 256,
        *,
        context_channels: int = 16,
        variant: LocalVariant = "plain",
        depth: int = 1,
        width: int = 64,
        num_components: int = 10,
        likelihood: PixelLikelihood = "logistic_mixture",
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        if variant not in ("plain", "gated"):
            raise ValueError(
                f"LocalPixelCNN: variant: expected 'plain' or 'gated', whose window is small, got {variant!r}."
            )
        if context_channels < 1:
            raise ValueError(
                f"LocalPixelCNN: context_channels must be at least 1, got {context_channels}."
            )
        super().__init__(
            event_shape,
            num_levels,
            variant=variant,
            depth=depth,
            width=width,
            num_components=num_components,
            likelihood=likelihood,
            dropout=dropout,
            rngs=rngs,
        )
        channels, num_params = self.event_shape[-1], self.net.last.bias.shape[-1]
        self.context_shape = (*self.event_shape[:2], context_channels)
        self.net = PixelCNN(
            channels,
            width,
            variant=variant,
            resolutions=1,
            depth=depth,
            width=width,
            dropout=dropout,
            rngs=rngs,
        )
        self.join = nnx.Linear(width + context_channels, width, rngs=rngs)
        self.out = nnx.Linear(width, num_params, kernel_init=_LAST_INIT, rngs=rngs)
        self.receptive_field = (depth + (2 if variant == "gated" else 1), depth + 1)

    @compiled
    def pixel_params(
        self, value: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """Parameters of all pixels ``[*batch, h, w, m]``: functions of a window before each and its context.

        ``receptive_field = (rows, columns)`` is the size of the window: so many rows above, and so many columns to the
        left and, in those rows, to the right.
        """
        features = super().pixel_params(value, context, key=key)
        rows = jnp.asarray(context, features.dtype)
        rows = jnp.broadcast_to(rows, (*features.shape[:-1], rows.shape[-1]))
        return self._params(features, rows)

    @compiled
    def sample(
        self,
        *,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        context: jax.Array | None = None,
        temperature: ArrayLike = 1.0,
        cached: bool = True,
    ) -> jax.Array:
        """Draw ``[*sample_shape, *b, *event]``, integers, for a context ``[*b, h, w, k]``; see `PixelCNNpp.sample`."""
        where, dtype = "LocalPixelCNN.sample", floating_dtype(self)
        context = as_context(context, self.context_shape, None, where=where, dtype=dtype)
        shape = sample_batch(sample_shape, context, self.context_shape)
        rows, num = self._rows(context, shape), math.prod(shape)
        temperature = jnp.asarray(temperature, dtype)
        samples = _sample(self, seed, rows, temperature, num=num, cached=cached)
        return samples.reshape(*shape, *self.event_shape).astype(level_dtype(self.num_levels))

    def _params(self, features: jax.Array, context: jax.Array) -> jax.Array:
        joined = jnp.concatenate([jax.nn.elu(features), context], axis=-1)
        return self.out(jax.nn.elu(self.join(joined)))


def _sample(
    model: LocalPixelCNN,
    seed: jax.Array,
    context: jax.Array | None,
    temperature: jax.Array,
    *,
    num: int,
    cached: bool,
) -> jax.Array:
    keys = prng.example_keys(seed, num)
    assert context is not None
    height, width, _ = model.event_shape
    context = context.reshape(num, height * width, context.shape[-1])

    def draw(index: jax.Array, features: jax.Array) -> jax.Array:
        here = jax.lax.dynamic_index_in_dim(context, index, axis=1, keepdims=False)
        return model._draw(keys, temperature, index, model._params(features, here))

    sampler = sample_cached if cached else sample_naive
    return sampler(model.net, draw, model._rescaled, (num, *model.event_shape), None)
