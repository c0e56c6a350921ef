"""A bijector of small events applied along the leading axes of larger ones."""

import math
from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.layers.bijector import Bijector
from dgmjax.layers.serialization.recorded import recorded


@recorded
class Block(Bijector):
    """``layer`` applied independently to each part of events ``(*leading, *layer.event_shape)``; log-dets are summed.

    Batch axes of the layer become event axes, as in ``distrax.Block``. Every part sees the same context and the same
    parameters.

    Args:
      layer: a bijector of the parts.
      leading: sizes of the axes in front, e.g. ``(h, w)`` to apply a layer of ``(c,)`` to every pixel.

    Raises:
      ValueError: no leading axis, or one without elements.
    """

    reach = "any"

    def __init__(self, layer: Bijector, leading: Sequence[int]):
        self.leading = tuple(leading)
        if not self.leading or min(self.leading) < 1:
            raise ValueError(f"Block: expected leading axes of positive size, got {self.leading}.")
        self.layer = layer
        self.event_shape = (*self.leading, *layer.event_shape)
        self.context_shape = layer.context_shape

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Leading axes and the latent shape of the layer."""
        return (*self.leading, *self.layer.latent_shape)

    @property
    def depends_on_data(self) -> bool:
        """Whether the layer does."""
        return self.layer.depends_on_data

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Latent to data, part by part."""
        x, log_det = self.layer.forward_and_log_det(z, self._spread(context), key=key)
        return x, self._total(log_det)

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Data to latent, part by part."""
        z, log_det = self.layer.inverse_and_log_det(x, self._spread(context), key=key)
        return z, self._total(log_det)

    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """The parts of all events are one batch for the layer."""
        new = nnx.clone(self)
        new.layer = self.layer.with_data_init(x, self._spread(context))
        return new

    def inverse_and_update(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, Self]:
        """Data to latent as in training, and the block of the new layer; its batch is the parts of all events."""
        spread = self._spread(context)
        z, log_det, layer = self.layer.inverse_and_update(x, spread, key=key)
        new = nnx.clone(self)
        new.layer = layer
        return z, self._total(log_det), new

    def forward_in_training(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """Undo `inverse_and_update`, all parts at once."""
        return self.layer.forward_in_training(z, self._spread(context), key=key)

    def _spread(self, context: jax.Array | None) -> jax.Array | None:
        """The context of an event, once for each of its parts."""
        if context is None or self.context_shape is None:
            return None
        axes = len(self.context_shape)
        batch, own = context.shape[: context.ndim - axes], context.shape[context.ndim - axes :]
        context = context.reshape(*batch, *(1 for _ in self.leading), *own)
        return jnp.broadcast_to(context, (*batch, *self.leading, *own))

    def _total(self, log_det: jax.Array) -> jax.Array:
        batch = log_det.shape[: log_det.ndim - len(self.leading)]
        return log_det.reshape(*batch, math.prod(self.leading)).sum(-1)
