"""Rows of a table with columns of several kinds: numbers, integers, categories."""

from collections.abc import Sequence
from typing import Literal, Self, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.checks import as_shape, batch_shape, floating_dtype, widened
from dgmjax.densities.bound import Bound
from dgmjax.distributions.base import Density
from dgmjax.distributions.categorical import CategoricalVector
from dgmjax.distributions.dequantization.base import in_bin
from dgmjax.distributions.flow import Flow
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import ends, prng
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.importance_weighting import log_mean_weight

ColumnKind = Literal["real", "integer", "category"]
# Noise of 0 would be the end of a bounded map, where no density is.
_LEAST_NOISE = 2.0**-20


@recorded
class TabularDensity(Density):
    """``p(row) = P(categories) p(numbers | categories)``, with noise in ``[0, 1)`` on integers.

    Categories have probabilities (`CategoricalVector`), numbers a density (a flow whose context are the categories,
    one-hot), integers the mass ``P(y) = integral of p(y + u)``, of which `log_prob` is a bound, by uniform
    dequantization. Events are rows of floats: categories as ``0 .. k - 1``, integers as they are.

    Args:
      kinds: ``"real"``, ``"integer"`` or ``"category"``, one a column.
      flow: density of the columns that are no categories, in their order; conditional on ``(sum of the numbers of
        categories,)`` if there are categories. None if all are categories.
      categories: distribution of the columns that are; None if none is.

    Raises:
      ValueError: parts that do not fit the kinds.
    """

    def __init__(
        self,
        kinds: Sequence[ColumnKind],
        flow: Flow | None,
        categories: CategoricalVector | None = None,
    ):
        kinds = tuple(kinds)
        if not kinds or not set(kinds) <= set(get_args(ColumnKind)):
            raise ValueError(
                f"TabularDensity: kinds: expected one of {list(get_args(ColumnKind))} a column, got {list(kinds)}."
            )
        of_categories = kinds.count("category")
        context = None if categories is None else (sum(categories.sizes),)
        expected = (
            None if len(kinds) == of_categories else (len(kinds) - of_categories,),
            of_categories or None,
            context,
        )
        found = (
            None if flow is None else flow.event_shape,
            None if categories is None else len(categories.sizes),
            context if flow is None else flow.context_shape,
        )
        if found != expected:
            raise ValueError(
                f"TabularDensity: for the kinds {list(kinds)} expected a flow with events of shape {expected[0]} and "
                f"context_shape {expected[2]}, and categories of {expected[1]} columns; got {found[0]}, {found[2]} "
                f"and {found[1]}."
            )
        self.kinds = kinds
        self.flow = nnx.data(flow)
        self.categories = nnx.data(categories)
        self.event_shape = (len(kinds),)

    def bound(self, num_samples: int = 1) -> Bound:
        """The label of `log_prob`: exact, or a bound where there are integers; it counts the columns of each sort."""
        counts = {kind: self.kinds.count(kind) for kind in get_args(ColumnKind)}
        parts = {
            "densities": counts["real"],
            "uniform dequantization": counts["integer"],
            "probabilities": counts["category"],
        }
        source = ", ".join(
            f"{what} of {num} column{'s' if num > 1 else ''}" for what, num in parts.items() if num
        )
        return (
            Bound("lower bound", num_samples, source)
            if counts["integer"]
            else Bound("exact", 0, source)
        )

    @compiled
    def log_prob(
        self,
        value: jax.Array,
        *,
        seed: jax.Array | None = None,
        num_samples: int = 1,
        batch_size: int = 1,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Log-likelihood of rows in nats, ``[*batch, d] -> [*batch]``; see `bound` for what it is.

        Args:
          value: rows.
          seed: of the noise on integers; one, or one a row. Not needed without them.
          num_samples: importance samples ``K`` of the noise; the bound tightens with ``K``.
          batch_size: samples at a time; the result does not depend on it.
          key: switches dropout on.

        Raises:
          ValueError: another number of columns, or no seed where there are integers.
        """
        batch_shape(value, self.event_shape, where="TabularDensity.log_prob")
        numbers, codes = self._split(value)
        total, context = self._of_categories(codes, value.shape[:-1])
        flow = self.flow
        if flow is None:
            return total
        if not self._is_integer.any():
            return total + flow.log_prob(numbers, context, key=key)
        if seed is None:
            raise ValueError(
                "TabularDensity.log_prob: integers need noise; pass seed=jax.random.key(...)."
            )

        def one_sample(seed: jax.Array) -> jax.Array:
            return flow.log_prob(self._with_noise(numbers, seed), context, key=key)

        of_numbers = log_mean_weight(one_sample, seed, num_samples, batch_size=batch_size)
        halves = (numbers != jnp.floor(numbers)) & jnp.broadcast_to(self._is_integer, numbers.shape)
        return ends.outside(halves.any(-1), total + of_numbers)

    @compiled
    def sample(self, *, seed: jax.Array, sample_shape: int | tuple[int, ...] = ()) -> jax.Array:
        """Draw rows ``[*sample_shape, d]``."""
        shape = as_shape(sample_shape)
        columns: list[jax.Array | None] = [None] * len(self.kinds)
        context, dtype = None, floating_dtype(self)
        if self.categories is not None:
            codes = self.categories.sample(seed=prng.fold_in(seed, 0), sample_shape=shape)
            context = self.categories.one_hot(codes)
            for place, index in enumerate(self._places(category=True)):
                columns[index] = codes[..., place].astype(dtype)
        if self.flow is not None:
            seeds = prng.fold_in(seed, 1)
            numbers = (
                self.flow.sample(seed=seeds, sample_shape=shape)
                if context is None
                else self.flow.sample(seed=seeds, context=context)
            )
            numbers = jnp.where(
                jnp.broadcast_to(self._is_integer, numbers.shape), jnp.floor(numbers), numbers
            )
            for place, index in enumerate(self._places(category=False)):
                columns[index] = numbers[..., place]
        return jnp.stack([column for column in columns if column is not None], axis=-1)

    def with_data_init(self, value: jax.Array, *, seed: jax.Array | None = None) -> Self:
        """A new one whose parts that depend on data are set from rows ``[n, d]``."""
        numbers, codes = self._split(value)
        new = nnx.clone(self)
        context = None
        if self.categories is not None:
            new.categories = self.categories.with_data_init(codes)
            context = new.categories.one_hot(codes)
        if self.flow is not None:
            if self._is_integer.any() and seed is not None:
                numbers = self._with_noise(numbers, seed)
            new.flow = self.flow.with_data_init(numbers, context)
        return new

    def _split(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The numbers, and the categories as integers; one that is none becomes -1, which does not exist."""
        value = value.astype(floating_dtype(self))
        raw = value[..., self._places(category=True)]
        codes = jnp.where(raw == jnp.floor(raw), raw, -jnp.ones_like(raw))
        codes = jnp.clip(codes, -1.0, 2.0**30).astype(jnp.int32)
        return value[..., self._places(category=False)], codes

    def _of_categories(
        self, codes: jax.Array, batch: tuple[int, ...]
    ) -> tuple[jax.Array, jax.Array | None]:
        if self.categories is None:
            return jnp.zeros(batch, floating_dtype(self)), None
        return widened(self.categories.log_prob(codes)), self.categories.one_hot(codes)

    def _with_noise(self, numbers: jax.Array, seed: jax.Array) -> jax.Array:
        u = prng.draw(
            lambda one, shape: jax.random.uniform(one, shape, numbers.dtype, _LEAST_NOISE),
            seed,
            numbers.shape,
        )
        is_integer = jnp.broadcast_to(self._is_integer, numbers.shape)
        return jnp.where(is_integer, in_bin(numbers, u), numbers)

    def _places(self, *, category: bool) -> np.ndarray:
        return np.flatnonzero([(kind == "category") is category for kind in self.kinds])

    @property
    def _is_integer(self) -> np.ndarray:
        """Booleans, True for the numbers that are integers."""
        return np.array([kind == "integer" for kind in self.kinds if kind != "category"], bool)
