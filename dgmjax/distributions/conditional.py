"""Conditional densities: the random parts of stochastic layers."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.checks import Shape, num_levels_of, widened
from dgmjax.densities.normal import bounded_log_scale, normal_log_prob
from dgmjax.distributions.base import Density, as_density
from dgmjax.layers.bijector import event_axes
from dgmjax.layers.conditioner import call_network
from dgmjax.layers.distrax_attribute import distrax_attribute
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled


@recorded
class ConditionalGaussian(Density):
    """``N(mean, diag(sigma^2))`` with ``(mean, raw) = net(context)`` and ``log sigma = 7 tanh(raw / 7)``.

    The bound is the identity near 0 and keeps a network from overflowing the density; a network whose last layer starts
    at zero gives the standard normal.

    Args:
      event_shape: shape of one event.
      context_shape: shape of one context.
      net: ``net(context) -> [*batch, *event_shape, 2]``, or of that size with the two moments of an element
        neighbours, e.g. ``[*batch, h, w, 2 c]`` of a convolutional network.
    """

    context_shape: tuple[int, ...]

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
    def sample_and_log_prob(  # type: ignore[override]  # not without a context
        self, *, seed: jax.Array, context: jax.Array, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """A reparametrised draw a context, and its log-density."""
        mean, log_scale = self._moments(context, key)
        noise = prng.draw(
            lambda one, shape: jax.random.normal(one, shape, mean.dtype), seed, mean.shape
        )
        zeros = jnp.zeros_like(noise)
        log_probs = widened(normal_log_prob(noise, zeros, zeros) - log_scale)
        return mean + jnp.exp(log_scale) * noise, log_probs.sum(event_axes(self.event_shape))

    def _moments(self, context: jax.Array, key: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        batch = context.shape[: context.ndim - len(self.context_shape)]
        moments = call_network(self.net, context, key=key)
        moments = moments.reshape(*batch, *self.event_shape, 2)
        return moments[..., 0], bounded_log_scale(moments[..., 1])


@recorded
class NetworkDensity(Density):
    """``p(value | context) = family(value; net(context))``: a posterior or likelihood of a VAE with its network.

    Args:
      net: ``net(context)``, an encoder or decoder.
      family: a density whose parameters are the network's output: ``log_prob(value, output)``,
        ``sample(output, seed=)`` and, to be an encoder, ``sample_and_log_prob(output, seed=)``; see
        `dgmjax.posteriors` and `dgmjax.likelihoods`.
      context_shape: shape of one context.
    """

    family = distrax_attribute()

    def __init__(self, net: nnx.Module, family: Any, context_shape: Sequence[int]):
        self.net = net
        self.family = nnx.data(family)
        self.num_levels = num_levels_of(family)  # posteriors have none
        self.event_shape = tuple(family.event_shape)
        self.context_shape = tuple(context_shape)

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
    def sample_and_log_prob(  # type: ignore[override]  # not without a context
        self, *, seed: jax.Array, context: jax.Array, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """One event a context, and its log-density."""
        return self.family.sample_and_log_prob(self._output(context, key), seed=seed)

    def _output(self, context: jax.Array, key: jax.Array | None = None) -> jax.Array:
        return call_network(self.net, context, key=key)


def fitting_density(
    distribution: Any, event_shape: Shape | None, context_shape: Shape, where: str
) -> Density:
    """The density of a layer, which must fit and be exact.

    Raises:
      ValueError: another event or context shape than expected, or a log-density that is a noisy bound.
    """
    density = as_density(distribution)
    if event_shape is not None and density.event_shape != event_shape:
        raise ValueError(
            f"{where} has events of shape {density.event_shape}, expected {event_shape}."
        )
    if density.context_shape not in (None, context_shape):
        raise ValueError(
            f"{where} has contexts of shape {density.context_shape}, expected {context_shape} or None."
        )
    if density.bound().is_noisy:
        raise ValueError(
            f"{where}: the log_prob of {type(distribution).__name__} is a {density.bound()}, which draws noise; the "
            f"density of a layer must be exact."
        )
    return density


def seen_by(density: Density, context: jax.Array) -> jax.Array | None:
    """The context as an argument of the density: None for one without a context."""
    return None if density.context_shape is None else context


def one_each(density: Density, context: jax.Array, batch: Shape) -> dict[str, Any]:
    """Arguments of ``density.sample`` that draw one event a context; ``batch`` are the batch axes of contexts."""
    return {"sample_shape": batch} if density.context_shape is None else {"context": context}
