"""The contract of densities, and objects of distrax and of users as densities."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self

import distrax
import jax
from flax import nnx

from dgmjax.checks import as_shape, context_shape_of, num_levels_of
from dgmjax.densities.bound import EXACT, Bound
from dgmjax.layers.distrax_attribute import distrax_attribute
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled

# Of arguments that a density may leave out: one that is given in earnest is missed.
_DEFAULTS: dict[str, Any] = {"context": None, "sample_shape": (), "temperature": 1.0}
_OPTIONS = (*_DEFAULTS, "seed", "num_samples", "key")
_METHODS = ("log_prob", "log_prob_and_update", "sample", "sample_and_log_prob", "with_data_init")


def _accepting(method: Callable[..., Any]) -> Callable[..., Any]:
    """``method`` of a density, which may now be given all arguments of the contract."""
    known = inspect.signature(method).parameters  # once, not in every call
    if set(_OPTIONS) <= known.keys():
        return method

    @functools.wraps(method)
    def call(self: Any, *args: Any, **options: Any) -> Any:
        where = f"{type(self).__name__}.{method.__name__}"
        return _call(functools.partial(method, self), known, *args, where=where, **options)

    return call


def _call(
    method: Callable[..., Any],
    known: Mapping[str, inspect.Parameter],
    *args: Any,
    where: str,
    **options: Any,
) -> Any:
    """Call ``method`` without the options that are not among its ``known`` parameters.

    Raises:
      ValueError: it does not know the context, the sample shape or the temperature, and one is given.
    """
    if len(args) == 2:
        *args, options["context"] = args  # type: ignore[assignment]
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values()):
        return method(*args, **options)
    for name, default in _DEFAULTS.items():
        value = options.get(name, default)
        is_default = value is default or (
            isinstance(value, int | float | tuple) and value == default
        )
        if name not in known and not is_default:
            raise ValueError(f"{where}: got a {name}, but this density takes none.")
    ignored = {name for name in _OPTIONS if name not in known}
    return method(*args, **{name: value for name, value in options.items() if name not in ignored})


class Density(Module):
    """A distribution of events, with or without a context, whose log-density is exact or a bound that says so.

    A subclass has ``event_shape`` and implements::

        log_prob(value, context=None, *, seed=None, num_samples=1, key=None) -> [*batch]
        sample(*, seed, sample_shape=(), context=None, temperature=1.0) -> [*sample_shape, *event]

    and leaves out what it has no use for: a call may give all of it. The rest derives. ``seed`` is the key of what is
    drawn, of samples or of the noise of a bound; ``key`` switches dropout on, in training. Either is one key, or one an
    example. With contexts of batch ``[*c]`` a sample is ``[*sample_shape, *c, *event]``.

    Attributes:
      event_shape: shape of one event.
      context_shape: shape of one context, or None for a density without.
      num_levels: events are integers ``0 .. num_levels - 1``; None for real numbers.
    """

    event_shape: tuple[int, ...]
    context_shape: tuple[int, ...] | None = None
    num_levels: int | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """The methods that ``cls`` defines take all arguments of the contract."""
        super().__init_subclass__(**kwargs)
        for name in _METHODS:
            if name in cls.__dict__:
                setattr(cls, name, _accepting(cls.__dict__[name]))

    def bound(self, num_samples: int = 1) -> Bound:
        """The label of `log_prob` with ``num_samples``: exact, unless the class says otherwise."""
        del num_samples
        return EXACT

    def log_prob(self, *args: Any, **options: Any) -> jax.Array:
        """Log-density in nats, ``(value, context=None, *, seed=None, num_samples=1, key=None) -> [*batch]``."""
        raise NotImplementedError(f"{type(self).__name__} has no log_prob.")

    def sample(self, *args: Any, **options: Any) -> jax.Array:
        """Draw events, ``(*, seed, sample_shape=(), context=None, temperature=1.0)``."""
        raise NotImplementedError(f"{type(self).__name__} has no sample.")

    def log_prob_and_update(self, *args: Any, **options: Any) -> tuple[jax.Array, Self]:
        """`log_prob` of one sample as in training, and the density with new running statistics: itself without any."""
        return self.log_prob(*args, **options), self

    @compiled
    def sample_and_log_prob(
        self,
        *,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        context: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Draw events and their log-density."""
        value = self.sample(seed=seed, sample_shape=sample_shape, context=context)
        return value, self.log_prob(value, context, key=key)

    @property
    def code_shape(self) -> tuple[int, ...] | None:
        """Shape of the latents of one event, see `dgmjax.analysis.encode`; None for a density without."""
        return None

    def code(self, *args: Any) -> jax.Array:
        """Latents of events without noise, ``(x, context=None)``: ``[*batch, *event] -> [*batch, *code_shape]``."""
        raise TypeError(f"{type(self).__name__} has no latents.")

    def from_code(self, *args: Any) -> jax.Array:
        """Events of latents without noise, ``(code, context=None)``."""
        raise TypeError(f"{type(self).__name__} has no latents.")

    def with_data_init(self, *args: Any, **options: Any) -> Self:
        """A new density whose data-dependent parts are set from a batch, ``(value, context=None, *, seed=None)``."""
        del args, options
        return self


