"""Continuous data with normal noise."""

import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.densities.normal import bounded_log_scale
from dgmjax.distributions.likelihoods.base import Likelihood
from dgmjax.layers.serialization.recorded import recorded

Variance = Literal["fixed", "global", "pixel"]

VARIANCES: tuple[Variance, ...] = ("fixed", "global", "pixel")


@recorded
class Gaussian(Likelihood):
    """``log p(x) = sum_i -((x_i - m_i) / s_i)^2 / 2 - log s_i - log(2 pi) / 2``; continuous data.

    - ``variance="fixed"``: the network gives the means, ``[*event]``; ``s = scale``.
    - ``"global"``: also the means; ``log s = log(scale) + 7 tanh(r / 7)`` with one learned ``r`` for all elements,
      0 at first.
    - ``"pixel"``: ``[*event, 2]``, for every element its mean and an ``r``, with ``log s`` as above.

    The smooth bound keeps ``s`` within a factor of 1100 of ``scale``: densities have no upper limit, and a decoder that
    reproduces one constant element would otherwise gain without end.

    Args:
      event_shape: shape of one event.
      variance: ``"fixed"``, ``"global"`` or ``"pixel"``.
      scale: the standard deviation, or the one where ``r = 0``; positive.

    Raises:
      ValueError: an unknown variance or a scale that is not positive.

    Source: Kingma and Welling, 2014, arXiv:1312.6114, appendix C.2; one learned variance: Rybkin et al., 2021,
      arXiv:2006.13202.
    """

    def __init__(
        self, event_shape: Sequence[int], variance: Variance = "fixed", scale: float = 1.0
    ):
        if variance not in VARIANCES:
            raise ValueError(
                f"Gaussian: variance: expected one of {list(VARIANCES)}, got {variance!r}."
            )
        if not 0.0 < scale < math.inf:
            raise ValueError(f"Gaussian: scale must be positive, got {scale}.")
        super().__init__(event_shape, (*event_shape, 2) if variance == "pixel" else event_shape)
        self.variance = variance
        self.scale = float(scale)
        self.raw = nnx.data(None)
        if variance == "global":
            self.raw = nnx.Param(jnp.zeros((), jnp.float32))

    def _moments(self, output: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Means and log standard deviations, both ``[*b, *event]``."""
        if self.variance == "pixel":
            output, raw = output[..., 0], output[..., 1]
        elif self.raw is not None:
            raw = self.raw[...].astype(output.dtype)
        else:
            raw = jnp.zeros((), output.dtype)
        log_std = math.log(self.scale) + bounded_log_scale(raw)
        return output, jnp.broadcast_to(log_std, output.shape)

    def _log_probs(self, x: jax.Array, output: jax.Array) -> jax.Array:
        mean, log_std = self._moments(output)
        z = (x - mean) * jnp.exp(-log_std)
        return -0.5 * z**2 - log_std - 0.5 * math.log(2.0 * math.pi)

    def _draw(self, key: jax.Array, output: jax.Array) -> jax.Array:
        mean, log_std = self._moments(output)
        return mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape, mean.dtype)

    def _mean(self, output: jax.Array) -> jax.Array:
        return self._moments(output)[0]
