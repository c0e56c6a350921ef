"""The variational mixture of posteriors."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.distributions.posteriors.base import Posterior
from dgmjax.distributions.posteriors.mixture import PosteriorMixture, PosteriorMixturePrior
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.nets.data_init import data_init_once, not_initialised

# Data at the ends of the range start this far inside, where the tanh still has a slope.
_INSIDE = 0.95


@recorded
class VampPrior(PosteriorMixturePrior):
    """``p(z) = 1/K sum_k q(z | encoder(u_k))`` with learned pseudo-inputs ``u_k``, equally weighted.

    The pseudo-inputs live in the scale of the encoder's input, ``u = tanh(raw)`` in ``(-1, 1)``. (The paper clips them,
    which stops the gradient of every element that reaches an end.) They start as grey noise; starting from training
    data, by ``init`` or `with_data_init`, is often better.

    Args:
      event_shape: shape of one event of the data.
      num_components: ``K``.
      num_levels: of integer data, ``0 .. num_levels - 1``, which ``2 x / (num_levels - 1) - 1`` takes to [-1, 1]; None
        for data that are in [-1, 1] already. Says how to read ``init``.
      init: ``[num_components, *event_shape]``, data to start from. A model with more than 100,000 numbers here cannot
        write down how it was built; use `with_data_init` instead.
      rngs: ``nnx.Rngs`` for the initial pseudo-inputs.

    Raises:
      ValueError: no components, fewer than two levels, or data that do not fit.

    Source: Tomczak and Welling, 2018, *VAE with a VampPrior*, arXiv:1705.07120, equation 9.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_components: int,
        *,
        num_levels: int | None = None,
        init: Any = None,
        rngs: nnx.Rngs,
    ):
        if num_components < 1:
            raise ValueError(f"VampPrior: num_components must be at least 1, got {num_components}.")
        if num_levels is not None and num_levels < 2:
            raise ValueError(f"VampPrior: num_levels must be at least 2, got {num_levels}.")
        self.data_shape = tuple(event_shape)
        self.num_components = num_components
        self.num_levels = num_levels
        shape = (num_components, *self.data_shape)
        noise = 0.5 * jax.random.normal(rngs.params(), shape, jnp.float32)
        self.raw = nnx.Param(noise if init is None else self._raw_of(init))
        self.data_initialised = not_initialised()

    @property
    def pseudo_inputs(self) -> jax.Array:
        """``[num_components, *event_shape]``, in (-1, 1)."""
        return jnp.tanh(self.raw[...])

    def given(
        self,
        encode_scaled: Callable[[jax.Array], jax.Array],
        encode: Callable[[Any], jax.Array],
        posterior: Posterior,
    ) -> PosteriorMixture:
        """The prior as a density, for this encoder and posterior.

        Args:
          encode_scaled: ``[*batch, *event]`` of floats in [-1, 1] to features; applied to the pseudo-inputs.
          encode: the same for data as the user has them; not used here.
          posterior: what the features parametrise.
        """
        del encode
        return PosteriorMixture(posterior, encode_scaled(self.pseudo_inputs))

    @data_init_once
    def with_data_init(self, x: Any) -> Self:
        """A new prior whose pseudo-inputs start at the first ``num_components`` of the events ``x``."""
        new = nnx.clone(self)
        new.raw[...] = self._raw_of(x[: self.num_components]).astype(self.raw.dtype)
        return new

    def _raw_of(self, x: Any) -> jax.Array:
        values, shape = np.asarray(x), (self.num_components, *self.data_shape)
        if values.shape != shape:
            raise ValueError(
                f"VampPrior: expected initial pseudo-inputs of shape {shape}, got {values.shape}."
            )
        scaled = values.astype(np.float64)
        if self.num_levels is not None:
            scaled = 2.0 * scaled / (self.num_levels - 1) - 1.0
        if np.abs(scaled).max() > 1.0:
            raise ValueError(
                f"VampPrior: expected initial pseudo-inputs within "
                f"{'[-1, 1]' if self.num_levels is None else f'0 .. {self.num_levels - 1}'}, got values from "
                f"{values.min()} to {values.max()}; num_levels says how data are scaled."
            )
        return jnp.asarray(np.arctanh(np.clip(scaled, -_INSIDE, _INSIDE)), jnp.float32)
