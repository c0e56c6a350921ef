"""Blocks of pixel networks: gated residual (PixelCNN++), gated (Gated PixelCNN) and masked residual (PixelCNN).

All map ``[*batch, h, w, width]`` to the same shape and call their convolutions as ``run(conv, x)``, so that the caller
decides where the input of a convolution lies: a whole image, or a patch next to what a cache remembers.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.nets.gates import concat_elu, gate
from dgmjax.nets.mlp import dropout
from dgmjax.nets.pixelcnn.conv import CausalConv, ReceptiveField
from dgmjax.nets.summary import Module

# run(conv, x) -> conv(x)
Run = Callable[[Any, jax.Array], jax.Array]

_CONTEXT_INIT = nnx.initializers.lecun_normal()


class CausalBlock(Module):
    """A block of convolutions with a projection of the context, dropout, and a second input.

    Args:
      width: channels.
      extra: channels of a second input of the same pixels, added by a 1x1 convolution; 0 for none.
      size: of the convolutions that see more than one pixel.
      reach: theirs, see `CausalConv`.
      dropout: probability of dropping a hidden unit when a key is given.
      context_size: length of the context vector; 0 for none.
      rngs: ``nnx.Rngs`` for the initial weights.
    """

    is_u_net: ClassVar[bool] = False

    def __init__(
        self,
        width: int,
        *,
        extra: int,
        size: tuple[int, int],
        reach: ReceptiveField,
        dropout: float,
        context_size: int,
        rngs: nnx.Rngs,
    ):
        self.dropout = dropout
        self.context_kernel = nnx.data(None)
        if context_size:
            shape = (context_size, self._context_channels(width))
            self.context_kernel = nnx.Param(_CONTEXT_INIT(rngs.params(), shape, jnp.float32))
        self._build(width, extra, size, reach, rngs)

    @property
    def spatial(self) -> list[CausalConv]:
        """The convolutions that see more than one pixel, in the order in which they run."""
        raise NotImplementedError

    def __call__(
        self,
        x: jax.Array,
        extra: jax.Array | None,
        context: jax.Array | None,
        *,
        key: jax.Array | None,
        run: Run,
    ) -> jax.Array:
        """``[batch, h, w, width]`` to the same; ``extra`` of the same pixels, ``context`` ``[batch, k]``."""
        raise NotImplementedError

    def _build(
        self, width: int, extra: int, size: tuple[int, int], reach: ReceptiveField, rngs: nnx.Rngs
    ) -> None:
        raise NotImplementedError

    def _context_channels(self, width: int) -> int:
        return 2 * width

    def _drop(self, x: jax.Array, key: jax.Array | None) -> jax.Array:
        return x if key is None or not self.dropout else dropout(x, self.dropout, key)

    def _with_context(self, x: jax.Array, context: jax.Array | None) -> jax.Array:
        if context is None or self.context_kernel is None:
            return x
        shift = context.astype(x.dtype) @ self.context_kernel[...].astype(x.dtype)
        return x + shift[:, None, None, :]


class GatedResidual(CausalBlock):
    """``x + a * sigmoid(b)`` with ``(a, b) = conv(drop(f(conv(f(x)) + conv1x1(f(extra))))) + context @ kernel``.

    ``f`` is `concat_elu`; the last convolution starts at a tenth of the scale, so blocks start near the identity.

    Source: Salimans et al., 2017, *PixelCNN++*, arXiv:1701.05517, section 2 and the authors' code.
    """

    is_u_net = True

    @property
    def spatial(self) -> list[CausalConv]:
        """See the base class."""
        return [self.first, self.second]

    def _build(
        self, width: int, extra: int, size: tuple[int, int], reach: ReceptiveField, rngs: nnx.Rngs
    ) -> None:
        self.first = CausalConv(size, 2 * width, width, reach=reach, rngs=rngs)
        self.second = CausalConv(size, 2 * width, 2 * width, reach=reach, scale=0.1, rngs=rngs)
        self.link = CausalConv((1, 1), 2 * extra, width, rngs=rngs) if extra else nnx.data(None)

    def __call__(
        self,
        x: jax.Array,
        extra: jax.Array | None,
        context: jax.Array | None,
        *,
        key: jax.Array | None,
        run: Run,
    ) -> jax.Array:
        """See the class."""
        hidden = run(self.first, concat_elu(x))
        if extra is not None:
            hidden = hidden + run(self.link, concat_elu(extra))
        hidden = self._drop(concat_elu(hidden), key)
        change = self._with_context(run(self.second, hidden), context)
        return x + gate(change)


class GatedConv(CausalBlock):
    """``tanh(a) * sigmoid(b)`` with ``(a, b) = conv(x) + conv1x1(extra) + context @ kernel``; residual with an extra.

    So in the vertical stream, which has no extra, ``drop(gate)`` is the output, and in the horizontal one, whose extra
    is the vertical stream, ``x + conv1x1(drop(gate))``, as in the paper. There the horizontal stream sees the
    vertical one before its gate; here after it.

    Source: van den Oord et al., 2016, *Conditional image generation with PixelCNN decoders*, arXiv:1606.05328,
      equation 2 and figure 2.
    """

    @property
    def spatial(self) -> list[CausalConv]:
        """See the base class."""
        return [self.conv]

    def _build(
        self, width: int, extra: int, size: tuple[int, int], reach: ReceptiveField, rngs: nnx.Rngs
    ) -> None:
        self.conv = CausalConv(size, width, 2 * width, reach=reach, rngs=rngs)
        self.link = CausalConv((1, 1), extra, 2 * width, rngs=rngs) if extra else nnx.data(None)
        self.last = CausalConv((1, 1), width, width, rngs=rngs) if extra else nnx.data(None)

    def __call__(
        self,
        x: jax.Array,
        extra: jax.Array | None,
        context: jax.Array | None,
        *,
        key: jax.Array | None,
        run: Run,
    ) -> jax.Array:
        """See the class."""
        change = self._with_context(run(self.conv, x), context)
        if extra is not None:
            change = change + run(self.link, extra)
        value, control = jnp.split(change, 2, axis=-1)
        gated = self._drop(jnp.tanh(value) * jax.nn.sigmoid(control), key)
        return gated if extra is None else x + run(self.last, gated)


class MaskedResidual(CausalBlock):
    """``x + conv1x1(drop(relu(conv(relu(conv1x1(relu(x)))) + context @ kernel)))``, half the channels inside.

    Source: van den Oord et al., 2016, *Pixel recurrent neural networks*, arXiv:1601.06759, figure 5.
    """

    @property
    def spatial(self) -> list[CausalConv]:
        """See the base class."""
        return [self.middle]

    def _context_channels(self, width: int) -> int:
        return _half(width)

    def _build(
        self, width: int, extra: int, size: tuple[int, int], reach: ReceptiveField, rngs: nnx.Rngs
    ) -> None:
        del extra
        half = _half(width)
        self.first = CausalConv((1, 1), width, half, rngs=rngs)
        self.middle = CausalConv(size, half, half, reach=reach, rngs=rngs)
        self.last = CausalConv((1, 1), half, width, rngs=rngs)

    def __call__(
        self,
        x: jax.Array,
        extra: jax.Array | None,
        context: jax.Array | None,
        *,
        key: jax.Array | None,
        run: Run,
    ) -> jax.Array:
        """See the class."""
        hidden = jax.nn.relu(run(self.first, jax.nn.relu(x)))
        hidden = self._with_context(run(self.middle, hidden), context)
        return x + run(self.last, self._drop(jax.nn.relu(hidden), key))


def _half(width: int) -> int:
    return max(1, width // 2)
