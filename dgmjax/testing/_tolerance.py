"""How equal is equal: one tolerance a dtype."""

import dataclasses
from typing import Self

import jax.numpy as jnp
from jax.typing import DTypeLike


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Two values ``got``, ``expected`` agree if ``|got - expected| <= t + t * |expected|``.

    Every field is such a ``t``: the absolute and the relative tolerance at once. Defaults by dtype
    of the data, which ``Tolerance.for_dtype`` returns:

    ========  ==========  =======  ========
    dtype     round_trip  log_det  integral
    ========  ==========  =======  ========
    float64   1e-10       1e-8     1e-3
    float32   2e-4        1e-3     1e-3
    float16   1e-2        5e-2     2e-2
    bfloat16  5e-2        2e-1     5e-2
    ========  ==========  =======  ========

    To loosen one field: ``dataclasses.replace(Tolerance.for_dtype(x.dtype), log_det=1e-2)``.

    Attributes:
        round_trip: for values in data or latent space (round trips, jit, vmap, samples).
        log_det: for log-densities in nats (log-dets and log-probs).
        integral: for quadrature against exact integrals (``check_density`` only); it covers the
            grid and the tails cut off by the limits, so it hardly depends on the dtype.
    """

    round_trip: float
    log_det: float
    integral: float = 1e-3

    def __post_init__(self) -> None:
        for field, value in dataclasses.asdict(self).items():
            if not value >= 0:
                raise ValueError(f"Tolerance: {field} must be at least 0, got {value}.")

    @classmethod
    def for_dtype(cls, dtype: DTypeLike) -> Self:
        """Returns the row of the table for a floating dtype.

        Raises:
            TypeError: if the dtype has no row.
        """
        name = jnp.dtype(dtype).name
        if name not in _TABLE:
            raise TypeError(f"Tolerance: no default for dtype {name}; the table has {[*_TABLE]}.")
        round_trip, log_det, integral = _TABLE[name]
        return cls(round_trip=round_trip, log_det=log_det, integral=integral)


_TABLE = {
    "float64": (1e-10, 1e-8, 1e-3),
    "float32": (2e-4, 1e-3, 1e-3),
    "float16": (1e-2, 5e-2, 2e-2),
    "bfloat16": (5e-2, 2e-1, 5e-2),
}
