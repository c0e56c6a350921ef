"""A normalizing flow: base distribution and bijector."""

from collections.abc import Sequence
from typing import Self

import distrax
import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from dgmjax.checks import (
    as_context,
    as_shape,
    batch_shape,
    float_event,
    floating_dtype,
    own_dtype,
    sample_batch,
    widened,
)
from dgmjax.distributions.base import Density, DistributionLike, as_density
from dgmjax.layers.bijector import Bijector, event_axes
from dgmjax.layers.combinators import Chain
from dgmjax.layers.distrax_attribute import distrax_attribute
from dgmjax.layers.multi_scale import MultiScale
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import ends, prng
from dgmjax.numerics.compiled import compiled


class IID(Density):
    """Independent copies of a scalar distrax distribution, one for every element of the event.

    ``log p(z) = sum_i log p(z_i)``. The parameters stay scalars whatever the event, where `distrax.Independent` would
    hold arrays of its size.

    Args:
      element: distribution with scalar events and no batch, e.g. ``distrax.Normal(0.0, 1.0)``.
      event_shape: shape of one event.
    """

    element = distrax_attribute()

    def __init__(self, element: distrax.Distribution, event_shape: Sequence[int]):
        if element.event_shape or element.batch_shape:
            raise ValueError(
                f"IID: expected a scalar distribution, got batch_shape {element.batch_shape} and event_shape "
                f"{element.event_shape}."
            )
        self.element = nnx.data(element)
        self.event_shape = tuple(event_shape)

    @compiled
    def log_prob(self, value: jax.Array) -> jax.Array:
        """``[*batch, *event] -> [*batch]``, nats."""
        batch_shape(value, self.event_shape, where="IID.log_prob")
        return self.element.log_prob(value).sum(event_axes(self.event_shape))

    @compiled
    def sample(self, *, seed: jax.Array, sample_shape: int | tuple[int, ...] = ()) -> jax.Array:
        """Draw ``[*sample_shape, *event]``."""
        return prng.draw(
            lambda one, shape: self.element.sample(seed=one, sample_shape=shape),
            seed,
            (*as_shape(sample_shape), *self.event_shape),
        )


def standard_normal(event_shape: Sequence[int]) -> IID:
    """``N(0, I)`` over events of ``event_shape``."""
    zero, one = jnp.zeros((), jnp.float32), jnp.ones((), jnp.float32)
    return IID(distrax.Normal(zero, one), event_shape)


