"""``dgmjax.interop.fit_table``: a density of the rows of a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from numpy.typing import ArrayLike

from dgmjax.distributions.categorical import CategoricalVector
from dgmjax.distributions.flow import Flow
from dgmjax.distributions.tabular import ColumnKind, TabularDensity
from dgmjax.interop._frames import (
    Labels,
    columns_of,
    dtype_of,
    labels_of,
    matrix_of,
)
from dgmjax.interop.column_codes import kinds_of, map_of
from dgmjax.interop.columns import Categories, Circular, Column, Integers, Real
from dgmjax.interop.table_density import TableDensity
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.concatenate import Concatenate
from dgmjax.layers.preprocess import Standardize
from dgmjax.models.spline_flow import NeuralSplineFlow
from dgmjax.training.fit import fit
from dgmjax.training.weights import prepare_weights

_FEWEST_ROWS = 20
# float32 keeps seven digits: a column whose mean is this many standard deviations from 0 keeps two of its deviations.
_LARGEST_OFFSET = 1e5


def fit_table(
    table: Any,
    *,
    seed: jax.Array,
    columns: Mapping[str | int, Column] | None = None,
    model: Flow | None = None,
    weights: ArrayLike | None = None,
    steps: int = 2_000,
    validation_share: float = 0.1,
    **options: Any,
) -> TableDensity:
    """Fit a density to the rows of a table, whose columns may be of every kind.

    A column of floats is real, of integers integer, of booleans, strings and pandas' categories a category, unless
    ``columns`` says otherwise: ``{"share": Bounded(0, 1), "hour": Circular(0, 24), "rooms": Integers(0, 10)}``. Numbers
    go through a map of their kind (`dgmjax.Concatenate`), set from the training rows, so densities are in the units of
    the table. Angles and the like have circular splines. Integers have uniform noise of their own bounds, so their
    likelihood is a bound. Categories have probabilities, and the density of the numbers depends on them.

    Args:
      table: pandas DataFrame or NumPy array ``[n, d]``.
      seed: typed key; the split, the initial weights and the training follow from it.
      columns: kinds by name, by number for an array: `dgmjax.interop.Real`, `dgmjax.interop.Bounded`,
        `dgmjax.interop.Circular`, `dgmjax.interop.Integers` or `dgmjax.interop.Categories`.
      model: flow with events ``(d,)``, with its own `dgmjax.Standardize`, for columns that all are real, or taken as
        such; default a `dgmjax.NeuralSplineFlow` with a map of each kind as its first layer.
      weights: one a row, zero or more each, as in `dgmjax.fit`, in training and validation; a row of weight zero is as
        good as none.
      steps: optimizer steps.
      validation_share: of the rows, chosen at random, that select the weights; 0 for none.
      **options: to `dgmjax.fit`: ``learning_rate``, ``batch_size``, ``patience``, ``watch``, ``workdir``, ...

    Raises:
      TypeError: something else than a table, or columns of dates and the like.
      ValueError: NaN, infinite or constant columns, columns that float32 cannot resolve, values that the kind of their
        column excludes, fewer than 20 rows, or a model of another number of columns.
    """
    labels = labels_of(table)
    names, values = columns_of(table, labels, where="fit_table")
    if model is not None and columns is not None:
        raise ValueError("fit_table: give columns or a model; a model of yours has its own maps.")
    kinds: list[Column] = (
        [Real()] * len(names) if model is not None else kinds_of(columns, names, values)
    )
    x = matrix_of(names, values, kinds, where="fit_table")
    weights = prepare_weights(weights, len(x), "fit_table: weights")
    if weights is not None:
        x, weights = x[weights > 0.0], weights[weights > 0.0]
    _check(x, names, kinds)
    if not 0.0 <= validation_share < 1.0:
        raise ValueError(f"fit_table: validation_share must be in [0, 1), got {validation_share}.")
    model_key, split_key, fit_key = jax.random.split(seed, 3)
    made = _model(kinds, x, nnx.Rngs(model_key)) if model is None else model
    if tuple(made.event_shape) != x.shape[1:]:
        raise ValueError(
            f"fit_table: the table has {x.shape[1]} columns, the model events of shape {tuple(made.event_shape)}."
        )
    order = np.asarray(jax.random.permutation(split_key, len(x)))
    held_out = round(validation_share * len(x))
    x = x.astype(np.float32)
    validation, train = order[:held_out], order[held_out:]
    if held_out:
        options |= {"validation": x[validation]}
    if weights is not None:
        options |= {"weights": weights[train]}
        options |= {"validation_weights": weights[validation]} if held_out else {}
    result = fit(made, x[train], seed=fit_key, steps=steps, **options)
    dtypes = (
        None
        if labels is None
        else [_sampled_dtype(k, v) for k, v in zip(kinds, values, strict=True)]
    )
    return TableDensity(result.model, labels, kinds, dtypes)


def _sampled_dtype(kind: Column, values: Any) -> Any:
    """The dtype of samples: that of the data, but float32 for floats, and for integers that are taken as real."""
    is_number = isinstance(kind, Integers | Categories)
    return dtype_of(values) if is_number else "float32"


def _model(kinds: Sequence[Column], x: np.ndarray, rngs: nnx.Rngs) -> Flow | TabularDensity:
    """The default model of columns of these kinds; ``x`` has their scales."""
    numbers = [
        (kind, own)
        for kind, own in zip(kinds, x.T, strict=True)
        if not isinstance(kind, Categories)
    ]
    sizes = [len(kind.values or ()) for kind in kinds if isinstance(kind, Categories)]
    flow = None
    if numbers:
        circular = [isinstance(kind, Circular) for kind, _ in numbers]
        maps = [map_of(kind, float(own.std())) for kind, own in numbers]
        all_real = all(isinstance(kind, Real) for kind, _ in numbers)
        start: Bijector = Standardize((len(numbers),)) if all_real else Concatenate(maps)
        flow = NeuralSplineFlow(
            (len(numbers),),
            preprocess=start,
            linear="none" if all_real else "affine",
            circular=circular if any(circular) else None,
            context_shape=(sum(sizes),) if sizes else None,
            rngs=rngs,
        )
    if flow is not None and not sizes and not any(isinstance(kind, Integers) for kind in kinds):
        return flow
    categories = CategoricalVector(sizes, rngs=rngs) if sizes else None
    return TabularDensity([_kind_of(kind) for kind in kinds], flow, categories)


def _kind_of(kind: Column) -> ColumnKind:
    if isinstance(kind, Categories):
        return "category"
    return "integer" if isinstance(kind, Integers) else "real"


def _check(x: np.ndarray, names: Labels, kinds: Sequence[Column]) -> None:
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
    for name, kind, is_coarse, is_extreme, mean, scale in zip(
        names, kinds, coarse, extreme, x.mean(0), std, strict=True
    ):
        if isinstance(kind, Integers | Categories):
            continue
        if is_coarse or is_extreme:
            fix = f"subtract about {mean:.6g} from it" if is_coarse else "change its unit"
            raise ValueError(
                f"fit_table: column {name!r} has mean {mean:.3g} and standard deviation {scale:.3g}, which float32 "
                f"cannot resolve; {fix}."
            )
