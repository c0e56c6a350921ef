"""A Gaussian prior with learned moments, as an affine layer over standard normal latents."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.affine import affine_forward, affine_inverse
from dgmjax.layers.bijector import Bijector, event_axes
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import ends


@recorded
class ConditionalAffine(Bijector):
    """``x = mean + exp(log_std) z`` with one ``mean`` and ``log_std`` a channel, moved by a context.

    With ``z ~ N(0, I)`` it is the density ``N(mean, exp(log_std)^2)``: the learned prior of the last level of Glow, and
    with classes as contexts its class-conditional prior. With a ``net`` the moments are its output, as for the latents
    that a level of a `dgmjax.layers.MultiScale` leaves, whose context is the image that goes on. Starts as the
    identity.

    Args:
      event_shape: ``(h, w, c)`` or ``(d,)``.
      context_shape: shape of the context, or None.
      net: ``net(context) -> [*batch, *event_shape[:-1], 2 c]``; the two moments of a channel are neighbours. Without
        one a vector context moves the moments of the channels by a linear map.
      rngs: ``nnx.Rngs``; the initial weights are zeros.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, the authors' code (``prior``, ``split2d_prior``).
    """

    reach = "finite"

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        context_shape: Sequence[int] | None = None,
        net: nnx.Module | None = None,
        rngs: nnx.Rngs,
    ):
        self.event_shape = tuple(event_shape)
        self.context_shape = None if context_shape is None else tuple(context_shape)
        channels = self.event_shape[-1]
        self.moments = nnx.Param(jnp.zeros((channels, 2), jnp.float32))
        if net is None and self.context_shape is not None:
            if len(self.context_shape) != 1:
                raise ValueError(
                    f"ConditionalAffine: without a net the context must be a vector (k,), got {self.context_shape}."
                )
            zeros = nnx.initializers.zeros
            net = nnx.Linear(
                self.context_shape[0], 2 * channels, use_bias=False, kernel_init=zeros, rngs=rngs
            )
        self.net = nnx.data(net)

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        x, log_derivative = affine_forward(z, *self._moments(z, context))
        return x, log_derivative.sum(event_axes(self.event_shape))

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        z, log_derivative = affine_inverse(x, *self._moments(x, context))
        # Scales of the net have no lower bound; gradients hold squares of latents times activations.
        z, verdict = ends.within(z, len(self.event_shape), ends.largest(z.dtype, 1 / 3))
        return z, ends.judged(log_derivative.sum(event_axes(self.event_shape)), verdict)

    def _moments(self, value: jax.Array, context: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        moments = jnp.broadcast_to(self.moments[...], (*value.shape, 2))
        if self.context_shape is not None:
            moved = self.net(context)  # type: ignore[misc]
            if moved.ndim < value.ndim:  # a vector context moves all pixels alike
                pixels = (1,) * (len(self.event_shape) - 1)
                moved = moved.reshape(*moved.shape[:-1], *pixels, moved.shape[-1])
            moved = moved.reshape(*moved.shape[:-1], moved.shape[-1] // 2, 2)
            moments = moments + jnp.broadcast_to(moved, moments.shape)
        return moments[..., 0], moments[..., 1]
