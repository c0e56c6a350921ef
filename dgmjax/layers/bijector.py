"""The contract of bijector layers: two methods; the rest derives."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Self

import chex
import jax
import numpy as np
from flax import nnx

from dgmjax.checks import check_context, check_float_event, widened
from dgmjax.numerics.sharding import in_any_sharding


class Bijector(nnx.Module):
    """An invertible map of events with a tractable log-determinant, owning its parameters.

    ``forward`` is latent to data, ``inverse`` is data to latent, as in distrax and TFP. A subclass sets
    ``event_shape`` in its constructor and implements::

        forward_and_log_det(z, context=None, *, key=None) -> (x, log_det)
        inverse_and_log_det(x, context=None, *, key=None) -> (z, log_det)

    for values of shape ``[*batch, *event]`` with any number of batch axes. ``log_det`` is the natural log of
    ``|det J|`` of that direction, summed over the event, of shape ``[*batch]``. ``key`` switches stochastic
    conditioners on (dropout); it is one key, or one for each example (see `dgmjax.numerics.random`), and the same key
    gives the same map in both directions. A layer without such a part may
    leave ``key`` out of its signature, and one without a conditioner ``context`` too.

    Both methods are wrapped once, here: shapes, dtype and context of the input and the shape of the log-determinant
    are checked while tracing, so layers hold no checks of their own. The log-determinant of a 16-bit computation comes
    out in float32.

    Attributes:
      event_shape: shape of one event on the data side.
      context_shape: shape of one context, or None for an unconditional layer.
    """

    event_shape: tuple[int, ...]
    context_shape: tuple[int, ...] | None = None

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one event on the latent side; the same as ``event_shape`` unless a layer reshapes."""
        return self.event_shape

    @property
    def depends_on_data(self) -> bool:
        """Whether `with_data_init` sets anything."""
        return type(self).with_data_init is not Bijector.with_data_init

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Wrap the two methods that ``cls`` itself defines."""
        super().__init_subclass__(**kwargs)
        for name in ("forward_and_log_det", "inverse_and_log_det"):
            if name in cls.__dict__:
                setattr(cls, name, in_any_sharding(_checked(cls.__dict__[name])))
        for name in ("inverse_and_update", "forward_in_training", "with_data_init"):
            if name in cls.__dict__:
                setattr(cls, name, in_any_sharding(cls.__dict__[name]))

    # *args: Any lets a subclass leave out the arguments it has no use for.
    def forward_and_log_det(self, *args: Any, **kwargs: Any) -> tuple[jax.Array, jax.Array]:
        """``(z, context=None, *, key=None)``: latent to data, with ``log |det dx/dz|``."""
        raise NotImplementedError(f"{type(self).__name__} has no forward_and_log_det.")

    def inverse_and_log_det(self, *args: Any, **kwargs: Any) -> tuple[jax.Array, jax.Array]:
        """``(x, context=None, *, key=None)``: data to latent, with ``log |det dz/dx|``."""
        raise NotImplementedError(f"{type(self).__name__} has no inverse_and_log_det.")

    def forward(self, z: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """Latent to data. Under jit the unused log-determinant costs nothing."""
        return self.forward_and_log_det(z, context)[0]

    def inverse(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """Data to latent."""
        return self.inverse_and_log_det(x, context)[0]

    def forward_log_det(self, z: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """``log |det dx/dz|`` at the latent ``z``."""
        return self.forward_and_log_det(z, context)[1]

    def inverse_log_det(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """``log |det dz/dx|`` at the data ``x``."""
        return self.inverse_and_log_det(x, context)[1]

    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """A new module whose data-dependent parts are set from the batch ``x``; this one stays as it is."""
        del x, context
        return self

    def inverse_and_update(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, Self]:
        """Data to latent as in training, and the new module: batch statistics in use and accumulated.

        Without such a part this is `inverse_and_log_det` and the same module. ``key`` as there.
        """
        z, log_det = self.inverse_and_log_det(x, context, **key_option(key))
        return z, log_det, self

    def forward_in_training(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """The ``x`` that `inverse_and_update` maps to ``z``: what a reversible stack rebuilds its activations with.

        For layers without batch statistics, `forward_and_log_det`. A layer whose networks have them computes those of
        the batch ``z`` belongs to, all of it. One that normalises the data themselves has no such way back and raises
        NotImplementedError.
        """
        return self.forward_and_log_det(z, context, **key_option(key))[0]


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
        batch = check_float_event(value, shape, where=where)
        if (
            self.context_shape is not None
        ):  # inside a conditional chain any layer may meet a context
            check_context(context, self.context_shape, batch, where=where)
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


def key_option(key: jax.Array | None) -> dict[str, jax.Array]:
    """``{"key": key}``, or nothing: without a key, layers of others need not know the argument."""
    return {} if key is None else {"key": key}


def event_axes(event_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The trailing axes of an event, for sums over it."""
    return tuple(-1 - np.arange(len(event_shape)))
