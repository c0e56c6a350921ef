"""The contract of bijector layers: two methods; the rest derives."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal, Self, TypeVar

import chex
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.checks import as_context, float_event, own_dtype, widened
from dgmjax.nets.data_init import data_init_once, not_initialised, remembers
from dgmjax.nets.summary import Module
from dgmjax.numerics import ends
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.sharding import in_any_sharding

Reach = Literal["half", "finite", "any"]
Layer = TypeVar("Layer", bound="Bijector")


class Bijector(Module):
    """An invertible map of events with a tractable log-determinant, owning its parameters.

    ``forward`` is latent to data, ``inverse`` is data to latent, as in distrax and TFP. A subclass sets
    ``event_shape`` in its constructor and implements::

        forward_and_log_det(z, context=None, *, key=None) -> (x, log_det)
        inverse_and_log_det(x, context=None, *, key=None) -> (z, log_det)

    for values of shape ``[*batch, *event]`` with any number of batch axes. ``log_det`` is the natural log of
    ``|det J|`` of that direction, summed over the event, of shape ``[*batch]``. ``key`` switches stochastic
    conditioners on (dropout); it is one key, or one for each example (see `dgmjax.numerics.prng`), and the same key
    gives the same map in both directions. A layer without such a part may
    leave ``key`` out of its signature, and one without a conditioner ``context`` too.

    Both methods are wrapped once, here: shapes, dtype and context of the input and the shape of the log-determinant
    are checked while tracing, so layers hold no checks of their own. Events narrower than the arrays of the layer come
    in with its dtype, integers as contexts are classes and become one-hot, and the log-determinant of a 16-bit
    computation comes out in float32. A call outside of `jax.jit` is one compiled program.

    From data to latent, an event that is beyond the reach of the layer has the log-determinant ``-inf``, and one that
    holds NaN has NaN. The method sees zeros instead, and the latent is theirs. Where its image is not everything, a
    method returns a finite latent and ``-inf`` for events outside and at open ends, with zero gradients.

    Attributes:
      event_shape: shape of one event on the data side.
      context_shape: shape of one context, or None for an unconditional layer.
      reach: the numbers that events may hold: ``"half"``, up to half of the exponents of their dtype, ``2^60`` in
        float32, since sums of elements and networks overflow; ``"finite"``, for maps of single elements; ``"any"``,
        for those that only move elements, and layers made of layers, which look after themselves.
    """

    event_shape: tuple[int, ...]
    context_shape: tuple[int, ...] | None = None
    reach: Reach = "half"

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one event on the latent side; the same as ``event_shape`` unless a layer reshapes."""
        return self.event_shape

    @property
    def depends_on_data(self) -> bool:
        """Whether `with_data_init` sets anything."""
        return type(self).with_data_init is not Bijector.with_data_init

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Wrap the two methods that ``cls`` itself defines, and its data-dependent start."""
        super().__init_subclass__(**kwargs)
        for name in ("forward_and_log_det", "inverse_and_log_det"):
            if name in cls.__dict__:
                setattr(cls, name, compiled(_checked(_held(cls.__dict__[name]))))
        for name in ("inverse_and_update", "forward_in_training"):
            if name in cls.__dict__:
                setattr(cls, name, compiled(cls.__dict__[name]))
        if "with_data_init" in cls.__dict__:
            # No program of its own: outside of one, statistics that cannot be used are refused.
            once = in_any_sharding(data_init_once(cls.__dict__["with_data_init"]))
            setattr(cls, "with_data_init", once)  # noqa: B010 - mypy
        if cls.with_data_init is not Bijector.with_data_init:
            setattr(cls, "__init__", _remembering(cls, cls.__init__))  # noqa: B010 - mypy

    # *args: Any lets a subclass leave out the arguments it has no use for.
    def forward_and_log_det(self, *args: Any, **kwargs: Any) -> tuple[jax.Array, jax.Array]:
        """``(z, context=None, *, key=None)``: latent to data, with ``log |det dx/dz|``."""
        raise NotImplementedError(f"{type(self).__name__} has no forward_and_log_det.")

    def inverse_and_log_det(self, *args: Any, **kwargs: Any) -> tuple[jax.Array, jax.Array]:
        """``(x, context=None, *, key=None)``: data to latent, with ``log |det dz/dx|``."""
        raise NotImplementedError(f"{type(self).__name__} has no inverse_and_log_det.")

    @compiled
    def forward(self, z: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """Latent to data. Under jit the unused log-determinant costs nothing."""
        return self.forward_and_log_det(z, context)[0]

    @compiled
    def inverse(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """Data to latent."""
        return self.inverse_and_log_det(x, context)[0]

    @compiled
    def forward_log_det(self, z: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """``log |det dx/dz|`` at the latent ``z``."""
        return self.forward_and_log_det(z, context)[1]

    @compiled
    def inverse_log_det(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """``log |det dz/dx|`` at the data ``x``."""
        return self.inverse_and_log_det(x, context)[1]

    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """A new module whose data-dependent parts are set from the batch ``x``; this one stays as it is.

        Once: parts that have been set, here or in `dgmjax.fit`, remember it and keep what they have become, until
        `dgmjax.layers.forget_data_init`.
        """
        del x, context
        return self

    def inverse_and_update(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, Self]:
        """Data to latent as in training, and the new module: batch statistics in use and accumulated.

        Without such a part this is `inverse_and_log_det` and the same module. ``key`` as there.
        """
        z, log_det = self.inverse_and_log_det(x, context, key=key)
        return z, log_det, self

    def forward_in_training(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """The ``x`` that `inverse_and_update` maps to ``z``: what a reversible stack rebuilds its activations with.

        For layers without batch statistics, `forward_and_log_det`. A layer whose networks have them computes those of
        the batch ``z`` belongs to, all of it. One that normalises the data themselves has no such way back and raises
        NotImplementedError.
        """
        return self.forward_and_log_det(z, context, key=key)[0]


def _held(method: Callable[..., tuple[jax.Array, jax.Array]]) -> Callable[..., Any]:
    """The method, which from data to latent meets numbers that it can take only; see `Bijector`."""
    if not method.__name__.startswith("inverse"):
        return method

    @functools.wraps(method)
    def wrapper(
        self: Bijector, x: jax.Array, *args: Any, **kwargs: Any
    ) -> tuple[jax.Array, jax.Array]:
        if self.reach == "any":
            return method(self, x, *args, **kwargs)
        x, verdict = within_reach(self, x)
        z, log_det = method(self, x, *args, **kwargs)
        return z, ends.judged(log_det, verdict)

    return wrapper


def _remembering(cls: type[Any], init: Callable[..., None]) -> Callable[..., None]:
    """``init`` that leaves a layer with a data-dependent start, and no part that remembers its own, with a memory."""

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if type(self) is cls and self.depends_on_data and not remembers(self):
            self.data_initialised = not_initialised()

    return __init__


def _checked(method: Callable[..., tuple[jax.Array, jax.Array]]) -> Callable[..., Any]:
    parameters = inspect.signature(method).parameters
    takes_context, takes_key = "context" in parameters, "key" in parameters
    from_data = method.__name__.startswith("inverse")
    direction = "inverse" if from_data else "forward"

    @functools.wraps(method)
    def wrapper(
        self: Bijector,
        value: jax.Array,
        context: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        where = f"{type(self).__name__}.{method.__name__}"
        shape = self.event_shape if from_data else self.latent_shape
        value, batch = float_event(value, shape, where=where, dtype=own_dtype(self))
        if self.context_shape is not None:
            # Without one, too: inside a conditional chain any layer may meet a context.
            context = as_context(context, self.context_shape, batch, where=where, dtype=value.dtype)
        arguments: dict[str, Any] = {}
        if takes_context:
            arguments["context"] = context
        if takes_key:
            arguments["key"] = key
        # Profiles, and the search for the first NaN, name layers by these scopes.
        with jax.named_scope(f"{type(self).__name__}.{direction}"):
            result, log_det = method(self, value, **arguments)
        out = self.latent_shape if from_data else self.event_shape
        chex.assert_shape(
            [result, log_det],
            [(*batch, *out), batch],
            custom_message=f"{where} must return the event and one log-determinant a batch element",
        )
        return result, widened(log_det)

    return wrapper


def within_reach(layer: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`dgmjax.numerics.ends.within` for the events of a layer."""
    x = jnp.asarray(x)
    bound = ends.largest(x.dtype, 0.5) if layer.reach == "half" else None
    return ends.within(x, len(layer.event_shape), bound)


def with_reach(layer: Layer, reach: Reach) -> Layer:
    """``layer``, new and not used before, with another reach: where its neighbours guard it, or it them."""
    layer.reach = reach
    return layer


def event_axes(event_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The trailing axes of an event, for sums over it."""
    return tuple(-1 - np.arange(len(event_shape)))
