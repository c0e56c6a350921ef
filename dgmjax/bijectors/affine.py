"""Elementwise affine maps and the affine transformer of coupling layers."""

import dataclasses

import jax
import jax.numpy as jnp

from dgmjax.bijectors.scales import scale_fn


def affine_forward(
    z: jax.Array, shift: jax.Array, log_scale: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """``x = exp(log_scale) * z + shift``, elementwise.

    Args:
      z: latent, any shape.
      shift: broadcasts to the shape of ``z``.
      log_scale: natural log of the scale; broadcasts to the shape of ``z``.

    Returns:
      ``x`` and the elementwise log-derivative ``log_scale``, both with the shape of ``z``.

    Source: Dinh et al., 2017, *Density estimation using Real NVP*, arXiv:1605.08803, equation 7.
    """
    shift, log_scale = jnp.broadcast_to(shift, z.shape), jnp.broadcast_to(log_scale, z.shape)
    return z * jnp.exp(log_scale) + shift, log_scale


def affine_inverse(
    x: jax.Array, shift: jax.Array, log_scale: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """``z = (x - shift) * exp(-log_scale)``, elementwise: the inverse of `affine_forward`.

    Returns:
      ``z`` and the elementwise log-derivative ``-log_scale``, both with the shape of ``x``.

    Source: Dinh et al., 2017, arXiv:1605.08803, equation 8.
    """
    shift, log_scale = jnp.broadcast_to(shift, x.shape), jnp.broadcast_to(log_scale, x.shape)
    return (x - shift) * jnp.exp(-log_scale), -log_scale


@dataclasses.dataclass(frozen=True)
class AffineTransformer:
    """The affine map as a coupling transformer: two parameters an element, ``(shift, raw)``.

    ``log_scale = scale_fn(raw)`` with a named, bounded ``scale_fn`` (see `dgmjax.bijectors.scales`). All-zero
    parameters give the identity for ``tanh``, ``double_sigmoid`` and ``exp``.

    Attributes:
      scale_fn: name of the map from ``raw`` to the log-scale.
    """

    scale_fn: str = "tanh"

    def __post_init__(self) -> None:
        """Reject an unknown name at construction, not at the first trace."""
        scale_fn(self.scale_fn)

    @property
    def num_params(self) -> int:
        """Parameters an element."""
        return 2

    def forward(self, z: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data; ``params`` has shape ``[*z.shape, 2]``; log-derivative elementwise."""
        return affine_forward(z, params[..., 0], scale_fn(self.scale_fn)(params[..., 1]))

    def inverse(self, x: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent; ``params`` has shape ``[*x.shape, 2]``; log-derivative elementwise."""
        return affine_inverse(x, params[..., 0], scale_fn(self.scale_fn)(params[..., 1]))


@dataclasses.dataclass(frozen=True)
class AdditiveTransformer:
    """``x = z + shift``: one parameter an element, volume preserving.

    Source: Dinh et al., 2015, *NICE*, arXiv:1410.8516, section 3.2.
    """

    @property
    def num_params(self) -> int:
        """Parameters an element."""
        return 1

    def forward(self, z: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data; ``params`` has shape ``[*z.shape, 1]``; log-derivative 0."""
        return z + params[..., 0], jnp.zeros_like(z)

    def inverse(self, x: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent; ``params`` has shape ``[*x.shape, 1]``; log-derivative 0."""
        return x - params[..., 0], jnp.zeros_like(x)
