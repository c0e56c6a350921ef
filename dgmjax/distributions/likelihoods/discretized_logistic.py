"""Data of many ordered levels: logistics and mixtures of them, discretized."""

import functools
import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.densities.rgb_mixture import (
    rescaled,
    rgb_mixture,
    rgb_mixture_log_prob,
    rgb_mixture_num_params,
    rgb_mixture_sample,
)
from dgmjax.distributions.likelihoods.base import Likelihood
from dgmjax.layers.serialization.recorded import recorded

Scale = Literal["pixel", "global"]

SCALES: tuple[Scale, ...] = ("pixel", "global")
# The logistic whose variance is that of the uniform distribution on [-1, 1] has the scale 1 / pi.
_START = -math.log(math.pi)


class _Mixtures(Likelihood):
    """What reads its output as `dgmjax.densities.rgb_mixture` does, for groups of ``channels`` elements.

    A group is the last axis of an event; where ``channels`` is None, every element is one.
    """

    num_levels: int
    channels: int | None

    def _params(self, output: jax.Array) -> jax.Array:
        """``[*b, *groups, rgb_mixture_num_params(channels or 1, K)]``."""
        return output

    def _log_probs(self, x: jax.Array, output: jax.Array) -> jax.Array:
        y = x[..., None] if self.channels is None else x
        return rgb_mixture_log_prob(y, self.num_levels, self._params(output))

    def _draw(self, key: jax.Array, output: jax.Array) -> jax.Array:
        channels = self.channels or 1
        levels = rgb_mixture_sample(key, self.num_levels, self._params(output), channels)
        return levels[..., 0] if self.channels is None else levels

    def _mean(self, output: jax.Array) -> jax.Array:
        logits, means, log_scales, coefficients = rgb_mixture(
            self._params(output), self.channels or 1
        )
        weights = jax.nn.softmax(logits, axis=-1)
        of_components: list[jax.Array] = []
        start = 0
        for channel in range(means.shape[-2]):
            mean = means[..., channel, :]
            for earlier, level in enumerate(of_components):
                mean = mean + coefficients[..., start + earlier, :] * rescaled(
                    level, self.num_levels
                )
            start += channel
            of_components.append(
                _mean_level(mean, log_scales[..., channel, :], num_levels=self.num_levels)
            )
        mean = jnp.stack([(weights * levels).sum(-1) for levels in of_components], axis=-1)
        return mean[..., 0] if self.channels is None else mean


@recorded
class DiscretizedLogistic(_Mixtures):
    """``P(x) = prod_i P(x_i | m_i, s_i)``, ``P(y | m, s) = sigmoid((r - m) / s) - sigmoid((l - m) / s)``; independent.

    ``l, r`` are the edges of the bin of ``y`` after levels are rescaled to [-1, 1], infinite for the first and the last
    level, so the masses sum to 1. The network gives

    - ``scale="pixel"``: ``[*event, 2]``, for every element ``m`` and an ``a``;
    - ``scale="global"``: ``[*event]``, the means, with one learned ``a`` for all elements, 0 at first;

    and ``log s = max(a - log(pi), -7)``: outputs of 0 have the mean and the variance of the uniform distribution.

    Args:
      event_shape: shape of one event.
      num_levels: values an element can take, 256 for 8-bit images.
      scale: ``"pixel"`` or ``"global"``.

    Raises:
      ValueError: fewer than 2 levels, or an unknown scale.

    Source: Salimans et al., 2017, arXiv:1701.05517, equation 2, with one component; a global scale: the code of Kingma
      et al., 2016, *Improving variational inference with inverse autoregressive flow*, arXiv:1606.04934.
    """

    def __init__(self, event_shape: Sequence[int], num_levels: int, scale: Scale = "pixel"):
        if scale not in SCALES:
            raise ValueError(
                f"DiscretizedLogistic: scale: expected one of {list(SCALES)}, got {scale!r}."
            )
        output_shape = (*event_shape, 2) if scale == "pixel" else event_shape
        super().__init__(event_shape, output_shape, num_levels)
        self.channels = None
        self.scale = scale
        self.raw = nnx.data(None)
        if scale == "global":
            self.raw = nnx.Param(jnp.zeros((), jnp.float32))

    def _params(self, output: jax.Array) -> jax.Array:
        if self.raw is None:
            means, raw = output[..., 0], output[..., 1]
        else:
            means, raw = output, jnp.broadcast_to(self.raw[...].astype(output.dtype), output.shape)
        return jnp.stack([jnp.zeros_like(means), means, raw + _START], axis=-1)


@recorded
class DiscretizedLogisticMixture(_Mixtures):
    """Mixtures of ``K`` discretized logistics: of pixels whose channels share the indicator, or of single elements.

    Images of several channels: ``P(y) = sum_k pi_k prod_c P(y_c | m_kc, s_kc)`` for every pixel, where
    ``m_kc = mu_kc + sum_{b < c} tanh(a_kcb) y_b`` with ``y_b`` rescaled to [-1, 1]. The network gives the parameters of
    pixels, ``[h, w, rgb_mixture_num_params(c, K)]``: 100 for ``c = 3``, ``K = 10``. Vectors and events of another rank:
    one mixture an element, ``[*event, 3 K]``.

    Outputs of 0 have the components at equal distances over the range, with equal weights and scales ``1 / K`` in
    [-1, 1]; log-scales are at least -7. See `dgmjax.densities.rgb_mixture`.

    `mean` is exact for the first channel, so for vectors and images of one channel; that of a later channel of a
    component is taken at the means of the earlier channels, which neglects what folding the tails does to the mean.

    Args:
      event_shape: shape of one event, an image ``(h, w, c)`` or another.
      num_levels: values an element can take, 256 for 8-bit images.
      num_components: ``K``.

    Raises:
      ValueError: fewer than 2 levels, or no component.

    Source: Salimans et al., 2017, *PixelCNN++*, arXiv:1701.05517, equations 2 and 3.
    """

    def __init__(self, event_shape: Sequence[int], num_levels: int, num_components: int = 10):
        if num_components < 1:
            raise ValueError(
                f"DiscretizedLogisticMixture: num_components must be at least 1, got {num_components}."
            )
        event_shape = tuple(event_shape)
        self.channels = event_shape[-1] if len(event_shape) == 3 else None
        groups = event_shape if self.channels is None else event_shape[:-1]
        num_params = rgb_mixture_num_params(self.channels or 1, num_components)
        super().__init__(event_shape, (*groups, num_params), num_levels)
        self.num_components = int(num_components)


# Compiled, so that the levels, up to 256 of every component, are summed without being stored.
@functools.partial(jax.jit, static_argnames="num_levels")
def _mean_level(means: jax.Array, log_scales: jax.Array, *, num_levels: int) -> jax.Array:
    """``E[y] = sum_{l = 1}^{L - 1} P(y >= l)``, elementwise; a level has its lower edge half a level below."""
    edges = rescaled(np.arange(1, num_levels) - 0.5, num_levels)  # type: ignore[arg-type]
    edges = jnp.asarray(edges, means.dtype)
    shape = (*means.shape, num_levels - 1)
    above = jnp.broadcast_to(means[..., None], shape) - jnp.broadcast_to(edges, shape)
    inverse_scales = jnp.broadcast_to(jnp.exp(-log_scales)[..., None], shape)
    return jax.nn.sigmoid(above * inverse_scales).sum(-1)
