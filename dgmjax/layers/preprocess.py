"""Fixed first layers of a flow: they bring data to a standard range and count their log-determinant."""

from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.affine import affine_forward, affine_inverse
from dgmjax.bijectors.histogram import (
    histogram_gaussianize_forward,
    histogram_gaussianize_inverse,
    histogram_mass,
)
from dgmjax.bijectors.logit import logit_forward, logit_inverse
from dgmjax.layers.bijector import Bijector, event_axes
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics.moments import moments


@recorded
class Logit(Bijector):
    """``z = logit(alpha + (1 - 2 alpha) x / levels)``: data in ``[0, levels]`` to the real line.

    Args:
      event_shape: shape of one event.
      levels: upper end of the data; the number of grey levels for dequantized pixels.
      alpha: margin that keeps the logit finite at the ends; 0.05 for colour images, 1e-6 for MNIST.

    Source: Dinh et al., 2017, arXiv:1605.08803, section 4.1.
    """

    reach = "finite"

    def __init__(self, event_shape: Sequence[int], levels: float, *, alpha: float = 0.05):
        if levels <= 0 or not 0 <= alpha < 0.5:
            raise ValueError(
                f"Logit: expected levels > 0 and 0 <= alpha < 0.5, got {levels} and {alpha}."
            )
        self.event_shape = tuple(event_shape)
        self.levels = float(levels)
        self.alpha = float(alpha)

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        x, log_derivative = logit_forward(z, self.levels, self.alpha)
        return x, log_derivative.sum(event_axes(self.event_shape))

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        z, log_derivative = logit_inverse(x, self.levels, self.alpha)
        return z, log_derivative.sum(event_axes(self.event_shape))


@recorded
class HistogramGaussianize(Bijector):
    """``z = Phi^-1(F(x))`` with ``F`` the piecewise-linear CDF of a histogram for each element.

    Starts as the uniform histogram; `with_data_init` sets it from (dequantized) training data. The histogram is
    data, not a parameter: no optimizer changes it.

    Args:
      event_shape: shape of one event.
      num_levels: number of unit bins, ``[0, 1), ..., [num_levels - 1, num_levels)``.
      pseudo_count: observations added to every bin, so that unseen levels keep a positive density.
      shared: one histogram a feature, the last axis of the event, instead of one an element: on images all pixels go
        through the same map, so that convolutions meet equal levels as equal values.

    Source: see `dgmjax.bijectors.histogram`.
    """

    reach = "finite"

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int,
        *,
        pseudo_count: float = 1.0,
        shared: bool = False,
    ):
        if num_levels < 2 or pseudo_count <= 0:
            raise ValueError(
                f"HistogramGaussianize: expected num_levels >= 2 and pseudo_count > 0, got {num_levels} and "
                f"{pseudo_count}."
            )
        self.event_shape = tuple(event_shape)
        self.pseudo_count = float(pseudo_count)
        elements = self.event_shape
        if shared:
            elements = (*(1 for _ in elements[:-1]), *elements[-1:])
        uniform = jnp.full((*elements, num_levels), 1.0 / num_levels, jnp.float32)
        self.mass = nnx.data(uniform)

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        x, log_derivative = histogram_gaussianize_forward(z, self.mass)
        return x, log_derivative.sum(event_axes(self.event_shape))

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        z, log_derivative = histogram_gaussianize_inverse(x, self.mass)
        return z, log_derivative.sum(event_axes(self.event_shape))

    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """Histogram of ``floor(x)`` over the batch, and the pixels if they share it, smoothed by ``pseudo_count``."""
        del context
        num_levels = self.mass.shape[-1]
        # The last bin is closed; what lies outside belongs to the end bins, as in the map itself.
        levels = jnp.clip(jnp.floor(x), 0, num_levels - 1).astype(jnp.int32)
        levels = levels.reshape(-1, *self.mass.shape[:-1])
        new = nnx.clone(self)
        mass = histogram_mass(levels, num_levels, pseudo_count=self.pseudo_count)
        new.mass = mass.astype(self.mass.dtype)
        return new


@recorded
class Standardize(Bijector):
    """``x = mean + std * z``, elementwise; `with_data_init` sets both from training data.

    Mean and standard deviation are data, not parameters. An element that never varies keeps ``std = 1``.

    Args:
      event_shape: shape of one event.
    """

    reach = "finite"

    def __init__(self, event_shape: Sequence[int]):
        self.event_shape = tuple(event_shape)
        self.mean = nnx.data(jnp.zeros(self.event_shape, jnp.float32))
        self.log_std = nnx.data(jnp.zeros(self.event_shape, jnp.float32))

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        x, log_derivative = affine_forward(z, self.mean, self.log_std)
        return x, log_derivative.sum(event_axes(self.event_shape))

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        z, log_derivative = affine_inverse(x, self.mean, self.log_std)
        return z, log_derivative.sum(event_axes(self.event_shape))

    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """Mean and standard deviation over the batch axes."""
        del context
        x = x.reshape(-1, *self.event_shape)
        mean, log_std = moments(x)
        log_std = jnp.where(log_std == -jnp.inf, jnp.zeros_like(log_std), log_std)
        new = nnx.clone(self)
        new.mean = mean.astype(self.mean.dtype)
        new.log_std = log_std.astype(self.log_std.dtype)
        return new
