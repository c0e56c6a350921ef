"""The masked autoregressive layer for vectors."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from dgmjax.bijectors.autoregressive import jacobi_forward, sequential_forward
from dgmjax.bijectors.coupling import seen
from dgmjax.bijectors.made_masks import Degrees, made_degrees
from dgmjax.bijectors.mixed import angles
from dgmjax.bijectors.transformer import Transformer, check_transformer, no_params
from dgmjax.layers.bijector import Bijector
from dgmjax.nets.activations import Activation, activation_fn
from dgmjax.nets.made import MADE
from dgmjax.nets.static import StaticArray


class MaskedAutoregressive(Bijector):
    """``x_i = f(z_i; h_i(x_<i, context))``: one pass from data to latent, ``d`` incremental steps from latent to data.

    With `dgmjax.bijectors.AffineTransformer` this is MAF's layer, ``z_i = (x_i - t_i) exp(-s_i)`` with ``s, t``
    functions of ``x_<i``. `dgmjax.Inverse` of it is the inverse autoregressive layer: fast from latent to data.

    Dropout acts in the parallel direction; the sequential one is for sampling and refuses a key.

    Args:
      event_shape: ``(d,)``.
      transformer: the elementwise map ``f``, see `dgmjax.bijectors.Transformer`. One without parameters needs no MADE,
        and none is made. With a `dgmjax.bijectors.MixedTransformer` of ``d`` transformers each element has its own.
      width: hidden units of the MADE.
      hidden_layers: its hidden layers.
      order: ``"sequential"``, ``"reverse"``, or a permutation: ``order[r]`` comes ``r``-th.
      sequential: how to go from latent to data: ``"incremental"``, element by element for one pass of the network in
        all, or ``"jacobi"``, all elements at once, repeated until nothing changes (see
        `dgmjax.bijectors.jacobi_forward`).
      activation: of the MADE, a name or a function, see `dgmjax.nets.activation_fn`.
      dropout: of the MADE.
      compute_dtype: of the MADE, see `dgmjax.nets.MLP`.
      context_shape: ``(c,)`` for a conditional layer, or None.
      rngs: ``nnx.Rngs`` for the initial weights.

    Raises:
      TypeError: ``transformer`` has no ``num_params``, ``forward`` or ``inverse``.
      ValueError: an event or a context that is no vector, or an unknown name.

    Source: Papamakarios et al., 2017, arXiv:1705.07057, section 3; Kingma et al., 2016, arXiv:1606.04934, section 3.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        transformer: Transformer,
        width: int,
        hidden_layers: int = 2,
        order: str | Sequence[int] | np.ndarray = "sequential",
        sequential: str = "incremental",
        activation: Activation = "relu",
        dropout: float = 0.0,
        context_shape: Sequence[int] | None = None,
        compute_dtype: str | None = None,
        rngs: nnx.Rngs,
    ):
        self.transformer = check_transformer(transformer, where="MaskedAutoregressive")
        self.event_shape = tuple(event_shape)
        if len(self.event_shape) != 1:
            raise ValueError(
                f"MaskedAutoregressive: expected a vector event (d,), got event_shape {self.event_shape}."
            )
        if context_shape is not None and len(context_shape) != 1:
            raise ValueError(
                f"MaskedAutoregressive: expected a vector context (c,), got {tuple(context_shape)}."
            )
        if sequential not in ("incremental", "jacobi"):
            raise ValueError(f"sequential: expected 'incremental' or 'jacobi', got {sequential!r}.")
        self.sequential = sequential
        self.context_shape = None if context_shape is None else tuple(context_shape)
        degrees = made_degrees(
            _order(order, self.event_shape[0]), width, context=context_shape is not None
        )
        self.order = StaticArray(degrees.order)
        self.hidden_degrees = StaticArray(degrees.hidden)
        self.conditioner: Any = nnx.data(None)
        if self._angles.any() and sequential == "incremental":
            raise ValueError(
                "MaskedAutoregressive: of angles networks see cosine and sine, which come by sequential='jacobi' only."
            )
        if transformer.num_params:
            self.conditioner = MADE(
                degrees,
                transformer.num_params,
                angles=self._angles,
                depth=hidden_layers,
                context_size=0 if context_shape is None else context_shape[0],
                activation=activation,
                dropout=dropout,
                compute_dtype=compute_dtype,
                rngs=rngs,
            )

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Data to latent, in one pass of the network."""
        z, log_derivative = self.transformer.inverse(x, self._params(x, context, key))
        return z, log_derivative.sum(-1)

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        if self.conditioner is None:
            x, log_derivative = self.transformer.forward(z, no_params(z))
            return x, log_derivative.sum(-1)
        if key is not None and self.conditioner.dropout > 0.0:
            raise ValueError(
                "MaskedAutoregressive: dropout is not available in the sequential direction; pass no key."
            )
        if self.sequential == "jacobi":
            params = self.conditioner, self._own(context)
            return jacobi_forward(_conditioner, params, z, self.transformer)
        return sequential_forward(
            z,
            self.conditioner.masked_kernels(),
            self.conditioner.offsets(self._own(context)),
            Degrees(self.order.value, self.hidden_degrees.value),
            activation_fn(self.conditioner.activation),
            self.transformer,
            compute_dtype=self.conditioner.compute_dtype,
        )

    def _params(self, x: jax.Array, context: jax.Array | None, key: jax.Array | None) -> jax.Array:
        if self.conditioner is None:
            return no_params(x)
        return self.conditioner(seen(x), self._own(context), key=key)

    @property
    def _angles(self) -> np.ndarray:
        """Booleans, True for the elements that are angles."""
        return angles(self.transformer, self.event_shape[0])

    def _own(self, context: jax.Array | None) -> jax.Array | None:
        return None if self.context_shape is None else context


def _conditioner(params: tuple[MADE, jax.Array | None], x: jax.Array) -> jax.Array:
    made, context = params
    return made(x, context)


def _order(order: str | Sequence[int] | np.ndarray, size: int) -> np.ndarray:
    if isinstance(order, str):
        if order not in ("sequential", "reverse"):
            raise ValueError(
                f"order: expected 'sequential', 'reverse' or a permutation, got {order!r}."
            )
        return np.arange(size) if order == "sequential" else np.arange(size)[::-1].copy()
    values = np.asarray(order)
    if values.shape != (size,):
        raise ValueError(f"order: expected a permutation of {size} elements, got {values.shape}.")
    return values
