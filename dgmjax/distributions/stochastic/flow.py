"""Densities made of bijectors, surjections and stochastic layers in any order."""

import functools
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from dgmjax.checks import (
    as_context,
    batch_shape,
    float_event,
    floating_dtype,
    level_dtype,
    sample_batch,
    widened,
)
from dgmjax.densities.bound import EXACT, Bound
from dgmjax.distributions.base import Density, DistributionLike, as_density
from dgmjax.distributions.flow import log_density, standard_normal
from dgmjax.distributions.stochastic.base import MapKind, StochasticMap, as_stochastic_map
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import common_context_shape
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import ends, prng
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.importance_weighting import log_mean_weight


@recorded
class StochasticChain(StochasticMap):
    """Composition: inference applies the layers from first to last, generation from last to first.

    The list reads from data to latent, as in `dgmjax.Chain`; the contributions add,
    ``V = sum_k V_k(z_{k-1}, z_k)`` with ``z_0 = x``.

    Args:
      layers: at least one bijector or `StochasticMap`; neighbouring shapes must match.

    Raises:
      ValueError: no layers, or shapes or contexts that do not fit.

    Source: Nielsen et al., 2020, arXiv:2007.02731, algorithm 1.
    """

    reach = "any"

    def __init__(self, layers: Sequence[Bijector | StochasticMap]):
        if not layers:
            raise ValueError("StochasticChain: expected at least one layer, got none.")
        for index, (outer, inner) in enumerate(zip(layers[:-1], layers[1:], strict=True)):
            if tuple(outer.latent_shape) != tuple(inner.event_shape):
                raise ValueError(
                    f"StochasticChain: layer {index} ({type(outer).__name__}) has latents of shape "
                    f"{outer.latent_shape}, but layer {index + 1} ({type(inner).__name__}) produces events of shape "
                    f"{inner.event_shape}; layers are listed from data to latent."
                )
        self.context_shape = common_context_shape(layers, where="StochasticChain")
        self.layers = nnx.List([as_stochastic_map(layer) for layer in layers])
        self.event_shape = tuple(layers[0].event_shape)

    @property
    def kind(self) -> MapKind:
        """The most special kind that all layers are of."""
        exact = all(layer.exact for layer in self.layers)
        generates = all(layer.generates_deterministically for layer in self.layers)
        if exact:
            return "bijective" if generates else "inference surjection"
        return "generative surjection" if generates else "stochastic"

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Latent shape of the last layer."""
        return self.layers[-1].latent_shape

    @property
    def num_levels(self) -> int | None:
        """Those of the first layer."""
        return self.layers[0].num_levels

    def with_data_init(
        self, x: jax.Array, context: jax.Array | None = None, *, seed: jax.Array | None = None
    ) -> Self:
        """Initialise layer after layer, each from a sample of the data as its predecessors leave it."""
        layers = []
        for index, layer in enumerate(self.layers):
            one = prng.fold_in(seed, index)
            layers.append(layer.with_data_init(x, context, seed=one))
            x, _ = layers[-1].encode(x, context, seed=one)
        new = nnx.clone(self)
        new.layers = nnx.List(layers)
        return new

    def _encode(
        self, x: jax.Array, context: jax.Array | None, seed: Any, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        contributions = []
        for index, layer in enumerate(self.layers):
            x, contribution = layer.encode(
                x, context, seed=prng.fold_in(seed, index), key=prng.fold_in(key, index)
            )
            contributions.append(contribution)
        return x, functools.reduce(jnp.add, contributions)

    def _encode_and_update(
        self, x: jax.Array, context: jax.Array | None, seed: Any, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, Self]:
        contributions, layers = [], []
        for index, layer in enumerate(self.layers):
            x, contribution, layer = layer.encode_and_update(
                x, context, seed=prng.fold_in(seed, index), key=prng.fold_in(key, index)
            )
            contributions.append(contribution)
            layers.append(layer)
        new = nnx.clone(self)
        new.layers = nnx.List(layers)
        return x, functools.reduce(jnp.add, contributions), new

    def _decode(self, z: jax.Array, context: jax.Array | None, seed: Any) -> jax.Array:
        for index, layer in reversed(list(enumerate(self.layers))):
            z = layer.decode(z, context, seed=prng.fold_in(seed, index))
        return z


@recorded
class StochasticFlow(Density):
    """``z ~ base``, then ``x ~ p(x | z)`` by the layers: a density of bijectors, surjections and autoencoders.

    ``log p(x) >= E [log p_base(z) + sum_k V_k]``, ``z`` and the contributions from inference through the layers. The
    sum is ``log p(x)`` itself if all layers are exact (see `StochasticMap`); of bijectors alone it is `dgmjax.Flow`, of
    one `EncoderDecoder` a variational autoencoder. Otherwise ``K`` importance samples tighten it,
    ``E [log (1/K) sum_k w_k]`` with ``log w`` the sum in brackets.

    Args:
      layers: bijectors and `StochasticMap` layers, from data to latent.
      base: distribution of the latents; default `standard_normal`.

    Raises:
      ValueError: layers that do not fit, or a base of other events, conditional, or with a noisy bound.

    Source: Nielsen et al., 2020, *SurVAE flows*, arXiv:2007.02731, algorithm 1; Burda et al., 2016, arXiv:1509.00519,
      equation 8.
    """

    def __init__(
        self, layers: Sequence[Bijector | StochasticMap], base: DistributionLike | None = None
    ):
        self.chain = StochasticChain(layers)
        base = as_density(standard_normal(self.chain.latent_shape) if base is None else base)
        if base.event_shape != self.chain.latent_shape:
            raise ValueError(
                f"StochasticFlow: the base has events of shape {base.event_shape}, the latents of the last "
                f"layer have shape {self.chain.latent_shape}."
            )
        if base.context_shape is not None:
            raise ValueError(
                "StochasticFlow: a conditional base would never see its context; append its bijector to the layers."
            )
        if base.bound().is_noisy:
            raise ValueError(
                f"StochasticFlow: the base has a {base.bound()}; append its layers to the layers instead."
            )
        self.base = base
        self.event_shape, self.context_shape = self.chain.event_shape, self.chain.context_shape
        self.num_levels = self.chain.num_levels

    def bound(self, num_samples: int = 1) -> Bound:
        """What `log_prob` with ``num_samples`` returns: exact if every layer is, else a lower bound."""
        return EXACT if self.chain.exact else Bound("lower bound", num_samples, "stochastic layers")

    @compiled
    def log_prob(
        self,
        value: jax.Array,
        context: jax.Array | None = None,
        *,
        seed: jax.Array | None = None,
        num_samples: int = 1,
        batch_size: int = 1,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """``log p(x)`` or a lower bound on it, see `bound`, in nats: ``[*batch, *event] -> [*batch]``.

        Args:
          value: events.
          context: ``[*batch, *context_shape]`` or one row, for a conditional model.
          seed: key of the samples of the stochastic layers; one, or one an example. Not needed if all are exact.
          num_samples: importance samples ``K``; the bound tightens with ``K``. Exact values need one.
          batch_size: samples at a time, see `dgmjax.numerics.log_mean_weight`.
          key: switches dropout on; leave it out to evaluate.

        Raises:
          TypeError: integers where floats are needed, or the reverse.
          ValueError: wrong event or context shape, or no ``seed`` where one is needed.
        """
        value, context, verdict = self._inputs(value, context, "log_prob")

        def log_weight(seed: jax.Array | None) -> jax.Array:
            z, contribution = self.chain.encode(value, context, seed=seed, key=key)
            weight = log_density(self.base, z, contribution, key=self._base_key(key))
            return weight if verdict is None else ends.judged(weight, verdict)

        if self.chain.exact or seed is None:
            return log_weight(seed)
        return log_mean_weight(log_weight, seed, num_samples, batch_size=batch_size)

    @compiled
    def log_prob_and_update(
        self,
        value: jax.Array,
        context: jax.Array | None = None,
        *,
        seed: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Self]:
        """`log_prob` of one sample as in training, and the new model, see `dgmjax.Flow.log_prob_and_update`."""
        value, context, verdict = self._inputs(value, context, "log_prob_and_update")
        z, contribution, chain = self.chain.encode_and_update(value, context, seed=seed, key=key)
        log_prob, base = self.base.log_prob_and_update(z, key=self._base_key(key))
        new = nnx.clone(self)
        new.chain, new.base = chain, base
        log_prob = widened(log_prob) + contribution
        return log_prob if verdict is None else ends.judged(log_prob, verdict), new

    @compiled
    def sample(
        self,
        *,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        context: jax.Array | None = None,
        temperature: ArrayLike = 1.0,
    ) -> jax.Array:
        """Draw ``[*sample_shape, *event]``; arguments as in `dgmjax.Flow.sample`."""
        where, dtype = "StochasticFlow.sample", floating_dtype(self)
        context = as_context(context, self.context_shape, None, where=where, dtype=dtype)
        shape = sample_batch(sample_shape, context, self.context_shape)
        base_seed, layer_seed = prng.split(seed)
        z = self.base.sample(seed=base_seed, sample_shape=shape)
        z = z * jnp.broadcast_to(jnp.asarray(temperature, z.dtype), z.shape)
        x = self.chain.decode(z, context, seed=layer_seed)
        return x if self.num_levels is None else x.astype(level_dtype(self.num_levels))

    def with_data_init(
        self, x: jax.Array, context: jax.Array | None = None, *, seed: jax.Array | None = None
    ) -> Self:
        """A new model whose data-dependent layers are set from the batch ``x``; ``seed`` as in `log_prob`."""
        new = nnx.clone(self)
        new.chain = self.chain.with_data_init(x, context, seed=seed)
        return new

    def _inputs(
        self, value: jax.Array, context: jax.Array | None, method: str
    ) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
        """Events and context as the layers take them, and the verdict on events that are not finite."""
        where, dtype, verdict = f"StochasticFlow.{method}", floating_dtype(self), None
        if self.num_levels is None:
            value, batch = float_event(value, self.event_shape, where=where, dtype=dtype)
            value, verdict = ends.within(value, len(self.event_shape))
        else:
            batch = batch_shape(value, self.event_shape, where=where)
        context = as_context(context, self.context_shape, batch, where=where, dtype=dtype)
        return value, context, verdict

    def _base_key(self, key: jax.Array | None) -> jax.Array | None:
        """Dropout of the base; the layers have the keys from 0 on."""
        return prng.fold_in(key, len(self.chain.layers))
