"""The class of `dgmjax.interop.to_numpyro`; the one file of the library that imports numpyro."""

from typing import Any

import jax
import jax.numpy as jnp
from numpyro.distributions import Distribution, constraints
from numpyro.distributions.util import validate_sample

from dgmjax.distributions.flow import Flow
from dgmjax.interop.distrax import context_batch


class FlowDistribution(Distribution):
    """A `dgmjax.Flow` as a ``numpyro.distributions.Distribution``; see `dgmjax.interop.to_numpyro`.

    A pytree whose arrays are those of the flow, so that it passes through ``jit``, ``grad`` and ``vmap``.

    Args:
      flow: the density.
      context: ``[*batch, *context_shape]`` for a conditional flow; its batch is the ``batch_shape``.
      support: where the density lives; default all real numbers.
      validate_args: as of any numpyro distribution.
    """

    pytree_data_fields = ("flow", "context", "_support")

    def __init__(
        self,
        flow: Flow,
        context: jax.Array | None = None,
        *,
        support: Any = None,
        validate_args: bool | None = None,
    ):
        self.flow = flow
        self.context = context
        rank = len(flow.event_shape)
        support = constraints.real if support is None else support
        if support.event_dim < rank:
            support = constraints.independent(support, rank - support.event_dim)
        self._support = support
        super().__init__(
            context_batch(context, flow.context_shape),
            flow.event_shape,
            validate_args=validate_args,
        )

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw ``[*sample_shape, *batch_shape, *event_shape]``."""
        return self.flow.sample(
            seed=_typed(key), sample_shape=tuple(sample_shape), context=self.context
        )

    def sample_with_intermediates(
        self, key: jax.Array, sample_shape: tuple[int, ...] = ()
    ) -> tuple[jax.Array, list[jax.Array]]:
        """`sample` with its log-density, so that a guide is not inverted at the point that it drew."""
        value, log_prob = self.flow.sample_and_log_prob(
            seed=_typed(key), sample_shape=tuple(sample_shape), context=self.context
        )
        return value, [log_prob]

    @validate_sample
    def log_prob(self, value: jax.Array, intermediates: list[jax.Array] | None = None) -> jax.Array:
        """Log-density in nats, ``[*sample_shape, *batch_shape]``."""
        if intermediates:
            return intermediates[0]
        return self.flow.log_prob(value, self.context)


def _typed(key: jax.Array) -> jax.Array:
    """Typed keys are what this library draws from; numpyro hands on whichever kind it was given."""
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    return jax.random.wrap_key_data(key)
