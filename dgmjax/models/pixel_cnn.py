"""PixelCNN++ and its predecessors: exact autoregressive models of images of integers."""

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from dgmjax.checks import (
    as_context,
    check_integer_event,
    floating_dtype,
    level_dtype,
    sample_batch,
    widened,
)
from dgmjax.densities.rgb_mixture import (
    categorical_pixel_log_prob,
    categorical_pixel_sample,
    rescaled,
    rgb_mixture_log_prob,
    rgb_mixture_num_params,
    rgb_mixture_sample,
)
from dgmjax.distributions.base import Density
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.models.images import check_image
from dgmjax.nets.pixelcnn.network import PixelCNN, Variant
from dgmjax.nets.pixelcnn.sampler import sample_cached, sample_naive
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled

PixelLikelihood = Literal["logistic_mixture", "categorical"]

_LIKELIHOODS = ("logistic_mixture", "categorical")
# Moments of so many images start the network as well as those of more, and fit in memory.
_INIT_IMAGES = 256


@recorded
class PixelCNNpp(Density):
    """``P(y) = prod_i P(y_i | y_1, ..., y_{i-1})`` over pixels in raster order; a model of integers, exact.

    A `dgmjax.nets.PixelCNN` gives the parameters of all pixels in one pass. Their distribution is a mixture of
    discretized logistics that shares its indicator among the channels, whose means depend on the channels before
    (`dgmjax.densities.rgb_mixture_log_prob`), or one softmax a channel, with channels independent given the pixels
    before. Unlike a `dgmjax.Dequantized` flow it takes integers as they are, and `log_prob` is no bound.

    Args:
      event_shape: ``(h, w, c)``; ``2^(resolutions - 1)`` divides the sides.
      num_levels: values an element can take: 17 for the digits of scikit-learn, 256 for 8-bit images.
      variant: ``"pixelcnnpp"``, ``"gated"`` (Gated PixelCNN) or ``"plain"`` (PixelCNN), see `dgmjax.nets.PixelCNN`.
      resolutions: number of resolutions; default 3 for ``"pixelcnnpp"``, the only one to have several.
      depth: blocks of a resolution and a stream, on the way down; 5 in the paper.
      width: channels; 160 in the paper for CIFAR-10.
      num_components: logistics of a pixel; 10 in the paper.
      likelihood: ``"logistic_mixture"``, or ``"categorical"``.
      dropout: probability of dropping a unit in training; 0.5 in the paper.
      context_shape: ``(k,)`` for a conditional model, e.g. of one-hot classes or latents; projected in every block.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` for mixed precision of the network; the likelihood keeps the
        dtype of the parameters.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: no image, sides that cannot be halved, a number out of range or an unknown name.

    Source: Salimans et al., 2017, *PixelCNN++*, arXiv:1701.05517; van den Oord et al., 2016, arXiv:1606.05328 and
      arXiv:1601.06759.
    """

    event_shape: tuple[int, int, int]
    num_levels: int

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int = 256,
        *,
        variant: Variant = "pixelcnnpp",
        resolutions: int | None = None,
        depth: int = 5,
        width: int = 160,
        num_components: int = 10,
        likelihood: PixelLikelihood = "logistic_mixture",
        dropout: float = 0.0,
        context_shape: Sequence[int] | None = None,
        compute_dtype: str | None = None,
        rngs: nnx.Rngs,
    ):
        if resolutions is None:
            resolutions = 3 if variant == "pixelcnnpp" else 1
        if num_levels < 2 or num_components < 1:
            raise ValueError(
                f"PixelCNNpp: num_levels must be at least 2 and num_components at least 1, got {num_levels} and "
                f"{num_components}."
            )
        if likelihood not in _LIKELIHOODS:
            raise ValueError(
                f"PixelCNNpp: likelihood: expected one of {list(_LIKELIHOODS)}, got {likelihood!r}."
            )
        if context_shape is not None and len(context_shape) != 1:
            raise ValueError(
                f"PixelCNNpp: expected a vector context (k,), got {tuple(context_shape)}; flatten it."
            )
        self.event_shape = check_image("PixelCNNpp", event_shape, max(resolutions, 1) - 1)
        self.context_shape = None if context_shape is None else tuple(context_shape)
        self.num_levels = int(num_levels)
        self.likelihood = likelihood
        channels = self.event_shape[-1]
        num_params = channels * num_levels
        if likelihood == "logistic_mixture":
            num_params = rgb_mixture_num_params(channels, num_components)
        self.net = PixelCNN(
            channels,
            num_params,
            variant=variant,
            resolutions=resolutions,
            depth=depth,
            width=width,
            dropout=dropout,
            context_size=0 if self.context_shape is None else self.context_shape[0],
            compute_dtype=compute_dtype,
            rngs=rngs,
        )

    @compiled
    def log_prob(
        self, value: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """``log P(y)`` in nats: integers ``[*batch, h, w, c] -> [*batch]``.

        Args:
          value: integers in ``0 .. num_levels - 1``; others have ``-inf``.
          context: for a conditional model ``[*batch, k]``, or classes, integers ``[*batch]``; or one of either.
          key: switches dropout on, one key or one an example; leave it out to evaluate.

        Raises:
          TypeError: floating-point values.
          ValueError: wrong event or context shape.
        """
        params = self.pixel_params(value, context, key=key)
        value = jnp.asarray(value)
        if self.likelihood == "categorical":
            log_probs = categorical_pixel_log_prob(value, self.num_levels, params)
        else:
            log_probs = rgb_mixture_log_prob(value, self.num_levels, params)
        return widened(log_probs.sum((-2, -1)))

    @compiled
    def pixel_params(
        self, value: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """Outputs of the network ``[*batch, h, w, m]``: at a pixel, a function of the pixels before it.

        Arguments as in `log_prob`; `dgmjax.densities.rgb_mixture` reads them.
        """
        where = "PixelCNNpp.log_prob"
        value = jnp.asarray(value)
        batch = check_integer_event(value, self.event_shape, where=where)
        context = as_context(
            context, self.context_shape, batch, where=where, dtype=floating_dtype(self)
        )
        flat = value.reshape(math.prod(batch), *self.event_shape)
        if key is not None and key.ndim:
            key = jnp.broadcast_to(key, batch).reshape(math.prod(batch))
        params = self.net(self._rescaled(flat), self._rows(context, batch), key=key)
        return params.reshape(*batch, *params.shape[1:])

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
        """Draw ``[*sample_shape, *event]`` integers; with a context of batch ``[*b]``, ``[*sample_shape, *b, *event]``.

        Args:
          seed: typed key; a pixel's randomness follows from it, the number of the example and that of the pixel.
          sample_shape: int or tuple.
          context: for a conditional model.
          temperature: factor on the noise of every draw, 1 for the model, 0 for its most probable values one by one.
          cached: keep what the network has computed, so that all pixels together cost about one pass; otherwise one
            pass a pixel, which gives the same images but for rounding.
        """
        where, dtype = "PixelCNNpp.sample", floating_dtype(self)
        context = as_context(context, self.context_shape, None, where=where, dtype=dtype)
        shape = sample_batch(sample_shape, context, self.context_shape)
        temperature = jnp.asarray(temperature, dtype)
        rows = self._rows(context, shape)
        samples = _sample(self, seed, rows, temperature, num=math.prod(shape), cached=cached)
        return samples.reshape(*shape, *self.event_shape).astype(level_dtype(self.num_levels))

    def with_data_init(self, value: jax.Array, context: jax.Array | None = None) -> Self:
        """A new model whose layers start from their inputs on the images ``value``, ``[n, *event]``.

        Of more than 256 images, so many at equal distances are taken.
        """
        check_integer_event(value, self.event_shape, where="PixelCNNpp.with_data_init")
        step = -(-len(value) // _INIT_IMAGES)
        rows = self._rows(context, value.shape[:1])
        new = nnx.clone(self)
        x = self._rescaled(value[::step])
        new.net = self.net.with_data_init(x, None if rows is None else rows[::step])
        return new

    def _rescaled(self, levels: jax.Array) -> jax.Array:
        return rescaled(levels.astype(floating_dtype(self)), self.num_levels)

    def _rows(self, context: jax.Array | None, batch: tuple[int, ...]) -> jax.Array | None:
        """The context of every example, ``[n, k]``."""
        if context is None or self.context_shape is None:
            return None
        context = context.astype(floating_dtype(self))
        return jnp.broadcast_to(context, (*batch, *self.context_shape)).reshape(
            math.prod(batch), *self.context_shape
        )

    def _draw(
        self, keys: jax.Array, temperature: jax.Array, index: jax.Array, params: jax.Array
    ) -> jax.Array:
        """A pixel of every example, each with its own key."""
        draw = categorical_pixel_sample if self.likelihood == "categorical" else rgb_mixture_sample

        def one(key: jax.Array, params: jax.Array) -> jax.Array:
            return draw(
                jax.random.fold_in(key, index),
                self.num_levels,
                params,
                self.event_shape[-1],
                temperature=temperature,
            )

        return jax.vmap(one)(keys, params)


def _sample(
    model: PixelCNNpp,
    seed: jax.Array,
    context: jax.Array | None,
    temperature: jax.Array,
    *,
    num: int,
    cached: bool,
) -> Any:
    sampler = sample_cached if cached else sample_naive
    draw = functools.partial(model._draw, prng.example_keys(seed, num), temperature)
    return sampler(model.net, draw, model._rescaled, (num, *model.event_shape), context)
