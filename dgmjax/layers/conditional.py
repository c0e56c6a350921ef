"""Conditional densities: the random parts of stochastic layers."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.checks import Shape, widened
from dgmjax.densities.normal import normal_log_prob
from dgmjax.layers.bijector import event_axes, key_option
from dgmjax.layers.constructor import recorded
from dgmjax.layers.flow import Flow
from dgmjax.layers.held import held
from dgmjax.layers.statistics import log_prob_and_update
from dgmjax.nets.summary import Module
from dgmjax.numerics import random
from dgmjax.numerics.compiled import compiled

# Standard deviations stay in [1e-3, 1e3], as in the Gaussian posteriors.
_LOG_SCALE_BOUND = 7.0


@recorded
class ConditionalGaussian(Module):
    """``N(mean, diag(sigma^2))`` with ``(mean, raw) = net(context)`` and ``log sigma = 7 tanh(raw / 7)``.

    The bound is the identity near 0 and keeps a network from overflowing the density; a network whose last layer starts
    at zero gives the standard normal.

    Args:
      event_shape: shape of one event.
      context_shape: shape of one context.
      net: ``net(context) -> [*batch, *event_shape, 2]``, or of that size with the two moments of an element
        neighbours, e.g. ``[*batch, h, w, 2 c]`` of a convolutional network.
    """

    def __init__(self, event_shape: Sequence[int], context_shape: Sequence[int], net: nnx.Module):
        self.event_shape = tuple(event_shape)
        self.context_shape = tuple(context_shape)
        self.net = net

    @compiled
    def log_prob(
        self, value: jax.Array, context: jax.Array, *, key: jax.Array | None = None
    ) -> jax.Array:
        """``[*batch, *event]`` and ``[*batch, *context]`` to ``[*batch]``, nats; ``key`` switches dropout on."""
        log_probs = normal_log_prob(value, *self._moments(context, key))
        return widened(log_probs).sum(event_axes(self.event_shape))

    @compiled
    def sample(self, *, seed: jax.Array, context: jax.Array) -> jax.Array:
        """One event a context, ``[*batch, *event]``; ``seed`` is one key, or one an example."""
        return self.sample_and_log_prob(seed=seed, context=context)[0]

    @compiled
    def sample_and_log_prob(
        self, *, seed: jax.Array, context: jax.Array, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """A reparametrised draw a context, and its log-density."""
        mean, log_scale = self._moments(context, key)
        noise = random.draw(
            lambda one, shape: jax.random.normal(one, shape, mean.dtype), seed, mean.shape
        )
        zeros = jnp.zeros_like(noise)
        log_probs = widened(normal_log_prob(noise, zeros, zeros) - log_scale)
        return mean + jnp.exp(log_scale) * noise, log_probs.sum(event_axes(self.event_shape))

    def _moments(self, context: jax.Array, key: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        batch = context.shape[: context.ndim - len(self.context_shape)]
        moments = self.net(context, **key_option(key))
        moments = moments.reshape(*batch, *self.event_shape, 2)
        return moments[..., 0], _LOG_SCALE_BOUND * jnp.tanh(moments[..., 1] / _LOG_SCALE_BOUND)


@recorded
class NetworkDensity(Module):
    """``p(value | context) = family(value; net(context))``: a posterior or likelihood of a VAE with its network.

    Args:
      net: ``net(context)``, an encoder or decoder.
      family: a density whose parameters are the network's output: ``log_prob(value, output)``,
        ``sample(output, seed=)`` and, to be an encoder, ``sample_and_log_prob(output, seed=)``; see
        `dgmjax.posteriors` and `dgmjax.likelihoods`.
      context_shape: shape of one context.
    """

    family = held()

    def __init__(self, net: nnx.Module, family: Any, context_shape: Sequence[int]):
        self.net = net
        self.family = nnx.data(family)
        self.event_shape = tuple(family.event_shape)
        self.context_shape = tuple(context_shape)

    @property
    def num_levels(self) -> int | None:
        """Those of the family, for discrete data."""
        return getattr(self.family, "num_levels", None)

    @compiled
    def log_prob(
        self, value: jax.Array, context: jax.Array, *, key: jax.Array | None = None
    ) -> jax.Array:
        """``[*batch, *event]`` and ``[*batch, *context]`` to ``[*batch]``, nats; ``key`` switches dropout on."""
        return self.family.log_prob(value, self._output(context, key))

    @compiled
    def sample(self, *, seed: jax.Array, context: jax.Array) -> jax.Array:
        """One event a context, ``[*batch, *event]``."""
        return self.family.sample(self._output(context), seed=seed)

    @compiled
    def sample_and_log_prob(
        self, *, seed: jax.Array, context: jax.Array, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """One event a context, and its log-density."""
        return self.family.sample_and_log_prob(self._output(context, key), seed=seed)

    def _output(self, context: jax.Array, key: jax.Array | None = None) -> jax.Array:
        return self.net(context, **key_option(key))


def check_density(
    density: Any, event_shape: Shape | None, context_shape: Shape, where: str
) -> None:
    """A conditional density of a layer must fit, and be exact.

    Raises:
      ValueError: another event or context shape than expected, or a log-density that is a noisy bound.
    """
    found = tuple(density.event_shape)
    if event_shape is not None and found != event_shape:
        raise ValueError(f"{where} has events of shape {found}, expected {event_shape}.")
    context = getattr(density, "context_shape", None)
    if context is not None and tuple(context) != context_shape:
        raise ValueError(
            f"{where} has contexts of shape {tuple(context)}, expected {context_shape} or None."
        )
    if hasattr(density, "bound") and density.bound().is_noisy:
        raise ValueError(
            f"{where}: the log_prob of {type(density).__name__} is a {density.bound()}, which draws noise; the density "
            f"of a layer must be exact."
        )


def log_prob_given(
    density: Any, value: jax.Array, context: jax.Array, *, key: jax.Array | None = None
) -> jax.Array:
    """``log p(value | context)``, or ``log p(value)`` of a density without a context."""
    if getattr(density, "context_shape", None) is None:
        return density.log_prob(value, **_flow_key(density, key))
    return density.log_prob(value, context, **key_option(key))


def log_prob_and_update_given(
    density: Any, value: jax.Array, context: jax.Array, *, key: jax.Array | None = None
) -> tuple[jax.Array, Any]:
    """`log_prob_given` as in training, and the density with new running statistics."""
    if getattr(density, "context_shape", None) is None:
        return log_prob_and_update(density, value, **_flow_key(density, key))
    return log_prob_and_update(density, value, context, **key_option(key))


def sample_given(density: Any, context: jax.Array, batch: Shape, *, seed: jax.Array) -> jax.Array:
    """One event a context; ``batch`` are its batch axes, for a density without a context."""
    if getattr(density, "context_shape", None) is None:
        return random.draw(
            lambda one, rest: density.sample(seed=one, sample_shape=rest), seed, batch
        )
    return density.sample(seed=seed, context=context)


def sample_and_log_prob_given(
    density: Any,
    context: jax.Array,
    batch: Shape,
    *,
    seed: jax.Array,
    key: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """As `sample_given`, with log-densities ``[*batch]``."""
    if getattr(density, "context_shape", None) is not None:
        return density.sample_and_log_prob(seed=seed, context=context, **key_option(key))
    if isinstance(density, Flow):  # which need not be inverted for the density of its sample
        return density.sample_and_log_prob(seed=seed, sample_shape=batch, **key_option(key))
    value = sample_given(density, context, batch, seed=seed)
    return value, density.log_prob(value)


def with_data_init_given(density: Any, value: jax.Array, context: jax.Array) -> Any:
    """The density with its data-dependent layers set from ``value``; itself, where there are none."""
    if not isinstance(density, Flow):
        return density
    return density.with_data_init(value, None if density.context_shape is None else context)


def _flow_key(density: Any, key: jax.Array | None) -> dict[str, jax.Array]:
    """Dropout of a density without a context: flows know it, distributions of distrax do not."""
    return key_option(key) if isinstance(density, Flow) else {}
