"""The sparse autoencoder: a baseline that compresses, and is no density."""

from collections.abc import Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.checks import batch_shape, check_float_event, check_integer_event, floating_dtype
from dgmjax.densities.rgb_mixture import rescaled
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.models.vae_networks import NetworkName, make_decoder, make_encoder
from dgmjax.nets.activations import Activation
from dgmjax.nets.summary import Module
from dgmjax.numerics.compiled import compiled

Sparsity = Literal["l1", "top_k"]


@recorded
class SparseAutoencoder(Module):
    """``x -> D(E(x))`` with a code ``E(x)`` of few numbers that are not 0; no density, so nothing to sample from.

    ``sparsity="l1"`` leaves the code as the encoder gives it: the price ``l1 |E(x)|_1`` of
    `dgmjax.objectives.Reconstruction` makes it sparse, which shrinks entries towards 0 and few of them exactly to it.
    ``"top_k"`` keeps the ``k`` entries of the largest absolute value and sets the others to 0, the projection onto
    ``|E(x)|_0 <= k``, in training too; the paper keeps those of the largest value.

    Encoder and decoder see data in the scale of networks: levels in [-1, 1], floats as they are.

    Args:
      event_shape: shape of an event, a vector or an image ``(h, w, c)``.
      code_dim: length of the code.
      sparsity: ``"l1"`` or ``"top_k"``.
      k: entries that ``"top_k"`` keeps.
      num_levels: levels of discrete data, integers ``0 .. num_levels - 1``; None for continuous data.
      network: of encoder and decoder: ``"mlp"``, ``"gated_mlp"``, ``"gated_conv"`` or ``"residual_conv"``.
      width: hidden units, or channels of the first convolutions.
      depth: hidden layers, or blocks.
      activation: of ``"mlp"``, a name or a function, see `dgmjax.nets.activation_fn`.
      dropout: probability of dropping a hidden unit in training.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: an unknown name, or a ``k`` that is missing, superfluous or out of range.

    Source: Makhzani and Frey, 2014, *k-sparse autoencoders*, arXiv:1312.5663, section 2.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        code_dim: int = 32,
        *,
        sparsity: Sparsity = "l1",
        k: int | None = None,
        num_levels: int | None = None,
        network: NetworkName = "mlp",
        width: int = 256,
        depth: int = 2,
        activation: Activation = "relu",
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        if sparsity not in get_args(Sparsity):
            raise ValueError(
                f"SparseAutoencoder: sparsity: expected one of {list(get_args(Sparsity))}, got {sparsity!r}."
            )
        if sparsity == "top_k" and (k is None or not 1 <= k <= code_dim):
            raise ValueError(
                f"SparseAutoencoder: sparsity='top_k' needs k, the entries to keep, in 1 .. code_dim={code_dim}; got "
                f"{k}."
            )
        if sparsity != "top_k" and k is not None:
            raise ValueError(f"SparseAutoencoder: k={k} is for sparsity='top_k', got {sparsity!r}.")
        if num_levels is not None and num_levels < 2:
            raise ValueError(f"SparseAutoencoder: num_levels must be at least 2, got {num_levels}.")
        self.event_shape = tuple(event_shape)
        self.code_dim = code_dim
        self.k = k
        self.num_levels = num_levels
        options = {"width": width, "depth": depth, "activation": activation, "dropout": dropout}
        self.encoder = make_encoder(network, self.event_shape, code_dim, **options, rngs=rngs)  # type: ignore[arg-type]
        self.decoder = make_decoder(network, code_dim, self.event_shape, **options, rngs=rngs)  # type: ignore[arg-type]

    @compiled
    def encode(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """``E(x)``: ``[*batch, *event] -> [*batch, code_dim]``.

        Args:
          x: events: integers with ``num_levels``, floats without.
          key: switches dropout on.

        Raises:
          TypeError: integers where floats are needed, or the reverse.
          ValueError: wrong event shape.
        """
        check = check_float_event if self.num_levels is None else check_integer_event
        check(x, self.event_shape, where="SparseAutoencoder.encode")
        code = self.encoder(self.scaled(x), key=key)
        return code if self.k is None else _largest(code, self.k)

    @compiled
    def decode(self, code: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """``D(code)``, in the scale of networks: ``[*batch, code_dim] -> [*batch, *event]``."""
        batch_shape(code, (self.code_dim,), where="SparseAutoencoder.decode")
        return self.decoder(code, key=key)

    @property
    def code_shape(self) -> tuple[int, ...]:
        """``(code_dim,)``."""
        return (self.code_dim,)

    @compiled
    def code(self, x: jax.Array) -> jax.Array:
        """``E(x)``, what `encode` gives."""
        return self.encode(x)

    @compiled
    def reconstruct(self, x: jax.Array) -> jax.Array:
        """``D(E(x))`` in units of the data, floats: ``[*batch, *event]`` in and out."""
        return self.from_code(self.encode(x))

    @compiled
    def from_code(self, code: jax.Array) -> jax.Array:
        """``D(code)`` in units of the data, floats: ``[*batch, code_dim] -> [*batch, *event]``."""
        out = self.decode(code)
        return out if self.num_levels is None else (out + 1.0) * (0.5 * (self.num_levels - 1))

    @compiled
    def scaled(self, x: jax.Array) -> jax.Array:
        """Events as the networks take them: levels in [-1, 1], floats as they are."""
        if self.num_levels is None:
            return x
        return rescaled(x.astype(floating_dtype(self)), self.num_levels)


def _largest(code: jax.Array, k: int) -> jax.Array:
    """The ``k`` entries of the largest absolute value, 0 for the others; of equal ones the first."""
    _, places = jax.lax.top_k(jnp.abs(code), k)
    kept = jax.nn.one_hot(places, code.shape[-1], dtype=jnp.bool_).any(-2)
    return jnp.where(kept, code, jnp.zeros((), code.dtype))