class DistributionLike(Protocol):
    """A distribution of distrax, or an object of a user's with these three: `as_density` makes a `Density` of it."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one event."""

    @property
    def log_prob(self) -> Callable[..., jax.Array]:
        """Log-densities of events."""

    @property
    def sample(self) -> Callable[..., jax.Array]:
        """Draws events, ``(*, seed, sample_shape=())``."""


class Adapted(Density):
    """A distribution of distrax, or an object of a user's with ``log_prob`` and ``sample``, as a `Density`.

    Args:
      distribution: with ``event_shape``. What it has of ``context_shape``, ``num_levels``, ``bound``,
        ``with_data_init`` and of the arguments of `Density` is used. Distributions of distrax are exact; others that
        have no ``bound`` are "unlabelled".
    """

    distribution = distrax_attribute()

    def __init__(self, distribution: DistributionLike):
        self.distribution = nnx.data(distribution)
        self.event_shape = tuple(distribution.event_shape)
        self.context_shape = context_shape_of(distribution)
        self.num_levels = num_levels_of(distribution)

    def bound(self, num_samples: int = 1) -> Bound:
        """The label of the distribution."""
        if hasattr(self.distribution, "bound"):
            return self.distribution.bound(num_samples)
        exact = isinstance(self.distribution, distrax.Distribution)
        return EXACT if exact else Bound("unlabelled")

    def log_prob(self, *args: Any, **options: Any) -> jax.Array:
        """Log-density of the distribution, called without the arguments that it does not know."""
        return self._call("log_prob", *args, **options)

    def log_prob_and_update(self, *args: Any, **options: Any) -> tuple[jax.Array, Any]:
        """Log-density in training and new statistics, if the distribution has any."""
        if not hasattr(self.distribution, "log_prob_and_update"):
            return self.log_prob(*args, **options), self
        log_prob, new = self._call("log_prob_and_update", *args, **options)
        return log_prob, Adapted(new)

    def sample(
        self,
        *,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        context: jax.Array | None = None,
        **options: Any,
    ) -> jax.Array:
        """Draw from the distribution, which need not know keys of examples where there is no context."""
        if context is not None:
            options |= {"sample_shape": sample_shape, "context": context}
            return self._call("sample", seed=seed, **options)
        return prng.draw(
            lambda one, shape: self._call("sample", seed=one, sample_shape=shape, **options),
            seed,
            as_shape(sample_shape),
        )

    def sample_and_log_prob(
        self, *, seed: jax.Array, **options: Any
    ) -> tuple[jax.Array, jax.Array]:
        """Draw with log-densities, in one call if the distribution has one that knows the keys."""
        own = hasattr(self.distribution, "sample_and_log_prob")
        if own and (seed.ndim == 0 or options.get("context") is not None):
            return self._call("sample_and_log_prob", seed=seed, **options)
        return super().sample_and_log_prob(seed=seed, **options)

    def with_data_init(self, *args: Any, **options: Any) -> Self:
        """Set the data-dependent parts of the distribution, if it has any."""
        if not hasattr(self.distribution, "with_data_init"):
            return self
        return type(self)(self._call("with_data_init", *args, **options))

    def _call(self, name: str, *args: Any, **options: Any) -> Any:
        method = getattr(self.distribution, name)
        where = f"{type(self.distribution).__name__}.{name}"
        return _call(method, inspect.signature(method).parameters, *args, where=where, **options)


def as_density(distribution: DistributionLike) -> Density:
    """``distribution``, or what makes a `Density` of it, see `Adapted`."""
    return distribution if isinstance(distribution, Density) else Adapted(distribution)


def as_given(density: Density) -> Any:
    """The object that a density was made of, see `as_density`."""
    return density.distribution if isinstance(density, Adapted) else density
