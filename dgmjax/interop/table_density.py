"""``dgmjax.interop.TableDensity``: a model of rows with the names, kinds and dtypes of the columns."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from dgmjax.densities.bound import Bound
from dgmjax.distributions.base import Density
from dgmjax.distributions.flow import Flow
from dgmjax.distributions.tabular import TabularDensity
from dgmjax.interop._frames import columns_of, frame_of, matrix_of, series_of
from dgmjax.interop.column_codes import decoded
from dgmjax.interop.columns import Column, Real
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng
from dgmjax.numerics.rows import map_rows


@recorded
class TableDensity(Module):
    """A model of rows with the names and kinds of the columns that it is a density of; what `fit_table` returns.

    ``dgm.save(path, density)`` and ``dgm.load(path)`` keep names and kinds with the model.

    Args:
      model: density of rows ``(d,)``: a flow in the units of the table, or a `dgmjax.distributions.TabularDensity`.
      columns: the ``d`` names, strings or integers, of a DataFrame; None for arrays.
      kinds: what each column is, see `dgmjax.interop.Real` and its neighbours; None for real numbers.
      dtypes: dtypes of the columns of samples, by name; of categories a list of them, and whether they are ordered;
        None for float32.

    Raises:
      ValueError: another number of names, kinds or dtypes than the model has columns.
    """

    def __init__(
        self,
        model: Flow | TabularDensity,
        columns: Sequence[str | int] | None = None,
        kinds: Sequence[Column] | None = None,
        dtypes: Sequence[Any] | None = None,
    ):
        size = model.event_shape[0]
        for what, given in (("columns", columns), ("kinds", kinds), ("dtypes", dtypes)):
            if given is not None and len(given) != size:
                raise ValueError(
                    f"TableDensity: the model has {size} dimensions, got {len(given)} {what}."
                )
        self.model = model
        self._columns = None if columns is None else tuple(columns)
        self._kinds: tuple[Column, ...] = (Real(),) * size if kinds is None else tuple(kinds)
        self._dtypes = ("float32",) * size if dtypes is None else _frozen(dtypes)

    @property
    def columns(self) -> list[str | int] | None:
        """Names in the order of the model's dimensions, None for arrays."""
        return None if self._columns is None else list(self._columns)

    @property
    def kinds(self) -> list[Column]:
        """The kind of each column."""
        return list(self._kinds)

    def bound(self, num_samples: int = 1) -> Bound:
        """The label of `log_prob`: exact, or a bound where there are integers."""
        return self.model.bound(num_samples)

    def log_prob(
        self,
        table: Any,
        *,
        seed: jax.Array | None = None,
        num_samples: int = 1,
        batch_size: int = 16_384,
    ) -> Any:
        """Log-likelihood of every row in nats, in the units of the table, float32; `bound` says what it is.

        Args:
          table: DataFrame with the columns of the fit, in any order; or array ``[n, d]`` if it was fitted on one.
          seed: of the noise on integer columns; not needed without them.
          num_samples: importance samples of that noise; the bound tightens with them.
          batch_size: rows at a time.

        Returns:
          A Series with the index of the DataFrame; or an array ``[n]``.

        Raises:
          TypeError: a DataFrame where an array was fitted or the reverse, or columns that should be numbers.
          ValueError: missing or superfluous columns, values that their column excludes, NaN or infinite ones; no seed
            where there are integers.
        """
        where = "TableDensity.log_prob"
        names, columns = columns_of(table, self.columns, where=where)
        x = matrix_of(names, columns, self._kinds, where=where).astype(np.float32)
        keys = []
        if self.bound().is_noisy:
            if seed is None:
                raise ValueError(
                    f"{where}: integer columns need noise; pass seed=jax.random.key(...)."
                )
            keys = [prng.example_keys(seed, len(x))]
        values = np.asarray(
            map_rows(
                lambda *rows: _log_prob(self.model, num_samples, *rows),
                x,
                *keys,
                batch_size=batch_size,
            )
        )
        return values if self._columns is None else series_of(values, table.index)

    def sample(self, num: int, seed: jax.Array) -> Any:
        """``num`` rows: a DataFrame with the columns and dtypes of the fit, or an array ``[num, d]``.

        Args:
          num: number of rows.
          seed: typed key.
        """
        x = np.asarray(_sample(self.model, seed, num))
        if not all(isinstance(kind, Real) for kind in self._kinds):
            x = x.astype(np.float64)
        values = [decoded(kind, own) for kind, own in zip(self._kinds, x.T, strict=True)]
        if self._columns is None:
            return np.stack(values, axis=1)
        return frame_of(self._columns, values, self._dtypes)


def _frozen(dtypes: Sequence[Any]) -> tuple[Any, ...]:
    """Structure of a module has a hash."""
    return tuple(d if isinstance(d, str) else (tuple(d[0]), bool(d[1])) for d in dtypes)


@functools.partial(jax.jit, static_argnums=1)
def _log_prob(
    model: Density, num_samples: int, x: jax.Array, keys: jax.Array | None = None
) -> jax.Array:
    return model.log_prob(x, seed=keys, num_samples=num_samples)


@functools.partial(jax.jit, static_argnums=2)
def _sample(model: Density, seed: jax.Array, num: int) -> jax.Array:
    return model.sample(seed=seed, sample_shape=(num,))
