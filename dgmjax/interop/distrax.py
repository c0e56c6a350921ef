"""The way to distrax and back, for code that asks ``isinstance``."""

from collections.abc import Sequence
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.checks import (
    as_context,
    batch_shape,
    check_classes,
    context_shape_of,
    floating_dtype,
)
from dgmjax.distributions.flow import Flow
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.distrax_attribute import distrax_attribute
from dgmjax.numerics import ends
from dgmjax.numerics.compiled import compiled


class DistraxBijector(distrax.Bijector):
    """A `dgmjax.Bijector` as a ``distrax.Bijector``; with a ``context`` it is the map at that context.

    Contexts ``[*batch, *context_shape]`` make a batch of maps, as batched parameters do in distrax: values broadcast.

    Args:
      bijector: the layer.
      context: ``[*batch, *context_shape]``, given to every call, for conditional layers.
    """

    def __init__(self, bijector: Bijector, context: jax.Array | None = None):
        super().__init__(
            event_ndims_in=len(bijector.latent_shape), event_ndims_out=len(bijector.event_shape)
        )
        self.bijector = bijector
        self.context = context

    def forward_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data; ``x`` is distrax's name for the latent."""
        x = self._over_contexts(x, self.bijector.latent_shape)
        return self.bijector.forward_and_log_det(x, self.context)

    def inverse_and_log_det(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent; ``y`` is distrax's name for the data."""
        y = self._over_contexts(y, self.bijector.event_shape)
        return self.bijector.inverse_and_log_det(y, self.context)

    def _over_contexts(self, value: jax.Array, event_shape: tuple[int, ...]) -> jax.Array:
        contexts = context_batch(self.context, self.bijector.context_shape)
        if not contexts:
            return value
        batch = batch_shape(value, event_shape, where="to_distrax")
        return jnp.broadcast_to(value, (*jnp.broadcast_shapes(batch, contexts), *event_shape))


class DistraxDistribution(distrax.Distribution):
    """Anything with ``log_prob``, ``sample`` and ``event_shape`` as a ``distrax.Distribution``.

    Args:
      distribution: e.g. `dgmjax.IID`, or a flow as the base of another.
      copies: batch shape, of independent copies.
    """

    def __init__(self, distribution: Any, copies: tuple[int, ...] = ()):
        super().__init__()
        self.distribution = distribution
        self.copies = copies

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one event."""
        return tuple(self.distribution.event_shape)

    @compiled
    def log_prob(self, value: jax.Array) -> jax.Array:
        """Log-density, ``[*batch]``."""
        return self.distribution.log_prob(value)

    def _sample_n(self, key: jax.Array, n: int) -> jax.Array:
        return self.distribution.sample(seed=_typed(key), sample_shape=(n, *self.copies))

    def _sample_n_and_log_prob(self, key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
        shape = (n, *self.copies)
        return self.distribution.sample_and_log_prob(seed=_typed(key), sample_shape=shape)


def _typed(key: jax.Array) -> jax.Array:
    """A typed key; mixtures of distrax hand on raw ones."""
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    return jax.random.wrap_key_data(key)


class DistraxLayer(Bijector):
    """A ``distrax.Bijector`` as a `dgmjax.Bijector` of events ``event_shape``.

    Its arrays are data, not parameters: no optimizer of this library changes them.

    Args:
      bijector: its parameters must not add batch axes to those of the events.
      event_shape: shape on the data side, of the rank ``bijector.event_ndims_out`` or more; with more, the
        log-determinants of the leading axes are summed, as in ``distrax.Block``.

    Raises:
      ValueError: an event of lower rank than the bijector's.
    """

    bijector = distrax_attribute()

    def __init__(self, bijector: distrax.Bijector, event_shape: Sequence[int]):
        self.event_shape = tuple(event_shape)
        self._extra = len(self.event_shape) - bijector.event_ndims_out
        if self._extra < 0:
            raise ValueError(
                f"from_distrax: {type(bijector).__name__} maps events of rank {bijector.event_ndims_out}, got "
                f"event_shape {self.event_shape}."
            )
        self.bijector = nnx.data(bijector)
        event = jax.ShapeDtypeStruct(self.event_shape, jnp.float32)
        self._latent_shape = tuple(jax.eval_shape(bijector.inverse, event).shape)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape that the distrax bijector's inverse gives."""
        return self._latent_shape

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        return self._total(*self.bijector.forward_and_log_det(z))

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent; ``-inf`` for events whose latent or log-determinant distrax gives as NaN or infinite."""
        outside = ~self._is_finite(*self._inverse(jax.lax.stop_gradient(x)))
        # The image of 0 is inside.
        inside = self.bijector.forward(jnp.zeros(self._latent_shape, x.dtype))
        here = outside.reshape(*outside.shape, *(1,) * len(self.event_shape))
        x = jnp.where(jnp.broadcast_to(here, x.shape), jnp.broadcast_to(inside, x.shape), x)
        z, log_det = self._inverse(x)
        return z, ends.outside(outside, log_det)

    def _inverse(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return self._total(*self.bijector.inverse_and_log_det(x))

    def _is_finite(self, z: jax.Array, log_det: jax.Array) -> jax.Array:
        axes = tuple(range(-len(self._latent_shape), 0))
        return jnp.isfinite(z).all(axes) & jnp.isfinite(log_det)

    def _total(self, value: jax.Array, log_det: jax.Array) -> tuple[jax.Array, jax.Array]:
        return value, log_det.sum(tuple(range(log_det.ndim - self._extra, log_det.ndim)))


def to_distrax(
    flow_or_bijector: Flow | Bijector, context: jax.Array | None = None
) -> distrax.Transformed | distrax.Bijector:
    """A real ``distrax.Transformed`` of a flow, or a real ``distrax.Bijector`` of a layer.

    Args:
      flow_or_bijector: what to wrap; its arrays are shared, not copied.
      context: for conditional ones, the context at which to fix them; ``[*batch, *context_shape]`` gives a batch of
        distributions, the components of a ``distrax.MixtureSameFamily``, for example.

    Raises:
      TypeError: neither a flow nor a bijector.

    Example:
      >>> import jax.numpy as jnp, dgmjax as dgm
      >>> distribution = to_distrax(dgm.Flow(dgm.DiagonalLinear((2,))))
      >>> type(distribution).__name__, distribution.log_prob(jnp.zeros((3, 2))).shape
      ('Transformed', (3,))
    """
    context = fixed_context(flow_or_bijector, context, where="to_distrax")
    if isinstance(flow_or_bijector, Bijector):
        return DistraxBijector(flow_or_bijector, context)
    if not isinstance(flow_or_bijector, Flow):
        raise TypeError(
            f"to_distrax: expected a dgmjax.Flow or dgmjax.Bijector, got {type(flow_or_bijector).__name__}."
        )
    base = flow_or_bijector.base
    copies = context_batch(context, flow_or_bijector.context_shape)
    if copies or not isinstance(base, distrax.Distribution):
        base = DistraxDistribution(base, copies)
    return distrax.Transformed(base, DistraxBijector(flow_or_bijector.bijector, context))


def fixed_context(model: Any, context: Any, *, where: str) -> Any:
    """The context at which to fix a model: classes as one-hot rows; the layer itself refuses one that does not fit."""
    shape = context_shape_of(model)
    if context is None or shape is None or jnp.issubdtype(jnp.result_type(context), jnp.floating):
        return context
    check_classes(model, context, where=where)
    return as_context(context, shape, None, where=where, dtype=floating_dtype(model))


def context_batch(
    context: jax.Array | None, context_shape: tuple[int, ...] | None
) -> tuple[int, ...]:
    """The batch axes of a context; the layer itself refuses one that does not fit."""
    if context is None or context_shape is None:
        return ()
    return context.shape[: max(context.ndim - len(context_shape), 0)]


def from_distrax(bijector: distrax.Bijector, event_shape: Sequence[int]) -> Bijector:
    """A ``distrax.Bijector`` as a layer of `dgmjax.Chain` and the rest; see `DistraxLayer`."""
    return DistraxLayer(bijector, event_shape)
