"""``dgmjax.interop.fit_table``: a density of the rows of a table."""

import functools
from typing import Any

import jax
import numpy as np
from flax import nnx

from dgmjax.distributions.flow import Flow
from dgmjax.interop._columns import Labels, labels_of, matrix_of, table_of
from dgmjax.layers.preprocess import Standardize
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.models.spline_flow import NeuralSplineFlow
from dgmjax.nets.summary import Module
from dgmjax.numerics.rows import map_rows
from dgmjax.training.fit import fit

_FEWEST_ROWS = 20
# float32 keeps seven digits: a column whose mean is this many standard deviations from 0 keeps two of its deviations.
_LARGEST_OFFSET = 1e5


@recorded
class TableDensity(Module):
    """A flow with the names of the columns that it is a density of; what `fit_table` returns.

    ``dgm.save(path, density)`` and ``dgm.load(path)`` keep the names with the flow.

    Args:
      model: flow with events ``(d,)``, in the units of the table.
      columns: the ``d`` names, strings or integers, of a DataFrame; None for arrays.

    Raises:
      ValueError: another number of names than the model has dimensions.
    """

    def __init__(self, model: Flow, columns: list[str | int] | None = None):
        if columns is not None and len(columns) != model.event_shape[0]:
            raise ValueError(
                f"TableDensity: the model has {model.event_shape[0]} dimensions, got {len(columns)} columns."
            )
        self.model = model
        self._columns = None if columns is None else tuple(columns)

    @property
    def columns(self) -> list[str | int] | None:
        """Names in the order of the model's dimensions, None for arrays."""
        return None if self._columns is None else list(self._columns)

    def log_prob(self, table: Any, *, batch_size: int = 16_384) -> Any:
        """Log-density of every row in nats, in the units of the table, float32.

        Args:
          table: DataFrame with the columns of the fit, in any order; or array ``[n, d]`` if it was fitted on one.
          batch_size: rows at a time.

        Returns:
          A Series with the index of the DataFrame; or an array ``[n]``.

        Raises:
          TypeError: a DataFrame where an array was fitted or the reverse, or columns that are not numbers.
          ValueError: missing or superfluous columns, or values that are NaN or infinite.
        """
        x = matrix_of(table, self.columns, where="TableDensity.log_prob").astype(np.float32)
        values = np.asarray(
            map_rows(lambda rows: _log_prob(self.model, rows), x, batch_size=batch_size)
        )
        return values if self._columns is None else table_of(values, None, index=table.index)

    def sample(self, num: int, seed: jax.Array) -> Any:
        """``num`` rows: a DataFrame with the columns of the fit in their order, or an array ``[num, d]``.

        Args:
          num: number of rows.
          seed: typed key.
        """
        x = np.asarray(_sample(self.model, seed, num))
        return x if self._columns is None else table_of(x, self.columns)


@jax.jit
def _log_prob(model: Flow, x: jax.Array) -> jax.Array:
    return model.log_prob(x)


@functools.partial(jax.jit, static_argnums=2)
def _sample(model: Flow, seed: jax.Array, num: int) -> jax.Array:
    return model.sample(seed=seed, sample_shape=(num,))


def fit_table(
    table: Any,
    *,
    seed: jax.Array,
    model: Flow | None = None,
    steps: int = 2_000,
    validation_share: float = 0.1,
    **options: Any,
) -> TableDensity:
    """Fit a flow to the rows of a table of continuous columns.

    Standardisation is the first layer of the model (`dgmjax.Standardize`, set from the training rows), so densities
    are in the units of the table and columns may have any scales. Columns that take few values have no density; a flow
    would put spikes on them: leave them out, or give them as ``context=`` to `dgmjax.fit`.

    Args:
      table: pandas DataFrame or NumPy array ``[n, d]``.
      seed: typed key; the split, the initial weights and the training follow from it.
      model: flow with events ``(d,)``, with its own `dgmjax.Standardize`; default a `dgmjax.NeuralSplineFlow` with
        one.
      steps: optimizer steps.
      validation_share: of the rows, chosen at random, that select the weights; 0 for none.
      **options: to `dgmjax.fit`: ``learning_rate``, ``batch_size``, ``patience``, ``watch``, ``workdir``, ...

    Raises:
      TypeError: something else than a table, or columns that are not numbers.
      ValueError: NaN, infinite or constant columns, columns that float32 cannot resolve, fewer than 20 rows, or a model
        of another number of columns.
    """
    columns = labels_of(table)
    x = matrix_of(table, columns, where="fit_table")
    names: Labels = [f"number {i}" for i in range(x.shape[1])] if columns is None else list(columns)
    _check(x, names)
    if not 0.0 <= validation_share < 1.0:
        raise ValueError(f"fit_table: validation_share must be in [0, 1), got {validation_share}.")
    model_key, split_key, fit_key = jax.random.split(seed, 3)
    if model is None:
        start = Standardize((x.shape[1],))
        model = NeuralSplineFlow((x.shape[1],), preprocess=start, rngs=nnx.Rngs(model_key))
    if tuple(model.event_shape) != x.shape[1:]:
        raise ValueError(
            f"fit_table: the table has {x.shape[1]} columns, the model events of shape {tuple(model.event_shape)}."
        )
    order = np.asarray(jax.random.permutation(split_key, len(x)))
    held_out = round(validation_share * len(x))
    x = x.astype(np.float32)
    validation = x[order[:held_out]] if held_out else None
    result = fit(
        model, x[order[held_out:]], seed=fit_key, validation=validation, steps=steps, **options
    )
    return TableDensity(result.model, columns)


def _check(x: np.ndarray, names: Labels) -> None:
    if len(x) < _FEWEST_ROWS:
        raise ValueError(
            f"fit_table: expected at least {_FEWEST_ROWS} rows, got {len(x)}; a density of {x.shape[1]} columns cannot "
            f"be fitted to so few."
        )
    low, high = x.min(0), x.max(0)
    constant = [name for name, same in zip(names, low == high, strict=True) if same]
    if constant:
        raise ValueError(
            f"fit_table: the columns {constant} are constant, so they have no density; drop them."
        )
    with np.errstate(over="ignore"):  # found to be extreme below
        std = x.std(0)
    coarse = np.abs(x.mean(0)) > _LARGEST_OFFSET * std
    extreme = (std < 1e-15) | (std > 1e15)
    for name, is_coarse, is_extreme, mean, scale in zip(
        names, coarse, extreme, x.mean(0), std, strict=True
    ):
        if is_coarse or is_extreme:
            fix = f"subtract about {mean:.6g} from it" if is_coarse else "change its unit"
            raise ValueError(
                f"fit_table: column {name!r} has mean {mean:.3g} and standard deviation {scale:.3g}, which float32 "
                f"cannot resolve; {fix}."
            )
