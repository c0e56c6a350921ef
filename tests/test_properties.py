"""Properties of the pure functions under hypothesis: any values, far beyond what training meets.

Budgets are backward errors. Rounding moves the image ``y`` of a value by some units in its last place, so the way back
must land between the preimages of ``y - e`` and ``y + e``, and no closer agreement exists for any implementation. Where
a map saturates in floating point (``tanh(20) = 1``), the values are restricted and the line says so.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import hypothesis.extra.numpy as hnp
import jax.numpy as jnp
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from dgmjax import bijectors

# The same examples every time, nothing kept on disk; the first example of a shape compiles, so no deadline.
settings.register_profile(
    "dgmjax", derandomize=True, database=None, deadline=None, max_examples=25
)
settings.load_profile("dgmjax")

DTYPES = ["float64", "float32"]
BATCH, SIZE = 3, 4
SLACK = 32.0  # units in the last place
seeds = st.integers(0, 2**31 - 1)


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    """Ordinary values as often as extreme ones, and the ends themselves."""
    middle = st.floats(max(low, -3.0), min(high, 3.0), allow_subnormal=False)
    return st.one_of(middle, st.floats(low, high, allow_subnormal=False), st.sampled_from([low, high]))


def arrays(shape: tuple[int, ...], low: float = -1e4, high: float = 1e4):
    return hnp.arrays(np.float64, shape, elements=numbers(low, high))


def eps(dtype: Any) -> float:
    return float(jnp.finfo(dtype).eps)


def assert_finite(*values: Any) -> None:
    for value in values:
        assert np.isfinite(np.asarray(value)).all(), value


class Elementwise(NamedTuple):
    """An increasing map under test.

    Attributes:
      forward: ``(z, params) -> (x, log_derivative)``.
      inverse: ``(x, params) -> (z, log_derivative)``.
      params: strategy of ``[SIZE, P]``.
      z: range of the latents.
      x: range of the data.
      domain: open interval that holds the data.
      sizes: what a value is added to or subtracted from on the way, an array like z.
    """

    forward: Callable[..., Any]
    inverse: Callable[..., Any]
    params: Any
    z: tuple[float, float] = (-1e4, 1e4)
    x: tuple[float, float] = (-1e4, 1e4)
    domain: tuple[float, float] = (-math.inf, math.inf)
    sizes: Callable[[Any], Any] = lambda params: 0.0


def columns(*ranges: tuple[float, float]):
    parts = [arrays((SIZE, 1), low, high) for low, high in ranges]
    return st.tuples(*parts).map(lambda parts: np.concatenate(parts, axis=-1))


def first(params: Any) -> Any:
    return jnp.abs(params[..., 0])


def transformer(t: bijectors.Transformer, params: Any, sizes: Any = first, **options: Any):
    return Elementwise(t.forward, t.inverse, params, sizes=sizes, **options)


# raw beyond the bound on both sides where log s is bounded; where s reaches 0 or infinity, up to e^-30 and e^30.
RAW = {
    "tanh": (-1e4, 1e4),
    "sigmoid": (-30.0, 1e4),
    "double_sigmoid": (-30.0, 1e4),
    "softplus": (-30.0, 1e4),
    "exp": (-30.0, 30.0),
}
MAPS: dict[str, Elementwise] = {
    f"affine, {name}{', shift first' if shift_first else ''}": transformer(
        bijectors.AffineTransformer(name, shift_first), columns((-1e4, 1e4), RAW[name])
    )
    for name in bijectors.SCALE_FNS
    for shift_first in (False, True)
}
_mixture = bijectors.MixtureCDFTransformer(2)
_spline = bijectors.SplineTransformer(4, bound=3.0)
MAPS |= {
    "additive": transformer(bijectors.AdditiveTransformer(), columns((-1e4, 1e4))),
    "gated": transformer(bijectors.GatedTransformer(), columns((-1e4, 1e4), (-30.0, 1e4))),
    # Between far and narrow components the map is flat, hence means and scales of moderate size.
    "mixture cdf": transformer(
        _mixture,
        columns((-1e4, 1e4), (-1e4, 1e4), *[(-1e4, 1e4)] * 2, *[(-2.0, 2.0)] * 2, *[(-1.0, 5.0)] * 2),
        sizes=lambda p: jnp.abs(p[..., 0]) + jnp.abs(p[..., 4:6]).max(-1),
    ),
    "spline": transformer(_spline, columns(*[(-1e4, 1e4)] * _spline.num_params), sizes=lambda p: 3.0),
    "leaky relu": Elementwise(
        lambda z, p: bijectors.leaky_relu_forward(z, 0.01),
        lambda x, p: bijectors.leaky_relu_inverse(x, 0.01),
        columns(),
    ),
}
