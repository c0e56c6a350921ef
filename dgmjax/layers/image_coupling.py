"""The coupling layer for images."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.bijectors.coupling import coupling_forward, coupling_inverse, split_by_mask
from dgmjax.bijectors.coupling_masks import image_mask
from dgmjax.bijectors.image_coupling import pixel_coupling_forward, pixel_coupling_inverse
from dgmjax.bijectors.transformer import Transformer, check_transformer
from dgmjax.checks import check_float_event
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.conditioner import call_conditioner
from dgmjax.nets.static import StaticArray


class ImageCoupling(Bijector):
    """``x_A = z_A``, ``x_B = f(z_B; net(z_A, context))`` for images; A, where the mask is ``True``: pixels or channels.

    With a mask of channels the network sees the channels of A only and returns parameters for those of B only. With a
    mask of pixels it sees the image with zeros in place of B and, since it could not tell these from zeros of A, the
    mask as one more channel, as in RealNVP's code; its output is used at B only.

    Args:
      event_shape: ``(h, w, c)``.
      mask: ``"checkerboard"`` (``True`` where row + column is even), ``"checkerboard_odd"``, ``"channel"`` (``True``
        for the first half of the channels), ``"channel_swapped"``, or booleans, one a pixel ``(h, w)`` or one a
        channel ``(c,)``; ``True`` passes through unchanged.
      make_conditioner: called once as ``make_conditioner((h, w, in_channels), out_channels, context_size=...)``,
        returns a module ``net(kept, context, key=None) -> [*batch, h, w, out_channels]``. The
        ``transformer.num_params`` parameters of an element are neighbours among the ``out_channels``, as in Glow. A
        network without dropout may leave ``key`` out, and without a context ``context`` too.
      transformer: the elementwise map `f`, see `dgmjax.bijectors.Transformer`. One without parameters needs no network,
        and none is made.
      swap: exchange A and B, which must be channels and equally many, on the latent side, so that equal layers in a
        row, e.g. of a `dgmjax.Stack`, alternate. Pixels cannot be exchanged: put ``"checkerboard"`` and
        ``"checkerboard_odd"`` in pairs.
      mask_channel: whether the network sees the mask; of no effect for masks of channels.
      context_shape: of a conditional layer: ``(k,)``, or ``(h, w, k)`` for networks that take one context a pixel; or
        None. The network gets the context as it is, and ``context_size=k``.

    Raises:
      TypeError: ``transformer`` has no ``num_params``, ``forward`` or ``inverse``.
      ValueError: events that are no images, a mask or context that does not fit them, or parts that cannot be swapped.

    Source: Dinh et al., 2017, *Density estimation using Real NVP*, arXiv:1605.08803, section 3.4; Kingma and Dhariwal,
      2018, *Glow*, arXiv:1807.03039, section 3.3.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        mask: str | np.ndarray | Sequence[bool],
        make_conditioner: Callable[..., nnx.Module],
        transformer: Transformer,
        swap: bool = False,
        mask_channel: bool = True,
        context_shape: Sequence[int] | None = None,
    ):
        self.transformer = check_transformer(transformer, where="ImageCoupling")
        self.event_shape = tuple(event_shape)
        if len(self.event_shape) != 3:
            raise ValueError(
                f"ImageCoupling: expected image events (h, w, c), got event_shape {self.event_shape}; "
                f"dgmjax.Coupling is for vectors."
            )
        height, width, channels = self.event_shape
        self.context_shape = None if context_shape is None else tuple(context_shape)
        if self.context_shape is not None and (
            len(self.context_shape) not in (1, 3)
            or self.context_shape[:-1] not in ((), (height, width))
        ):
            raise ValueError(
                f"ImageCoupling: expected context_shape (k,) or ({height}, {width}, k), got {self.context_shape}."
            )
        values = image_mask(mask, (height, width, channels))
        self.mask = StaticArray(values)
        # No channel mask has one channel: one of its parts would be empty.
        self.of_pixels = values.shape[-1] == 1
        kept, moved = channels if self.of_pixels else int(values.sum()), self._moved
        if swap and (self.of_pixels or kept != moved):
            raise ValueError(
                f"ImageCoupling: swap exchanges two halves of the channels, got the mask {mask!r} on images of shape "
                f"{self.event_shape}; squeeze to an even number of channels, or put layers with a mask and its "
                f"complement in pairs."
            )
        self.swap = swap
        self.mask_channel = mask_channel and self.of_pixels
        self.conditioner: Any = nnx.data(None)
        if transformer.num_params:
            self.conditioner = make_conditioner(
                (height, width, kept + self.mask_channel),
                moved * transformer.num_params,
                context_size=0 if self.context_shape is None else self.context_shape[-1],
            )

    @property
    def _moved(self) -> int:
        """Channels of which the network gives the parameters."""
        return self.event_shape[-1] - (0 if self.of_pixels else int(self.mask.value.sum()))

    @property
    def depends_on_data(self) -> bool:
        """Whether the network has data-dependent parts: it says so, or has a ``with_data_init`` of its own."""
        has_method = hasattr(self.conditioner, "with_data_init")
        return bool(getattr(self.conditioner, "depends_on_data", has_method))

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        net, mask = self._net(context, key), self.mask.value
        if self.of_pixels:
            return pixel_coupling_forward(z, mask, net, self.transformer)
        x, log_det = coupling_forward(z, mask.ravel(), net, self.transformer, swap=self.swap)
        return x, log_det.sum((-2, -1))

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Data to latent; one pass of the same network."""
        net, mask = self._net(context, key), self.mask.value
        if self.of_pixels:
            return pixel_coupling_inverse(x, mask, net, self.transformer)
        z, log_det = coupling_inverse(x, mask.ravel(), net, self.transformer, swap=self.swap)
        return z, log_det.sum((-2, -1))

    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """Initialise the network, if it has a ``with_data_init(kept, context)``, on what it sees of the batch ``x``."""
        if not self.depends_on_data:
            return self
        check_float_event(x, self.event_shape, where="ImageCoupling.with_data_init")
        mask = self.mask.value
        if self.of_pixels:
            kept = x * jnp.broadcast_to(jnp.asarray(mask, x.dtype), x.shape)
        else:
            kept = split_by_mask(x, mask.ravel())[0]
        context = None if self.context_shape is None else context
        new = nnx.clone(self)
        new.conditioner = self.conditioner.with_data_init(self._marked(kept), context)
        return new

    def _net(self, context: jax.Array | None, key: jax.Array | None) -> Callable[..., jax.Array]:
        """The conditioner with its output as ``[*batch, h, w, moved channels, num_params]``."""
        if self.context_shape is None:
            context = None  # the context of a conditional chain is not for this layer
        moved, num_params = self._moved, self.transformer.num_params

        def net(kept: jax.Array) -> jax.Array:
            out = call_conditioner(
                self.conditioner, self._marked(kept), context, key, out_shape=(moved * num_params,)
            )
            return out.reshape(*out.shape[:-1], moved, num_params)

        return net

    def _marked(self, kept: jax.Array) -> jax.Array:
        """The input of the conditioner: what passes through and, for masks of pixels, the mask."""
        if not self.mask_channel:
            return kept
        mask = jnp.asarray(self.mask.value, kept.dtype)
        mask = jnp.broadcast_to(mask, (*kept.shape[:-1], 1))
        return jnp.concatenate([kept, mask], axis=-1)
