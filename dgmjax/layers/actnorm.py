"""Activation normalization: a learned affine map of every feature, started from data."""

from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.actnorm import actnorm_init
from dgmjax.bijectors.affine import affine_forward, affine_inverse
from dgmjax.checks import check_float_event
from dgmjax.layers.bijector import Bijector, event_axes
from dgmjax.layers.serialization.recorded import recorded


@recorded
class ActNorm(Bijector):
    """``z = (x - shift) exp(-log_scale)`` with one ``shift`` and ``log_scale`` a feature, the last axis of the event.

    For vectors this is elementwise; for images ``(h, w, c)`` all pixels share the ``c`` values, and
    ``log |det dz/dx| = -h w sum log_scale``. Starts as the identity; `with_data_init` makes every feature of the
    latents of a batch have mean 0 and variance 1. From then on both are ordinary parameters.

    Args:
      event_shape: shape of one event, of rank 1 or more.

    Raises:
      ValueError: scalar events.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 3.1 and table 1.
    """

    reach = "finite"

    def __init__(self, event_shape: Sequence[int]):
        if len(event_shape) == 0:
            raise ValueError(
                "ActNorm: expected an event with at least one axis, got event_shape (); use (1,)."
            )
        self.event_shape = tuple(event_shape)
        features = self.event_shape[-1:]
        self.shift = nnx.Param(jnp.zeros(features, jnp.float32))
        self.log_scale = nnx.Param(jnp.zeros(features, jnp.float32))

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        x, log_derivative = affine_forward(z, self.shift[...], self.log_scale[...])
        return x, log_derivative.sum(event_axes(self.event_shape))

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        z, log_derivative = affine_inverse(x, self.shift[...], self.log_scale[...])
        return z, log_derivative.sum(event_axes(self.event_shape))

    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """Mean and log standard deviation of every feature of ``x``, over all other axes.

        A feature that never varies is centred and keeps the scale 1.
        """
        del context
        check_float_event(x, self.event_shape, where="ActNorm.with_data_init")
        shift, log_scale = actnorm_init(x)
        new = nnx.clone(self)
        new.shift = nnx.Param(shift.astype(self.shift.dtype))
        new.log_scale = nnx.Param(log_scale.astype(self.log_scale.dtype))
        return new
