"""Maps that double or halve the channels, the last axis: what networks with gates are made of."""

import jax
import jax.numpy as jnp


def concat_elu(x: jax.Array) -> jax.Array:
    """``elu`` of ``x`` and of ``-x``, twice the channels: ``[..., c] -> [..., 2 c]``.

    Source: Shang et al., 2016, *Concatenated rectified linear units*, arXiv:1603.05201, with ``elu`` for ``relu`` as in
      the code of PixelCNN++ (Salimans et al., 2017, arXiv:1701.05517).
    """
    return jax.nn.elu(jnp.concatenate([x, -x], axis=-1))


def gate(x: jax.Array) -> jax.Array:
    """``a sigmoid(b)`` of the two halves ``a, b`` of the last axis: ``[..., 2 c] -> [..., c]``."""
    value, control = jnp.split(x, 2, axis=-1)
    return value * jax.nn.sigmoid(control)
