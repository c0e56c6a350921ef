"""Statistics that normalize the features, i.e. the last axis, of a batch."""

import jax
import jax.numpy as jnp


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
    shift = rows.mean(0)
    span = rows.max(0) - rows.min(0)
    varies = span > 10.0 * jnp.finfo(x.dtype).eps * jnp.abs(rows).max(0)
    # In units of the span: squares of deviations would leave the range of float32 long before the deviations do.
    unit = jnp.where(varies, span, jnp.ones_like(span))
    deviation = (rows - jnp.broadcast_to(shift, rows.shape)) / jnp.broadcast_to(unit, rows.shape)
    variance = jnp.where(varies, (deviation**2).mean(0), jnp.ones_like(span))
    return shift, jnp.log(unit) + 0.5 * jnp.log(variance)
