"""Fixed elementwise maps as layers: leaky ReLU, and the maps onto positive, unit-interval and bounded data."""

from collections.abc import Sequence

import jax

from dgmjax.bijectors.elementwise import (
    leaky_relu_forward,
    leaky_relu_inverse,
    softplus_forward,
    softplus_inverse,
    tanh_forward,
    tanh_inverse,
)
from dgmjax.bijectors.logit import logit_forward, logit_inverse
from dgmjax.layers.bijector import Bijector, event_axes
from dgmjax.layers.serialization import recorded


@recorded
class LeakyReLU(Bijector):
    """``x = z`` for ``z >= 0``, ``negative_slope * z`` below: real data, piecewise linear.

    Args:
      event_shape: shape of one event.
      negative_slope: positive.

    Raises:
      ValueError: ``negative_slope`` is not positive.
    """

    reach = "finite"

    def __init__(self, event_shape: Sequence[int], *, negative_slope: float = 0.01):
        if negative_slope <= 0:
            raise ValueError(
                f"LeakyReLU: expected negative_slope > 0, got {negative_slope}; a flat or falling map has no inverse."
            )
        self.event_shape = tuple(event_shape)
        self.negative_slope = float(negative_slope)

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        x, log_derivative = leaky_relu_forward(z, self.negative_slope)
        return x, log_derivative.sum(event_axes(self.event_shape))

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        z, log_derivative = leaky_relu_inverse(x, self.negative_slope)
        return z, log_derivative.sum(event_axes(self.event_shape))


@recorded
class Softplus(Bijector):
    """``x = log(1 + exp(z))``: positive data.

    Args:
      event_shape: shape of one event.
    """

    reach = "finite"

    def __init__(self, event_shape: Sequence[int]):
        self.event_shape = tuple(event_shape)

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        x, log_derivative = softplus_forward(z)
        return x, log_derivative.sum(event_axes(self.event_shape))

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        z, log_derivative = softplus_inverse(x)
        return z, log_derivative.sum(event_axes(self.event_shape))


@recorded
class Sigmoid(Bijector):
    """``x = 1 / (1 + exp(-z))``: data in ``(0, 1)``. For pixels, `dgmjax.Logit` also squeezes the ends.

    Args:
      event_shape: shape of one event.
    """

    reach = "finite"

    def __init__(self, event_shape: Sequence[int]):
        self.event_shape = tuple(event_shape)

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        x, log_derivative = logit_forward(z, 1.0, 0.0)
        return x, log_derivative.sum(event_axes(self.event_shape))

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        z, log_derivative = logit_inverse(x, 1.0, 0.0)
        return z, log_derivative.sum(event_axes(self.event_shape))


@recorded
class Tanh(Bijector):
    """``x = tanh(z)``: data in ``(-1, 1)``.

    Args:
      event_shape: shape of one event.
    """

    reach = "finite"

    def __init__(self, event_shape: Sequence[int]):
        self.event_shape = tuple(event_shape)

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        x, log_derivative = tanh_forward(z)
        return x, log_derivative.sum(event_axes(self.event_shape))

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        z, log_derivative = tanh_inverse(x)
        return z, log_derivative.sum(event_axes(self.event_shape))
