"""Statistics that normalize the features, i.e. the last axis, of a batch."""

import jax
import jax.numpy as jnp

from dgmjax.numerics.moments import moments


def actnorm_init(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``shift = mean(x)`` and ``log_scale = log std(x)`` of every feature, over all axes but the last.

    With them ``z = (x - shift) exp(-log_scale)``, `dgmjax.bijectors.affine_inverse`, has mean 0 and variance 1 on
    this batch. A feature that does not vary by more than rounding keeps ``log_scale = 0``: its own spread would blow
    up every other value.

    Args:
      x: data, ``[*batch, *spatial, c]`` with at least one axis before the last.

    Returns:
      ``shift`` and ``log_scale``, both ``[c]``.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 3.1; its ``s`` and ``b`` act on the data,
      ``s = exp(-log_scale)`` and ``b = -shift exp(-log_scale)``.
    """
    rows = x.reshape(-1, x.shape[-1])
    shift, log_scale = moments(rows)
    half_span = 0.5 * rows.max(0) - 0.5 * rows.min(0)
    varies = half_span > 5.0 * jnp.finfo(x.dtype).eps * jnp.abs(rows).max(0)
    return shift, jnp.where(varies, log_scale, jnp.zeros_like(log_scale))
