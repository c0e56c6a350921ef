"""Likely causes, guessed by trying the mistakes that people make."""

import numpy as np

from dgmjax.testing._report import Comparison, close


def log_det_shape(
    got: tuple[int, ...], batch: tuple[int, ...], event: tuple[int, ...], name: str = "log-det"
) -> str:
    """Why a log-det or log-prob of shape ``got`` is not [*batch]."""
    if got == (*batch, *event) and event:
        return f"the {name} is not summed over the event axes"
    if got == () and batch:
        return f"the {name} is reduced over the batch: sum over the event axes only (negative axes)"
    if got == (*batch, 1):
        return f"the {name} keeps a summed axis: drop keepdims=True"
    if len(got) > len(batch) and got[: len(batch)] == batch:
        return f"the {name} is summed over only some of the event axes"
    if len(got) < len(batch):
        return f"the {name} does not depend on x: broadcast it, e.g. jnp.full(batch_shape, value)"
    return f"sum the {name} over the event axes, and over nothing else"


def round_trip(c: Comparison, batch_ndims: int) -> str:
    """Why one direction does not undo the other."""
    shape = (-1, int(np.prod(c.got.shape[batch_ndims:])))
    got, expected = c.got.reshape(shape), c.expected.reshape(shape)
    if close(np.sort(got), np.sort(expected), c.tolerance):
        return "right elements in the wrong order: permute by the inverse permutation (argsort)"
    if close(got, expected, 1e3 * c.tolerance):
        return "close, but not within tolerance: rounding, or an iterative inverse that stops early"
    return "undo the steps in reverse order, each from the values it was computed from"


def log_det_cancellation(c: Comparison) -> str:
    """Why log-dets do not cancel; ``got`` is the forward one, ``expected`` minus the inverse."""
    if close(c.got, -c.expected, c.tolerance):
        return "both directions report the same sign: inverse log-det = -(forward log-det)"
    if close(c.got, np.zeros_like(c.got), c.tolerance):
        return "the forward log-det is zero: is the term forgotten?"
    if close(c.expected, np.zeros_like(c.got), c.tolerance):
        return "the inverse log-det is zero: is the term forgotten?"
    return "the law on slogdet(Jacobian) tells which direction is wrong"


def log_det(c: Comparison, jacobians: np.ndarray) -> str:
    """Why a log-det [n] is not slogdet of the Jacobians [n, size, size]."""
    got, true, tolerance = c.got, c.expected, c.tolerance
    size = jacobians.shape[-1]
    if not np.all(np.isfinite(true)):
        return "the Jacobian is singular or not finite: the map is not invertible at this point"
    if close(got, np.zeros_like(got), tolerance):
        return "the log-det is zero: is the term forgotten?"
    with np.errstate(all="ignore"):
        mistakes: list[tuple[np.ndarray, str]] = [
            (-got, "the log-det has the opposite sign"),
            (got * size, "the log-det is a mean over the event rather than a sum"),
            (got * np.log(2), "the log-det is in bits (log base 2) rather than nats"),
            (np.log(np.abs(got)), "this is the determinant: take the log of its absolute value"),
        ]
        diagonal = np.log(np.abs(np.diagonal(jacobians, axis1=-2, axis2=-1)))
    for mended, cause in mistakes:
        if close(mended, true, tolerance):
            return cause
    gap = true - got
    # A missing (or doubled) term of a triangular Jacobian leaves exactly its diagonal as the gap.
    for sign, cause in ((1, "misses"), (-1, "counts twice")):
        for i in range(size):
            if close(got + sign * diagonal[:, i], true, tolerance):
                return f"the log-det {cause} the contribution of element {i} (event flattened)"
    if len(got) > 1 and close(got + gap[0], true, tolerance):
        return f"the log-det is off by the constant {gap[0]:.6g}: a constant factor is missing"
    ratio = got[0] / true[0] if true[0] else np.nan
    if len(got) > 1 and close(got, ratio * true, tolerance):
        return f"the log-det is {ratio:.6g} times the true one at every event"
    return "derive d(out)/d(in) again, and check which variable the log-det is evaluated at"


def sampled_log_prob(c: Comparison) -> str:
    """Why ``sample_and_log_prob`` and ``log_prob`` differ."""
    if close(c.got, c.expected, 1e3 * c.tolerance):
        return "close, but not within tolerance: one of the two computes in a lower precision"
    if close(c.got - c.got[0], c.expected - c.expected[0], c.tolerance):
        return f"sample_and_log_prob adds {c.got[0] - c.expected[0]:.6g} to every log-prob"
    return "a term is computed in only one of the two, e.g. a log-det with the opposite sign"
