"""The coupling layer for vectors."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from dgmjax.bijectors.coupling import coupling_forward, coupling_inverse
from dgmjax.bijectors.coupling_masks import vector_mask
from dgmjax.bijectors.mixed import MixedTransformer, angles, network_inputs, of_elements
from dgmjax.bijectors.transformer import Transformer, check_transformer
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.conditioner import call_conditioner
from dgmjax.nets.static import StaticArray


class Coupling(Bijector):
    """``x_A = z_A``, ``x_B = f(z_B; net(z_A, context))``; A is where the mask is ``True``.

    With `dgmjax.bijectors.AffineTransformer`: ``x_B = exp(s(z_A)) z_B + t(z_A)``,
    ``z_B = (x_B - t(x_A)) exp(-s(x_A))``, log-determinants ``+-sum s``.

    Args:
      event_shape: ``(d,)``.
      mask: ``"alternating"``, ``"half"`` or ``d`` booleans; ``True`` passes through unchanged.
      make_conditioner: called once as ``make_conditioner(in_size, out_shape, context_size=...)``, returns a module
        ``net(kept, context, key=None) -> [*batch, *out_shape]``, ``out_shape = (|B|, transformer.num_params)``;
        e.g. a partial of `dgmjax.nets.MLP`. A network without dropout may leave ``key`` out, and without a context
        ``context`` too.
      transformer: the elementwise map `f`, see `dgmjax.bijectors.Transformer`. One without parameters needs no network,
        and none is made. With a `dgmjax.bijectors.MixedTransformer` of ``d`` transformers each element has its own. Of
        elements that are angles the network sees cosine and sine.
      swap: exchange A and B on the latent side, so that equal layers in a row, e.g. of a `dgmjax.Stack`, alternate. A
        and B must be of one size.
      context_shape: ``(c,)`` for a conditional layer, or None.

    Raises:
      TypeError: ``transformer`` has no ``num_params``, ``forward`` or ``inverse``.
      ValueError: event of another rank than 1, a mask that does not fit it, or parts to swap of different sizes.

    Source: Dinh et al., 2017, *Density estimation using Real NVP*, arXiv:1605.08803, equations 4-8.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        mask: str | np.ndarray | Sequence[bool],
        make_conditioner: Callable[..., nnx.Module],
        transformer: Transformer,
        swap: bool = False,
        context_shape: Sequence[int] | None = None,
    ):
        self.transformer = check_transformer(transformer, where="Coupling")
        self.event_shape = tuple(event_shape)
        if len(self.event_shape) != 1:
            raise ValueError(
                f"Coupling: expected a vector event (d,), got event_shape {self.event_shape}; flatten the data."
            )
        if context_shape is not None and len(context_shape) != 1:
            raise ValueError(
                f"Coupling: expected a vector context (c,), got {tuple(context_shape)}."
            )
        self.context_shape = None if context_shape is None else tuple(context_shape)
        values = vector_mask(mask, self.event_shape[0])
        self.mask = StaticArray(values)
        kept = int(values.sum())
        if swap and 2 * kept != values.size:
            raise ValueError(
                f"Coupling: swap needs parts of one size, got {kept} kept and {values.size - kept} moved elements."
            )
        self.swap = swap
        if swap and isinstance(transformer, MixedTransformer):
            raise ValueError(
                "Coupling: elements of several kinds do not change places; pass no swap."
            )
        self.conditioner: Any = nnx.data(None)
        moved = self._moved
        if moved.num_params:
            self.conditioner = make_conditioner(
                kept + int(self._angles.sum()),
                (values.size - kept, moved.num_params),
                context_size=0 if self.context_shape is None else self.context_shape[0],
            )

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        return coupling_forward(
            z, self.mask.value, self._net(context, key), self._moved, swap=self.swap
        )

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Data to latent; one pass of the same network."""
        return coupling_inverse(
            x, self.mask.value, self._net(context, key), self._moved, swap=self.swap
        )

    @property
    def _moved(self) -> Transformer:
        """The transformer of the elements that do not pass through."""
        return of_elements(self.transformer, ~self.mask.value)

    @property
    def _angles(self) -> np.ndarray:
        """Booleans, True for angles, of the elements that pass through."""
        return angles(of_elements(self.transformer, self.mask.value), int(self.mask.value.sum()))

    def _net(self, context: jax.Array | None, key: jax.Array | None) -> Callable[..., jax.Array]:
        if self.context_shape is None:
            context = None  # the context of a conditional chain is not for this layer
        out_shape = self.mask.value.size - int(self.mask.value.sum()), self._moved.num_params
        return lambda kept: call_conditioner(
            self.conditioner,
            network_inputs(kept, self._angles),
            context,
            key,
            out_shape=out_shape,
        )
