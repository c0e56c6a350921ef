"""Transformers: bijectors of one number whose parameters are an argument, and their composition.

Coupling and autoregressive layers compute the parameters from other elements, `dgmjax.Elementwise` owns them.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp


class Transformer(Protocol):
    """A strictly monotone elementwise map with 0 .. n parameters an element; hashable, e.g. a frozen dataclass.

    One whose data are angles has an attribute ``on_circle = True``: networks then see cosine and sine of them.
    """

    def __hash__(self) -> int:
        """Equal settings, equal hash: programs compiled for a transformer are kept by it."""

    @property
    def num_params(self) -> int:
        """Parameters an element."""

    def forward(self, z: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data with ``params`` of shape ``[*z.shape, num_params]``; log-derivative elementwise."""

    def inverse(self, x: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent with ``params`` of shape ``[*x.shape, num_params]``; log-derivative elementwise."""


def check_transformer(value: Any, *, where: str, argument: str = "transformer") -> Transformer:
    """``value``, which is a transformer.

    Args:
      value: what a user gave.
      where: layer or model, for messages.
      argument: its argument, for messages.

    Raises:
      TypeError: it has no ``num_params``, ``forward`` or ``inverse``, is a class, or has no hash.
    """
    missing = [name for name in ("num_params", "forward", "inverse") if not hasattr(value, name)]
    if isinstance(value, type) or missing:
        what = f"the class {value.__name__}" if isinstance(value, type) else repr(value)
        raise TypeError(
            f"{where}: {argument}: expected an elementwise bijector such as dgmjax.SplineTransformer(8), with "
            f"num_params, forward(z, params) and inverse(x, params), got {what}."
        )
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"{where}: {argument}: {type(value).__name__} has no hash, and compiled programs are kept by it; make it "
            f"a frozen dataclass of numbers and names."
        ) from None
    return value


def choose_transformer(
    value: Any,
    named: Mapping[str, Callable[[], Transformer]],
    *,
    where: str,
    argument: str = "transformer",
) -> Transformer:
    """``named[value]()`` of a name, else ``value`` itself, which is a transformer.

    Args:
      value: what a user gave.
      named: what makes the transformers that have a name.
      where: layer or model, for messages.
      argument: its argument, for messages.

    Raises:
      ValueError: another name; the message lists the known ones.
      TypeError: neither a name nor a transformer.
    """
    if not isinstance(value, str):
        return check_transformer(value, where=where, argument=argument)
    if value not in named:
        *names, last = map(repr, named)
        raise ValueError(
            f"{where}: {argument}: expected {', '.join(names)} or {last}, got {value!r}; or pass a transformer itself, "
            f"e.g. dgmjax.SplineTransformer(8)."
        )
    return named[value]()


def checked_parts(values: Sequence[Any], *, where: str) -> tuple[Transformer, ...]:
    """``values``, which are transformers, at least one.

    Raises:
      ValueError: there is none.
      TypeError: one of them is no transformer.
    """
    if not values:
        raise ValueError(f"{where}: expected at least one transformer, got none.")
    return tuple(check_transformer(value, where=where) for value in values)


def is_angle(transformer: Transformer) -> bool:
    """Whether the data of a transformer are angles, which it says by ``on_circle``."""
    return bool(getattr(transformer, "on_circle", False))


def no_params(value: jax.Array) -> jax.Array:
    """The parameters ``[*value.shape, 0]`` of a transformer that has none."""
    return jnp.zeros((*value.shape, 0), value.dtype)


@dataclasses.dataclass(frozen=True)
class ComposedTransformer:
    """Transformers one after the other, ``x = f_1(f_2(... z))``: like `dgmjax.Chain`, from data to latent.

    The parameters of an element are those of ``f_1``, then of ``f_2``, and so on. So ``(SoftplusTransformer(),
    AffineTransformer())`` is an affine map whose data are positive.

    Attributes:
      transformers: at least one.

    Raises:
      ValueError: there is none.
      TypeError: one of them is no transformer.
    """

    transformers: tuple[Transformer, ...]

    def __post_init__(self) -> None:
        """Reject bad arguments at construction, and take lists too."""
        parts = checked_parts(self.transformers, where="ComposedTransformer")
        object.__setattr__(self, "transformers", parts)

    @property
    def num_params(self) -> int:
        """Parameters an element."""
        return sum(part.num_params for part in self.transformers)

    @property
    def on_circle(self) -> bool:
        """Whether the data are angles: those of ``f_1``."""
        return is_angle(self.transformers[0])

    def forward(self, z: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data; ``params`` has shape ``[*z.shape, num_params]``; log-derivative elementwise."""
        x, total, stop = z, None, self.num_params
        for part in reversed(self.transformers):
            start = stop - part.num_params
            x, log_derivative = part.forward(x, params[..., start:stop])
            total, stop = log_derivative if total is None else total + log_derivative, start
        return x, total  # type: ignore[return-value]  # there is at least one part

    def inverse(self, x: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent; ``params`` has shape ``[*x.shape, num_params]``; log-derivative elementwise."""
        z, total, start = x, None, 0
        for part in self.transformers:
            stop = start + part.num_params
            z, log_derivative = part.inverse(z, params[..., start:stop])
            total, start = log_derivative if total is None else total + log_derivative, stop
        return z, total  # type: ignore[return-value]  # there is at least one part
