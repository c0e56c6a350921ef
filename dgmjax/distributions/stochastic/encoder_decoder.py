"""An encoder and a decoder as a layer."""

from typing import Any, Self

import jax
from flax import nnx

from dgmjax.checks import floating_dtype
from dgmjax.densities.rgb_mixture import rescaled
from dgmjax.distributions.conditional import (
    fitting_density,
    one_each,
    seen_by,
)
from dgmjax.distributions.stochastic.base import MapKind, StochasticMap
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import prng


@recorded
class EncoderDecoder(StochasticMap):
    """``z ~ q(z | x)``, ``x ~ p(x | z)``: a variational autoencoder as a layer; the prior is what follows.

    Contribution ``log p(x | z) - log q(z | x)``, so that with a prior ``p(z)`` the sum is the evidence lower bound
    ``E_q [log p(x | z) + log p(z) - log q(z | x)] <= log p(x)``. Several in a row are a hierarchical autoencoder;
    bijectors after it are a flow prior, bijectors before it a transform of the data.

    Its limit is a flow: with an encoder ``N(f(x), eps^2 J J^T)``, ``J = df/dx``, and a decoder ``N(f^-1(z), eps^2 I)``
    the contribution goes to ``log |det J|`` as ``eps -> 0``, and for a linear ``f`` it is ``log |det J|`` for every
    ``eps``.

    Args:
      encoder: density ``q(z | x)`` with context ``x``, with ``sample_and_log_prob``; see `ConditionalGaussian`,
        `NetworkDensity` and `dgmjax.Flow` with ``context_shape``.
      decoder: density ``p(x | z)`` with context ``z``. If it has ``num_levels`` the data are integers, which reach the
        encoder as floats in ``[-1, 1]``.

    Raises:
      ValueError: shapes of the two that do not fit each other.

    Source: Nielsen et al., 2020, arXiv:2007.02731, table 1 (stochastic transformations); Kingma and Welling, 2014,
      arXiv:1312.6114, equation 3.
    """

    kind: MapKind = "stochastic"

    def __init__(self, encoder: Any, decoder: Any):
        self.event_shape = tuple(decoder.event_shape)
        self.encoder = fitting_density(
            encoder, None, self.event_shape, "EncoderDecoder: the encoder"
        )
        self.decoder = fitting_density(
            decoder, None, self.latent_shape, "EncoderDecoder: the decoder"
        )

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """The encoder's event shape."""
        return self.encoder.event_shape

    @property
    def num_levels(self) -> int | None:
        """Those of the decoder."""
        return self.decoder.num_levels

    def with_data_init(
        self, x: jax.Array, context: jax.Array | None = None, *, seed: jax.Array | None = None
    ) -> Self:
        """A new map with the decoder set from the batch ``x`` and its codes."""
        z, _ = self.encode(x, context, seed=seed)
        new = nnx.clone(self)
        new.decoder = self.decoder.with_data_init(x, seen_by(self.decoder, z))
        return new

    def _encode(
        self, x: jax.Array, context: jax.Array | None, seed: Any, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        encoder_key, decoder_key = (None, None) if key is None else prng.split(key)
        z, log_q = self._code(x, seed, encoder_key)
        return z, self.decoder.log_prob(x, seen_by(self.decoder, z), key=decoder_key) - log_q

    def _encode_and_update(
        self, x: jax.Array, context: jax.Array | None, seed: Any, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, Self]:
        encoder_key, decoder_key = (None, None) if key is None else prng.split(key)
        z, log_q = self._code(x, seed, encoder_key)
        log_prob, decoder = self.decoder.log_prob_and_update(
            x, seen_by(self.decoder, z), key=decoder_key
        )
        new = nnx.clone(self)
        new.decoder = decoder
        return z, log_prob - log_q, new

    def _code(self, x: jax.Array, seed: Any, key: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """``z ~ q(z | x)`` and its log-density."""
        batch = x.shape[: x.ndim - len(self.event_shape)]
        seen = x
        if self.num_levels is not None:
            seen = rescaled(x.astype(floating_dtype(self)), self.num_levels)
        return self.encoder.sample_and_log_prob(
            seed=seed, key=key, **one_each(self.encoder, seen, batch)
        )

    def _decode(self, z: jax.Array, context: jax.Array | None, seed: Any) -> jax.Array:
        batch = z.shape[: z.ndim - len(self.latent_shape)]
        return self.decoder.sample(seed=seed, **one_each(self.decoder, z, batch))
