"""Bases of flows: heavy tails, boxes, trainable moments, independent parts. Any distribution of distrax is one too."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from dgmjax.checks import as_shape, batch_shape, float_event, own_dtype
from dgmjax.distributions.base import Density, DistributionLike, as_density
from dgmjax.layers.bijector import event_axes
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import ends, prng
from dgmjax.numerics.compiled import compiled


class _Standardized(Density):
    """Independent elements ``z_i = loc_i + exp(log_scale_i) e_i``; the noise ``e_i`` is that of a subclass.

    The moments are 0 and 1 and no arrays unless ``trainable``.
    """

    def __init__(self, event_shape: Sequence[int], *, trainable: bool = False):
        self.event_shape = tuple(event_shape)
        zeros = jnp.zeros(self.event_shape, jnp.float32)
        self.loc = nnx.Param(zeros) if trainable else None
        self.log_scale = nnx.Param(zeros) if trainable else None

    @compiled
    def log_prob(self, value: jax.Array) -> jax.Array:
        """``[*batch, *event] -> [*batch]``, nats."""
        where = f"{type(self).__name__}.log_prob"
        value, _ = float_event(value, self.event_shape, where=where, dtype=own_dtype(self))
        axes = event_axes(self.event_shape)
        if self.loc is None or self.log_scale is None:
            return self._log_noise(value).sum(axes)
        loc, log_scale = (jnp.broadcast_to(p[...], value.shape) for p in (self.loc, self.log_scale))
        return (self._log_noise((value - loc) * jnp.exp(-log_scale)) - log_scale).sum(axes)

    @compiled
    def sample(self, *, seed: jax.Array, sample_shape: int | tuple[int, ...] = ()) -> jax.Array:
        """Draw ``[*sample_shape, *event]``."""
        noise = prng.draw(self._draw_noise, seed, (*as_shape(sample_shape), *self.event_shape))
        if self.loc is None or self.log_scale is None:
            return noise
        loc, log_scale = (jnp.broadcast_to(p[...], noise.shape) for p in (self.loc, self.log_scale))
        return loc + jnp.exp(log_scale) * noise.astype(loc.dtype)

    def _log_noise(self, e: jax.Array) -> jax.Array:
        raise NotImplementedError

    def _draw_noise(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        raise NotImplementedError


@recorded
class Normal(_Standardized):
    """Independent normal elements, with means and scales that may be trained: ``base=Normal((d,), trainable=True)``.

    Args:
      event_shape: shape of one event.
      trainable: whether mean and scale of every element are parameters; they start as 0 and 1.
    """

    def _log_noise(self, e: jax.Array) -> jax.Array:
        return -0.5 * e**2 - 0.5 * math.log(2.0 * math.pi)

    def _draw_noise(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.normal(key, shape, jnp.float32)


@recorded
class StudentT(_Standardized):
    """Independent elements of Student's t distribution: tails like ``|z|^-(df + 1)``, as the data of many tables have.

    A flow whose layers are bounded in slope cannot make heavy tails of a normal base.

    Args:
      event_shape: shape of one event.
      df: degrees of freedom, positive; 1 is a Cauchy distribution, infinity the normal one.
      trainable: whether location and scale of every element are parameters; they start as 0 and 1.

    Raises:
      ValueError: ``df`` is not positive.

    Source: Jaini et al., 2020, *Tails of Lipschitz triangular flows*, arXiv:1907.04481, section 4.
    """

    def __init__(self, event_shape: Sequence[int], df: float = 5.0, *, trainable: bool = False):
        if not df > 0 or not math.isfinite(df):
            raise ValueError(f"StudentT: expected a positive df, got {df}.")
        super().__init__(event_shape, trainable=trainable)
        self.df = float(df)

    def _log_noise(self, e: jax.Array) -> jax.Array:
        df = self.df
        constant = math.lgamma(0.5 * (df + 1.0)) - math.lgamma(0.5 * df)
        constant -= 0.5 * math.log(df * math.pi)
        # log (1 + e^2 / df) without the square, which overflows.
        ratio = jnp.abs(e) / math.sqrt(df)
        return constant - (df + 1.0) * jnp.log(jnp.hypot(jnp.ones_like(ratio), ratio))

    def _draw_noise(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.t(key, self.df, shape, jnp.float32)


@recorded
class Uniform(Density):
    """Uniform on a box, ``low_i <= z_i <= high_i``; the log-density outside is ``-inf``, with zero gradients.

    Args:
      event_shape: shape of one event.
      low: lower ends, a number or an array that broadcasts to ``event_shape``.
      high: upper ends.

    Raises:
      ValueError: an interval without length.
    """

    def __init__(self, event_shape: Sequence[int], low: ArrayLike = 0.0, high: ArrayLike = 1.0):
        self.event_shape = tuple(event_shape)
        ends_of_box = [
            np.broadcast_to(np.asarray(end, np.float32), self.event_shape) for end in (low, high)
        ]
        if not (ends_of_box[0] < ends_of_box[1]).all():
            raise ValueError(f"Uniform: expected low < high, got {low} and {high}.")
        self.low, self.high = (nnx.data(jnp.asarray(end)) for end in ends_of_box)

    @compiled
    def log_prob(self, value: jax.Array) -> jax.Array:
        """``[*batch, *event] -> [*batch]``, nats."""
        value, batch = float_event(
            value, self.event_shape, where="Uniform.log_prob", dtype=own_dtype(self)
        )
        low, high = (jnp.broadcast_to(end, value.shape) for end in (self.low, self.high))
        axes = event_axes(self.event_shape)
        beyond = ((value < low) | (value > high)).any(axes)
        # NaN of NaN.
        inside = jnp.broadcast_to(-jnp.log(self.high - self.low).sum(), batch)
        inside = jnp.where(jnp.isnan(value).any(axes), jnp.full_like(inside, jnp.nan), inside)
        return ends.outside(beyond, inside)

    @compiled
    def sample(self, *, seed: jax.Array, sample_shape: int | tuple[int, ...] = ()) -> jax.Array:
        """Draw ``[*sample_shape, *event]``."""
        shape = (*as_shape(sample_shape), *self.event_shape)
        dtype = self.low.dtype
        u = prng.draw(lambda one, shape: jax.random.uniform(one, shape, dtype), seed, shape)
        low, high = (jnp.broadcast_to(end, shape) for end in (self.low, self.high))
        return jnp.minimum(low + (high - low) * u, high)


@recorded
class Product(Density):
    """Independent parts of a vector, one behind the other: ``p(z) = p_1(z_1) ... p_k(z_k)``.

    Args:
      parts: densities of vectors, or distributions of distrax.

    Raises:
      ValueError: no parts, or one whose events are no vectors or that is conditional.
    """

    def __init__(self, parts: Sequence[DistributionLike]):
        densities = [as_density(part) for part in parts]
        if not densities:
            raise ValueError("Product: expected at least one part, got none.")
        for index, part in enumerate(densities):
            if len(part.event_shape) != 1 or part.context_shape is not None:
                raise ValueError(
                    f"Product: expected densities of vectors without a context, got events of shape "
                    f"{part.event_shape} and context_shape {part.context_shape} in part {index}."
                )
        self.parts = nnx.List(densities)
        self.event_shape = (sum(part.event_shape[0] for part in densities),)

    @compiled
    def log_prob(self, value: jax.Array) -> jax.Array:
        """``[*batch, d] -> [*batch]``, nats."""
        batch_shape(value, self.event_shape, where="Product.log_prob")
        ends_of_parts = np.cumsum([part.event_shape[0] for part in self.parts])[:-1]
        values = jnp.split(value, ends_of_parts.tolist(), axis=-1)
        pairs = zip(self.parts, values, strict=True)
        return functools.reduce(jnp.add, (part.log_prob(own) for part, own in pairs))

    @compiled
    def sample(self, *, seed: jax.Array, sample_shape: int | tuple[int, ...] = ()) -> jax.Array:
        """Draw ``[*sample_shape, d]``."""
        draws = [
            part.sample(seed=prng.fold_in(seed, index), sample_shape=sample_shape)
            for index, part in enumerate(self.parts)
        ]
        return jnp.concatenate(draws, axis=-1)
