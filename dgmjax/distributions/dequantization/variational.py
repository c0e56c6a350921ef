"""Noise in the bin from a flow of the data, trained with the density."""

from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.distributions.dequantization.base import Dequantization
from dgmjax.distributions.flow import Flow
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled


@recorded
class VariationalDequantization(Dequantization):
    """``u ~ q(u | y)`` from a flow over ``(0, 1)^D`` that is trained with the density, for a tighter bound.

    The flow's context is the image of integers scaled to ``(-1/2, 1/2)``, ``(y + 1/2) / num_levels - 1/2``; a flow
    without one is noise that knows nothing of ``y``, of which `UniformDequantization` is the case of a sigmoid of
    logistic noise. Every training step draws from it, so its fast direction should be that from latents to ``u``.

    Args:
      flow: over events in ``(0, 1)``, e.g. with ``dgmjax.Logit(event_shape, 1.0, alpha=0.0)`` as its first layer, with
        ``context_shape == event_shape`` or none.
      num_levels: values an element of ``y`` can take.
      low: as in `Dequantization`.

    Raises:
      ValueError: the flow has another context.

    Source: Ho et al., 2019, *Flow++*, arXiv:1902.00275, section 3.1, with the last layer in ``(0, 1)`` that the bound
      needs.
    """

    name = "variational dequantization"

    def __init__(self, flow: Flow, num_levels: int, *, low: float = 0.0):
        super().__init__(flow.event_shape, low=low)
        if flow.context_shape not in (None, flow.event_shape):
            raise ValueError(
                f"VariationalDequantization: the flow sees the integers themselves: expected context_shape "
                f"{flow.event_shape} or None, got {flow.context_shape}."
            )
        self.flow = flow
        self.num_levels = int(num_levels)

    @compiled
    def noise(
        self, y: jax.Array, *, seed: jax.Array, dtype: Any, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """A reparametrized draw and its log-density; gradients reach the flow through both."""
        context = self._context(y, dtype)
        shape = () if context is not None else self._batch(y)
        return self.flow.sample_and_log_prob(
            seed=seed, sample_shape=shape, context=context, key=key
        )

    def with_data_init(self, y: jax.Array, *, seed: jax.Array) -> Self:
        """The flow's data-dependent layers set from uniform noise, so that ``q`` starts near uniform."""
        dtype = jnp.result_type(*jax.tree.leaves(self.flow))
        u = prng.draw(lambda one, shape: jax.random.uniform(one, shape, dtype), seed, y.shape)
        u = jnp.clip(u, jnp.finfo(dtype).eps, 1 - jnp.finfo(dtype).eps)
        new = nnx.clone(self)
        new.flow = self.flow.with_data_init(u, self._context(y, dtype))
        return new

    def _context(self, y: jax.Array, dtype: Any) -> jax.Array | None:
        if self.flow.context_shape is None:
            return None
        return (y.astype(dtype) + 0.5) / self.num_levels - 0.5