@recorded
class Flow(Density):
    """``x = bijector.forward(z)``, ``z ~ base``: a density that duck-types `distrax.Distribution`.

    ``log p(x) = log p_base(z) + log |det dz/dx|`` with ``z = bijector.inverse(x)``; exact, in nats.

    Flows are pytrees: ``jax.jit``, ``jax.vmap`` and ``jax.grad`` take them as they are, e.g.
    ``jax.vmap(flow.log_prob)(x)``, ``jax.grad(lambda flow: flow.log_prob(x).sum())(flow)``.

    Args:
      bijector: any object with the two methods of `dgmjax.layers.Bijector` and its shape attributes.
      base: distribution of the latents, ``bijector.latent_shape`` events: distrax's or another flow; default
        `standard_normal`.

    Raises:
      ValueError: the base has another event shape than the bijector's latents, or is conditional.

    Example:
      >>> import distrax, jax.numpy as jnp, dgmjax as dgm
      >>> layer = dgm.from_distrax(distrax.Block(distrax.ScalarAffine(1.0, 2.0), 1), (1,))
      >>> flow = dgm.Flow(layer)  # x = 2 z + 1, so p(x) = N(x | 1, 4)
      >>> round(float(jnp.exp(flow.log_prob(jnp.array([3.0])))), 6)
      0.120985

    Source: Papamakarios et al., 2021, arXiv:1912.02762, equations 2-6.
    """

    base: Density

    def __init__(self, bijector: Bijector, base: DistributionLike | None = None):
        base = as_density(standard_normal(bijector.latent_shape) if base is None else base)
        if base.event_shape != bijector.latent_shape:
            raise ValueError(
                f"Flow: the base has events of shape {base.event_shape}, the bijector's latents have shape "
                f"{bijector.latent_shape}; wrap a batch of scalars in distrax.Independent."
            )
        if base.context_shape is not None:
            raise ValueError(
                "Flow: a conditional base would never see its context; chain its bijector to this one instead."
            )
        self.bijector = bijector
        self.base = base
        self.event_shape, self.context_shape = bijector.event_shape, bijector.context_shape

    @property
    def multi_scale(self) -> MultiScale:
        """The `MultiScale` layer next to the latents, which splits them into levels and joins them.

        Raises:
          ValueError: there is none.
        """
        layer = self.bijector
        while isinstance(layer, Chain):
            layer = layer.layers[-1]
        if not isinstance(layer, MultiScale):
            raise ValueError(
                f"{type(self).__name__}: the layer next to the latents is {type(layer).__name__}; only flows that end "
                f"in a MultiScale have levels."
            )
        return layer

    @property
    def code_shape(self) -> tuple[int, ...]:
        """Shape of the latents of one event, those of all levels."""
        return self.bijector.latent_shape

    @compiled
    def code(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """Latents ``f^{-1}(x)`` of events: ``[*batch, *event] -> [*batch, *latent]``."""
        return self.bijector.inverse_and_log_det(x, context)[0]

    @compiled
    def from_code(self, code: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """Events ``f(z)`` of latents, the inverse of `code`."""
        return self.bijector.forward_and_log_det(code, context)[0]

    @compiled
    def log_prob(
        self, value: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """Exact log-density in nats: ``[*batch, *event] -> [*batch]``.

        Args:
          value: events, floating point.
          context: for a conditional flow ``[*batch, *context_shape]``, or classes, integers ``[*batch]``, which stand
            for one-hot rows; or one of either for all.
          key: switches dropout in the conditioners on, one key or one an example; leave it out to evaluate.

        Raises:
          ValueError: wrong event or context shape.
          TypeError: integer events.
        """
        where = f"{type(self).__name__}.log_prob"
        value, batch = float_event(value, self.event_shape, where=where, dtype=own_dtype(self))
        context = as_context(context, self.context_shape, batch, where=where, dtype=value.dtype)
        value, verdict = ends.within(value, len(self.event_shape))
        z, log_det = self.bijector.inverse_and_log_det(value, context, key=key)
        log_prob = log_density(self.base, z, widened(log_det), key=prng.fold_in(key, 0))
        return ends.judged(log_prob, verdict)

    @compiled
    def log_prob_and_update(
        self, value: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """`log_prob` as in training, and the new flow: batch statistics in use and accumulated.

        Without layers that have such a part this is `log_prob` and a flow that is the same. Arguments as there; the
        events of a batch with statistics are not independent, see `dgmjax.BatchNorm`.
        """
        where = f"{type(self).__name__}.log_prob_and_update"
        value, batch = float_event(value, self.event_shape, where=where, dtype=own_dtype(self))
        context = as_context(context, self.context_shape, batch, where=where, dtype=value.dtype)
        value, verdict = ends.within(value, len(self.event_shape))
        z, log_det, bijector = self.bijector.inverse_and_update(value, context, key=key)
        z, of_z = _latents_within(self.base, z)
        log_prob, base = self.base.log_prob_and_update(z, key=prng.fold_in(key, 0))
        new = nnx.clone(self)
        new.bijector, new.base = bijector, base
        return ends.judged(_of_data(log_prob, of_z, widened(log_det)), verdict), new

    @compiled
    def sample(
        self,
        *,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        context: jax.Array | None = None,
        temperature: ArrayLike = 1.0,
    ) -> jax.Array:
        """Draw ``[*sample_shape, *event]``; with a context of batch ``[*c]``, ``[*sample_shape, *c, *event]``.

        Args:
          seed: typed key; or keys, one for each of the first batch axes of what is drawn.
          sample_shape: int or tuple.
          context: for a conditional flow, as in `log_prob`: ``context=jnp.array([3, 3, 7])`` gives one sample a class.
          temperature: factor on the latents, a number or one a dimension of the latents; below 1 trades diversity for
            typicality (Glow, arXiv:1807.03039, section 6). Only for a base centred at 0. One a level is
            ``flow.multi_scale.per_level([0.7, 0.9, 1.0])``.
        """
        return self._sample(seed, sample_shape, context, temperature)[0]

    @compiled
    def sample_and_log_prob(
        self,
        *,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        context: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Draw events and their log-density in one pass, without inverting the bijector; ``key`` as in `log_prob`."""
        x, z, log_det = self._sample(seed, sample_shape, context, 1.0, key)
        return x, widened(self.base.log_prob(z)) - widened(log_det)

    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """A new flow whose data-dependent layers are set from the batch ``x``."""
        new = nnx.clone(self)
        new.bijector = self.bijector.with_data_init(x, context)
        return new

    def _sample(
        self,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...],
        context: jax.Array | None,
        temperature: ArrayLike,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        where, dtype = f"{type(self).__name__}.sample", floating_dtype(self)
        context = as_context(context, self.context_shape, None, where=where, dtype=dtype)
        shape = sample_batch(sample_shape, context, self.context_shape)
        z = self.base.sample(seed=seed, sample_shape=shape)
        z = z * jnp.broadcast_to(jnp.asarray(temperature, z.dtype), z.shape)
        x, log_det = self.bijector.forward_and_log_det(z, context, key=key)
        return x, z, log_det


def log_density(
    base: Density, z: jax.Array, log_det: jax.Array, *, key: jax.Array | None = None
) -> jax.Array:
    """``log p_base(z) + log_det``, ``[*batch]``; an event of density 0 is ``-inf`` and has no gradient.

    Latents that overflowed have density 0 under the base, and so have those where it is below ``exp(-2^72)`` (in
    float32): the gradient of a layer holds squares of latents times activations, which would overflow. The key is for
    dropout in the base.
    """
    z, verdict = _latents_within(base, z)
    return _of_data(base.log_prob(z, key=key), verdict, log_det)


def _latents_within(base: Density, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    # Room for the scale of the base, by which it divides.
    bound = None if isinstance(base, Flow) else ends.largest(z.dtype)
    return ends.within(z, len(base.event_shape), bound)


def _of_data(log_prob: jax.Array, verdict: jax.Array, log_det: jax.Array) -> jax.Array:
    log_prob = widened(log_prob)
    log_prob = ends.outside(log_prob < -ends.largest(log_prob.dtype, 0.6), log_prob)
    return ends.settled(ends.judged(log_prob, verdict) + log_det)
