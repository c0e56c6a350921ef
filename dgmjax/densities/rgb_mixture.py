"""Distributions of one pixel of several channels over integer levels, from the outputs of a network.

A channel-autoregressive mixture of discretized logistics: one indicator ``k`` a pixel, shared by its channels, and

``P(y) = sum_k pi_k prod_c P(y_c | m_{kc}, s_{kc})``,  ``m_{kc} = mu_{kc} + sum_{b < c} tanh(a_{kcb}) x_b``,

where ``P(y_c | m, s)`` is the mass of the bin of ``y_c`` under a logistic, with the tails folded into the first and the
last level, and ``x_b = 2 y_b / (L - 1) - 1``. For RGB the means are ``mu_R``, ``mu_G + a x_R`` and
``mu_B + b x_R + c x_G``.

Source: Salimans et al., 2017, *PixelCNN++*, arXiv:1701.05517, equations 2 and 3, and the authors' code, where the
coefficients go through ``tanh``.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_softmax
from jax.typing import ArrayLike

from dgmjax.densities.discretized_mixture import (
    discretized_logistic_mixture_log_prob,
    known_levels,
)
from dgmjax.numerics import ends
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.ends import log_sum_exp

# The paper's: at 256 levels a logistic of this scale has all but 3% of its mass in one bin.
MIN_LOG_SCALE = -7.0
# Draws of a wider logistic are the first or the last level, as of this one, whose exponential has a value.
_MAX_LOG_SCALE_DRAWN = 50.0


class RGBMixture(NamedTuple):
    """Parameters of the mixtures of pixels, in units of data rescaled to ``[-1, 1]``.

    Attributes:
      logits: unnormalized log-weights, ``[..., K]``.
      means: ``[..., c, K]``, before what earlier channels add.
      log_scales: natural log, at least -7, ``[..., c, K]``.
      coefficients: in ``(-1, 1)``, ``[..., c (c - 1) / 2, K]``, in the order (channel 1 of 0), (2 of 0), (2 of 1), ...
    """

    logits: jax.Array
    means: jax.Array
    log_scales: jax.Array
    coefficients: jax.Array


def rgb_mixture_num_params(channels: int, num_components: int) -> int:
    """``K (1 + 2 c + c (c - 1) / 2)`` numbers a pixel: 100 for ``c = 3, K = 10``, and ``3 K`` for ``c = 1``."""
    return num_components * _per_component(channels)


def rgb_mixture(params: jax.Array, channels: int) -> RGBMixture:
    """Read the outputs of a network as the parameters of mixtures.

    Outputs of 0 are a sensible start: components at equal distances, means ``(2 k + 1) / K - 1`` and scales ``1 / K``,
    of equal weight and without coefficients, nearly the uniform distribution. What the network gives is added.

    Args:
      params: ``[..., rgb_mixture_num_params(channels, K)]``; in this order ``K`` logits, ``c K`` means, ``c K``
        log-scales and ``c (c - 1) K / 2`` coefficients before ``tanh``, components last.
      channels: ``c``.

    Raises:
      ValueError: a last axis that is no multiple of ``1 + 2 c + c (c - 1) / 2``.
    """
    num, remainder = divmod(params.shape[-1], _per_component(channels))
    if remainder or not num:
        raise ValueError(
            f"rgb_mixture: pixels of {channels} channels take {_per_component(channels)} parameters a component, got "
            f"{params.shape[-1]}; use rgb_mixture_num_params({channels}, K)."
        )
    blocks = np.cumsum([num, channels * num, channels * num])
    logits, means, log_scales, raw = jnp.split(params, blocks, axis=-1)
    means, log_scales, raw = (
        a.reshape(*a.shape[:-1], a.shape[-1] // num, num) for a in (means, log_scales, raw)
    )
    centres = jnp.asarray((2.0 * np.arange(num) + 1.0) / num - 1.0, params.dtype)
    return RGBMixture(
        logits,
        means + jnp.broadcast_to(centres, means.shape),
        jnp.maximum(log_scales - float(np.log(num)), MIN_LOG_SCALE),
        jnp.tanh(raw),
    )


@compiled
def rgb_mixture_log_prob(y: jax.Array, num_levels: int, params: jax.Array) -> jax.Array:
    """``log P(y)`` of pixels in nats, exact at every scale; the channels are summed inside the sum over components.

    Args:
      y: levels ``0 .. num_levels - 1``, integers or whole floats, ``[..., c]``.
      num_levels: ``L``, at least 2.
      params: outputs of a network, ``[..., rgb_mixture_num_params(c, K)]``.

    Returns:
      ``[...]``; ``-inf`` where a value is not a level.

    Raises:
      ValueError: fewer than 2 levels, or parameters that do not fit the channels.
    """
    y, beyond = known_levels(y, num_levels)
    log_weights, log_masses = _components(y, num_levels, params)
    return ends.outside(beyond.any(-1), log_sum_exp(log_weights + log_masses.sum(-2)))


@compiled
def rgb_mixture_conditional_log_prob(y: jax.Array, num_levels: int, params: jax.Array) -> jax.Array:
    """``log P(y_c | y_1, ..., y_{c-1})`` of every channel, nats, ``[..., c] -> [..., c]``; their sum is the log-mass.

    Earlier channels move the means, and the weights of the components to their posterior. A value that is no level has
    ``-inf``, and counts as level 0 for those after it.
    """
    y, beyond = known_levels(y, num_levels)
    log_weights, log_masses = _components(y, num_levels, params)
    before = jnp.cumsum(log_masses, axis=-2) - log_masses
    posterior = log_softmax(log_weights[..., None, :] + before, axis=-1)
    return ends.outside(beyond, log_sum_exp(posterior + log_masses))


@compiled
def rgb_mixture_sample(
    key: jax.Array,
    num_levels: int,
    params: jax.Array,
    channels: int,
    *,
    temperature: ArrayLike = 1.0,
) -> jax.Array:
    """Draw pixels ``[..., c]``, int32: the component, then channel by channel a logistic, rounded and clipped.

    Args:
      key: typed key.
      num_levels: ``L``.
      params: ``[..., rgb_mixture_num_params(channels, K)]``.
      channels: ``c``.
      temperature: factor on the noise of both draws: 1 is the distribution; 0 is the mean of the most probable
        component.
    """
    logits, means, log_scales, coefficients = rgb_mixture(params, channels)
    temperature = jnp.broadcast_to(jnp.asarray(temperature, params.dtype), logits.shape)
    component_key, noise_key = jax.random.split(key)
    gumbel = jax.random.gumbel(component_key, logits.shape, logits.dtype)
    component = jnp.argmax(logits + temperature * gumbel, axis=-1)[..., None, None]

    def chosen(values: jax.Array) -> jax.Array:
        return jnp.take_along_axis(values, component, axis=-1)[..., 0]

    means, log_scales, coefficients = chosen(means), chosen(log_scales), chosen(coefficients)
    noise = jax.random.logistic(noise_key, means.shape, means.dtype)
    noise = temperature[..., :1] * noise * jnp.exp(jnp.minimum(log_scales, _MAX_LOG_SCALE_DRAWN))
    levels: list[jax.Array] = []
    for channel, start in enumerate(_starts(channels)):
        x = means[..., channel] + noise[..., channel]
        for earlier, level in enumerate(levels):
            x = x + coefficients[..., start + earlier] * rescaled(level, num_levels)
        level = jnp.round(0.5 * (num_levels - 1) * (x + 1.0))
        # Clipped before the cast: integers overflow where floats do not.
        levels.append(jnp.clip(level, 0, num_levels - 1))
    return jnp.stack(levels, axis=-1).astype(jnp.int32)


@compiled
def categorical_pixel_log_prob(y: jax.Array, num_levels: int, params: jax.Array) -> jax.Array:
    """``sum_c log softmax(logits_c)[y_c]``, nats: independent channels, any distribution of each.

    A level that no data show keeps no probability, where a discretized mixture gives it that of its neighbours.

    Args:
      y: levels, integers, ``[..., c]``.
      num_levels: ``L``, at least 2.
      params: logits ``[..., c L]``, the levels of a channel next to each other.

    Returns:
      ``[...]``; ``-inf`` where a value is not a level.

    Raises:
      ValueError: parameters that do not fit the channels.
    """
    log_masses = log_softmax(_logits(params, num_levels, y.shape[-1]), axis=-1)
    y, beyond = known_levels(y, num_levels)
    found = jnp.take_along_axis(log_masses, y.astype(jnp.int32)[..., None], axis=-1)[..., 0]
    if jnp.issubdtype(y.dtype, jnp.floating):
        found = jnp.where(jnp.isnan(y), jnp.nan, found)
    return ends.outside(beyond.any(-1), found.sum(-1))


@compiled
def categorical_pixel_sample(
    key: jax.Array,
    num_levels: int,
    params: jax.Array,
    channels: int,
    *,
    temperature: ArrayLike = 1.0,
) -> jax.Array:
    """Draw pixels ``[..., c]``, int32; ``temperature`` divides the logits, 0 is the most probable level."""
    logits = _logits(params, num_levels, channels)
    gumbel = jax.random.gumbel(key, logits.shape, logits.dtype)
    temperature = jnp.broadcast_to(jnp.asarray(temperature, logits.dtype), logits.shape)
    return jnp.argmax(logits + temperature * gumbel, axis=-1).astype(jnp.int32)


def rescaled(y: jax.Array, num_levels: int) -> jax.Array:
    """``2 y / (L - 1) - 1``: levels, as floats, to ``[-1, 1]``."""
    return y * (2.0 / (num_levels - 1)) - 1.0


def _components(y: jax.Array, num_levels: int, params: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``log pi_k``, ``[..., K]``, and ``log P(y_c | m_kc, s_kc)``, ``[..., c, K]``."""
    channels = y.shape[-1]
    logits, means, log_scales, coefficients = rgb_mixture(params, channels)
    y = y.astype(params.dtype)
    x = rescaled(y, num_levels)
    shifted = []
    for channel, start in enumerate(_starts(channels)):
        mean = means[..., channel, :]
        for earlier in range(channel):
            mean = mean + coefficients[..., start + earlier, :] * x[..., earlier, None]
        shifted.append(mean)
    half_range = 0.5 * (num_levels - 1)
    centres = half_range * (jnp.stack(shifted, axis=-2) + 1.0)
    log_scales = log_scales + float(np.log(half_range))
    single = jnp.zeros((*centres.shape, 1), centres.dtype)
    log_masses = discretized_logistic_mixture_log_prob(
        jnp.broadcast_to(y[..., None], centres.shape),
        num_levels,
        single,
        centres[..., None],
        log_scales[..., None],
    )
    return log_softmax(logits, axis=-1), log_masses


def _starts(channels: int) -> list[int]:
    """Where the coefficients of each channel start."""
    return [channel * (channel - 1) // 2 for channel in range(channels)]


def _per_component(channels: int) -> int:
    return 1 + 2 * channels + channels * (channels - 1) // 2


def _logits(params: jax.Array, num_levels: int, channels: int) -> jax.Array:
    if params.shape[-1] != channels * num_levels:
        raise ValueError(
            f"categorical pixels of {channels} channels and {num_levels} levels take {channels * num_levels} logits, "
            f"got {params.shape[-1]}."
        )
    return params.reshape(*params.shape[:-1], channels, num_levels)
