"""The reversible step of residual networks: one half of the channels moves, then the halves change places."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgmjax.bijectors.squeeze import squeeze, unsqueeze

HalfMap = Callable[[jax.Array], jax.Array]


def halves_inverse(x: jax.Array, branch: HalfMap, *, stride: int = 1) -> jax.Array:
    """``(x1, x2) -> (x2, x1 + F(x2))``, data to latent; with a stride ``(s(x2), s(x1) + F(x2))``. Log-determinant 0.

    ``s`` makes blocks of ``stride x stride`` pixels the channels of one (`squeeze`, order ``"outer"``), of each half.

    Args:
      x: images ``[*batch, h, w, c]`` with an even ``c``, the two halves of the channels.
      branch: ``F``, any function ``[*batch, h, w, c / 2] -> [*batch, h / stride, w / stride, stride^2 c / 2]``.
      stride: of ``s``; 1 for none.

    Source: Jacobsen et al., 2018, *i-RevNet*, arXiv:1802.07088, equation 1. Two of them in a row, with ``F`` and
      ``G``, are the block ``y1 = x1 + F(x2)``, ``y2 = x2 + G(y1)`` of Gomez et al., 2017, *The reversible residual
      network*, arXiv:1707.04585, equation 6.
    """
    x1, x2 = jnp.split(x, 2, axis=-1)
    moved = branch(x2)
    if stride > 1:
        x1, x2 = (squeeze(half, order="outer", factor=stride) for half in (x1, x2))
    return jnp.concatenate([x2, x1 + moved], axis=-1)


def halves_forward(z: jax.Array, branch: HalfMap, *, stride: int = 1) -> jax.Array:
    """``(z1, z2) -> (z2 - F(z1), z1)``, latent to data: the inverse of `halves_inverse`.

    ``F`` is subtracted from the half it was added to, computed from the other: for a block of two,
    ``x2 = y2 - G(y1)``, ``x1 = y1 - F(x2)``, equation 7 of Gomez et al. With ``F`` and ``G`` in each other's place, as
    some lectures print it, that is wrong unless they are equal.
    """
    x2, moved = jnp.split(z, 2, axis=-1)
    if stride > 1:
        x2 = unsqueeze(x2, order="outer", factor=stride)
    x1 = moved - branch(x2)
    if stride > 1:
        x1 = unsqueeze(x1, order="outer", factor=stride)
    return jnp.concatenate([x1, x2], axis=-1)
