"""Elementwise affine maps and the affine transformer of coupling layers."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from dgmjax.bijectors.scales import ScaleFn, scale_fn
from dgmjax.numerics import ends
from dgmjax.numerics.compiled import compiled


@compiled
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
    return z * _exp(log_scale) + shift, log_scale


@compiled
def affine_inverse(
    x: jax.Array, shift: jax.Array, log_scale: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """``z = (x - shift) * exp(-log_scale)``, elementwise: the inverse of `affine_forward`.

    Returns:
      ``z`` and the elementwise log-derivative ``-log_scale``, both with the shape of ``x``.

    Source: Dinh et al., 2017, arXiv:1605.08803, equation 8.
    """
    shift, log_scale = jnp.broadcast_to(shift, x.shape), jnp.broadcast_to(log_scale, x.shape)
    return (x - shift) * _exp(-log_scale), -log_scale


@compiled
def shift_scale_forward(
    z: jax.Array, shift: jax.Array, log_scale: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """``x = (z + shift) * exp(log_scale)``, elementwise: the form in the code of RealNVP and Glow.

    Arguments and results as in `affine_forward`, of which it is the case ``shift exp(log_scale)``; the inverse is
    ``z = x exp(-log_scale) - shift``.
    """
    shift, log_scale = jnp.broadcast_to(shift, z.shape), jnp.broadcast_to(log_scale, z.shape)
    return (z + shift) * _exp(log_scale), log_scale


@compiled
def shift_scale_inverse(
    x: jax.Array, shift: jax.Array, log_scale: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """``z = x * exp(-log_scale) - shift``, elementwise: the inverse of `shift_scale_forward`."""
    shift, log_scale = jnp.broadcast_to(shift, x.shape), jnp.broadcast_to(log_scale, x.shape)
    return x * _exp(-log_scale) - shift, -log_scale


def _exp(log_scale: jax.Array) -> jax.Array:
    """``exp``, and its largest number in place of infinity, which times zero would be NaN, in derivatives too."""
    return jnp.exp(ends.bounded(log_scale, math.log(float(jnp.finfo(log_scale.dtype).max)) - 1e-2))


@dataclasses.dataclass(frozen=True)
class AffineTransformer:
    """The affine map as a coupling transformer: two parameters an element, ``(shift, raw)``.

    ``log_scale = scale_fn(raw)`` with a ``scale_fn`` by name (see `dgmjax.bijectors.scale_fn`) or of yours. All-zero
    parameters give the identity for ``tanh``, ``double_sigmoid``, ``softplus`` and ``exp``.

    Attributes:
      scale_fn: name of the map from ``raw`` to the log-scale, or the map.
      shift_first: ``x = (z + shift) s`` instead of ``x = s z + shift``.
    """

    scale_fn: ScaleFn = "tanh"
    shift_first: bool = False

    def __post_init__(self) -> None:
        """Reject what is no map at construction, not at the first trace."""
        scale_fn(self.scale_fn)

    @property
    def num_params(self) -> int:
        """Parameters an element."""
        return 2

    def forward(self, z: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data; ``params`` has shape ``[*z.shape, 2]``; log-derivative elementwise."""
        function = shift_scale_forward if self.shift_first else affine_forward
        return function(z, params[..., 0], scale_fn(self.scale_fn)(params[..., 1]))

    def inverse(self, x: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent; ``params`` has shape ``[*x.shape, 2]``; log-derivative elementwise."""
        function = shift_scale_inverse if self.shift_first else affine_inverse
        return function(x, params[..., 0], scale_fn(self.scale_fn)(params[..., 1]))


@dataclasses.dataclass(frozen=True)
class GatedTransformer:
    """IAF's gate, ``z = s x + (1 - s) m`` with ``s = sigmoid(raw + bias)``: two parameters an element, ``(m, raw)``.

    The published formula is ``inverse``, so that `dgmjax.Inverse` of a masked autoregressive layer applies it from
    latent to data, as IAF does. It equals the affine map of scale ``s`` and shift ``(1 - s) m``, but its step towards
    ``m`` is bounded, and a positive bias starts it near the identity.

    Attributes:
      bias: added to ``raw``; 1 or 2 in the paper.

    Source: Kingma et al., 2016, *Improving variational inference with inverse autoregressive flow*,
    arXiv:1606.04934, equation 14 and algorithm 1.
    """

    bias: float = 1.5

    @property
    def num_params(self) -> int:
        """Parameters an element."""
        return 2

    def forward(self, z: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """``x = (z - (1 - s) m) / s``; ``params`` has shape ``[*z.shape, 2]``; log-derivative ``-log s``."""
        mean, raw = params[..., 0], params[..., 1] + self.bias
        shift = jax.nn.sigmoid(-raw) * mean
        return (z - shift) * _exp(-jax.nn.log_sigmoid(raw)), -jax.nn.log_sigmoid(raw)

    def inverse(self, x: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """``z = s x + (1 - s) m``; ``params`` has shape ``[*x.shape, 2]``; log-derivative ``log s``."""
        mean, raw = params[..., 0], params[..., 1] + self.bias
        return (
            jax.nn.sigmoid(raw) * x + jax.nn.sigmoid(-raw) * mean,
            jax.nn.log_sigmoid(raw),
        )


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
