"""The aggregated posterior of a data set, as a prior."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.layers.constructor import recorded
from dgmjax.posteriors.mixture import PosteriorMixture, PosteriorMixturePrior
from dgmjax.posteriors.posterior import Posterior


@recorded
class AggregatedPosterior(PosteriorMixturePrior):
    """``p(z) = 1/n sum_i q(z | encoder(x_i))`` over a whole data set: the prior that a given encoder likes best.

    Of all priors it maximises the mean evidence lower bound of those data, and with ``n`` components it overfits them.
    The data are fixed, no parameters.

    Args:
      data: ``[n, *event]``, events as the encoder's user has them, e.g. integers.
      chunk: events to encode at a time.

    Raises:
      ValueError: no data, or a chunk below 1.

    Source: Hoffman and Johnson, 2016, *ELBO surgery*; Tomczak and Welling, 2018, arXiv:1705.07120, equation 8.
    """

    def __init__(self, data: Any, *, chunk: int = 256):
        if np.ndim(data) < 1 or len(data) < 1 or chunk < 1:
            raise ValueError(
                f"AggregatedPosterior: expected data [n, *event] with n >= 1 and chunk >= 1, got data of shape "
                f"{np.shape(data)} and {chunk}."
            )
        self.data = nnx.data(jnp.asarray(data))
        self.chunk = chunk

    def given(
        self,
        encode_scaled: Callable[[jax.Array], jax.Array],
        encode: Callable[[jax.Array], jax.Array],
        posterior: Posterior,
    ) -> PosteriorMixture:
        """The prior as a density, for this encoder and posterior.

        Args:
          encode_scaled: ``[*batch, *event]`` of floats in [-1, 1] to features; not used here.
          encode: the same for data as the user has them; applied to the data, ``chunk`` at a time.
          posterior: what the features parametrise.
        """
        del encode_scaled
        whole = len(self.data) // self.chunk * self.chunk
        parts = []
        if whole:
            chunks = self.data[:whole].reshape(-1, self.chunk, *self.data.shape[1:])
            features = jax.lax.map(encode, chunks)
            parts.append(features.reshape(whole, *features.shape[2:]))
        if whole < len(self.data):
            parts.append(encode(self.data[whole:]))
        return PosteriorMixture(posterior, jnp.concatenate(parts))
