"""After a fit: do training rows come back from their latents?"""

import functools
import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.checks import floating_dtype
from dgmjax.distributions.dequantization.dequantized import Dequantized
from dgmjax.distributions.flow import Flow
from dgmjax.training.arrays import Data, num_rows, read_rows
from dgmjax.training.inputs import Transform, on_data

# Healthy flows in float32 are off by 1e-5 of a row at most, in half precision networks by 1e-3.
_TOLERANCE = 0.01
_MOST_ROWS = 256
_MOST_VALUES = 2**24


class RoundTripWarning(UserWarning):
    """Training rows do not come back from their latents: in its precision the flow is no bijection there.

    `dgmjax.fit` looks at 256 rows at most, the outermost among them, in one process, see `dgmjax.Watch`.
    """


def warn_of_lost_rows(
    model: Any, data: Data, key: jax.Array, *, most: int, transform: Transform | None = None
) -> None:
    """Warn if training rows do not come back from the latents of a flow; silent about other models.

    Silent too where several processes take part. Looked at are at most ``most`` rows and 256, half of them those that
    are furthest from the mean in units of the standard deviation, for whom layers cancel most. A row is lost if it
    comes back off by more than a hundredth of its largest element (of that of a typical row, if larger), or as a number
    that is not finite.

    Args:
      model: the trained model, a `dgmjax.Flow` or a `dgmjax.Dequantized` one, or another.
      data: what it was trained on.
      key: of the noise of a dequantized model and of ``transform``.
      most: rows that fit into memory.
      transform: see `dgmjax.fit`.

    Warns:
      RoundTripWarning: with the number of rows, the worst of them, and what to do.
    """
    if not isinstance(model, Flow | Dequantized) or jax.process_count() > 1:
        return
    rows = outermost(data, min(most, _MOST_ROWS))
    batch = {name: jnp.asarray(array) for name, array in read_rows(data, rows).items()}
    # A transform may be of any type, so programs with one are not kept.
    trips = _trips if transform is None else jax.jit(functools.partial(_round_trips, transform))
    try:
        errors, sent, came = (
            np.asarray(array) for array in trips(model, batch, jax.random.split(key, len(rows)))
        )
    except (NotImplementedError, jax.errors.JaxRuntimeError):
        return  # a layer with one direction, or no memory for two: no reason to lose a trained model
    lost, worst = int((errors > _TOLERANCE).sum()), int(errors.argmax())
    if not lost:
        return
    warnings.warn(
        f"{lost} of {len(rows)} training rows do not come back from their latents (looked at: the outermost, and some "
        f"at random). Worst is row {rows[worst]}, where {sent[worst]:.6g} becomes {came[worst]:.6g}: shifts and scales "
        f"that grow with an outlier from layer to layer cancel in {np.dtype(floating_dtype(model))}, so log-density "
        f"and samples near it mean nothing. Clip or standardize the data (preprocess=), take fewer layers, "
        f"bounded networks (activation='tanh') and scales (scale_fn='tanh'), or float64; "
        f"watch=dgmjax.Watch(check_round_trip=False) leaves this check out.",
        RoundTripWarning,
        stacklevel=3,
    )


def outermost(data: Data, number: int) -> np.ndarray:
    """Numbers of rows: half of them the outermost of those that are looked at, all the same at every call."""
    order = np.random.RandomState(0).permutation(num_rows(data))
    if len(order) <= number or not isinstance(data, dict):
        return np.sort(order[:number])
    size = math.prod(data["x"].shape[1:])
    pool = order[: max(number, _MOST_VALUES // max(size, 1))]
    x = np.asarray(data["x"][np.sort(pool)], np.float32).reshape(len(pool), size)
    with np.errstate(all="ignore"):  # of data whose squares overflow
        spread = x.std(0)
        distance = np.nan_to_num(np.abs(x - x.mean(0)) / np.where(spread > 0, spread, 1)).max(1)
    far = np.sort(pool)[np.argsort(-distance)[: number // 2]]
    others = order[~np.isin(order, far)]
    return np.sort(np.concatenate([far, others[: number - len(far)]]))


def _round_trips(
    transform: Transform | None, model: Any, batch: dict[str, jax.Array], keys: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The relative error of each row, and its element that is off most, before and after: ``[n]`` each."""

    def trip(model: Any, batch: dict[str, jax.Array], keys: jax.Array) -> tuple[Any, ...]:
        x, context, flow = batch["x"], batch.get("context"), model
        if isinstance(model, Dequantized):
            dtype, flow = floating_dtype(model), model.density
            x, _ = model.dequantization.dequantize(x, seed=keys, dtype=dtype)
        back = flow.bijector.forward(flow.bijector.inverse(x, context), context)
        x, back = x.reshape(len(x), -1), back.reshape(len(x), -1)
        error = jnp.abs(back - x)
        error = jnp.where(jnp.isfinite(error), error, jnp.inf)
        size = jnp.abs(x).max(1)
        scale = jnp.maximum(size, jnp.median(size))
        worst = error.argmax(1)[:, None]
        sent, came, off = (jnp.take_along_axis(a, worst, 1)[:, 0] for a in (x, back, error))
        return jnp.where(scale > 0, off / scale, off), {"sent": sent, "came": came}

    errors, values, _ = on_data(trip, transform)(model, batch, keys)
    return errors, values["sent"], values["came"]


_trips = jax.jit(functools.partial(_round_trips, None))
