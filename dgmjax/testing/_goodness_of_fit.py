"""Expectations under a density: by quadrature or summation, and by its samples."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.testing import _quadrature
from dgmjax.testing._report import Report, as_float, close
from dgmjax.testing._subject import Subject
from dgmjax.testing._tolerance import Tolerance

# k: normal means deviate by more with probability 6e-7, the other statistics below with a
# probability of at most 2 exp(-k^2 / 2) = 7e-6, by inequalities that are seldom tight.
STANDARD_ERRORS = 5.0
_SCALE_HINT = "the sampler and log_prob disagree on the scale: standard deviation against variance?"


def check_support(
    report: Report, subject: Subject, support: jax.Array, samples: jax.Array, tolerance: Tolerance
) -> None:
    """The sum of p over the support is 1, and samples take its values with frequency p."""
    values = np.asarray(support).reshape(len(support), -1)
    rows = np.asarray(samples).reshape(len(samples), -1)
    unique, where = np.unique(np.concatenate([values, rows]), axis=0, return_inverse=True)
    first = where.ravel()[: len(values)]
    if len(np.unique(first)) < len(values):
        raise ValueError("check_density: support lists a value twice; list each value once.")
    probabilities = np.exp(as_float(subject.log_prob(support)))
    total = probabilities.sum()
    if not close(total, 1.0, tolerance.integral):
        report.add(
            "integral",
            f"the sum of p over {len(values)} values is 1",
            f"got {total:.8g}: |difference| = {abs(total - 1):.3g} > {2 * tolerance.integral:.3g}",
            hint="a constant of the density is missing, or support is not complete",
        )
    counts = np.bincount(where.ravel()[len(values) :], minlength=len(unique))
    outside = np.setdiff1d(np.flatnonzero(counts), first)
    if len(outside):
        report.add(
            "samples",
            "samples lie in the support",
            f"{counts[outside].sum()} of {len(rows)} do not, e.g. {unique[outside[0]]}",
        )
    frequencies, p = counts[first] / len(rows), probabilities / total
    # Bernstein's inequality; its second term is what rare values need.
    spread = np.sqrt(np.clip(p * (1 - p), 0, None) / len(rows))
    allowed = STANDARD_ERRORS * spread + STANDARD_ERRORS**2 / (3 * len(rows))
    worst = int(np.argmax(np.abs(frequencies - p) / allowed))
    if not abs(frequencies[worst] - p[worst]) <= allowed[worst]:
        report.add(
            "samples",
            f"the frequency of each value in {len(rows)} samples is its probability",
            f"worst at value {values[worst]}: frequency {frequencies[worst]:.6g}, probability "
            f"{p[worst]:.6g}",
            f"|difference| = {abs(frequencies[worst] - p[worst]):.3g} > {allowed[worst]:.3g}",
            hint="the sampler and log_prob use different parameters",
        )


def check_grid(
    report: Report,
    subject: Subject,
    limits: Any,
    samples: jax.Array,
    log_probs: jax.Array,
    tolerance: Tolerance,
) -> None:
    """The integral of p is 1, and samples follow p, for event size 1 or 2."""
    rows = as_float(samples).reshape(len(samples), -1)
    low, high = _box(subject, limits, rows)
    dtype = samples.dtype

    def log_prob(points: np.ndarray) -> Any:
        return subject.jit_log_prob(jnp.asarray(points, dtype).reshape(-1, *subject.event))

    with report.guard("integral", "log_prob on a grid over the limits"):
        grid = _quadrature.evaluate(log_prob, low, high)
        bad = np.isnan(grid.log_density) | (grid.log_density == np.inf)
        if bad.any():
            report.add(
                "integral",
                "log_prob is a number, or -inf, on the grid",
                f"{bad.sum()} of {bad.size} are NaN or inf, e.g. {grid.log_density[bad][0]} at "
                f"x = {grid.points[bad][0]}",
                hint="if that is outside the support, return -inf there, or pass limits= inside it",
            )
            return
        # Against a grid that misses part of the density, the samples would be accused in vain.
        if _check_integral(report, grid, low, high, rows, tolerance):
            _check_samples(report, grid, rows, as_float(log_probs), tolerance)


def _box(subject: Subject, limits: Any, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if limits is None:
        return _quadrature.default_limits(rows)
    low, high = (np.broadcast_to(as_float(side), subject.event).reshape(-1) for side in limits)
    if not np.all(np.isfinite(low) & np.isfinite(high) & (low < high)):
        raise ValueError(
            f"check_density: limits must be finite with low < high, got {low}, {high}."
        )
    return low, high


def _check_integral(
    report: Report,
    grid: _quadrature.Grid,
    low: np.ndarray,
    high: np.ndarray,
    rows: np.ndarray,
    tolerance: Tolerance,
) -> bool:
    """Checks the integral; returns whether the grid covers and resolves the density."""
    total, coarse, boundary = grid.mass.sum(), grid.coarse_integral(), grid.boundary_mass()
    if close(total, 1.0, tolerance.integral):
        return True
    adequate = False
    if np.any(grid.widths > rows.std(axis=0)) or not close(coarse, total, tolerance.integral):
        hint = f"cells {grid.widths} wide do not resolve the density (a grid twice as coarse gives "
        hint += f"{coarse:.6g}): narrow limits=, or loosen tolerance.integral"
    elif total < 1 and boundary > 1e-6:
        hint = f"the limits cut off mass (p at their edge is {boundary:.2g} of its maximum): "
        hint += "widen limits="
    else:
        adequate = bool(total > 0)
        with np.errstate(divide="ignore"):
            hint = f"log_prob is off by about {np.log(total):.6g}: a constant or a log-det is wrong"
    report.add(
        "integral",
        f"the integral of p over {low} to {high} is 1",
        f"got {total:.8g}: |difference| = {abs(total - 1):.3g} > {2 * tolerance.integral:.3g}",
        hint=hint,
    )
    return adequate


def _check_samples(
    report: Report,
    grid: _quadrature.Grid,
    rows: np.ndarray,
    log_probs: np.ndarray,
    tolerance: Tolerance,
) -> None:
    count, dim = rows.shape
    mean = grid.mean(grid.points)
    std = np.sqrt(grid.mean((grid.points - mean) ** 2))
    hint = (
        f"samples have mean {rows.mean(axis=0)} and standard deviation {rows.std(axis=0)}, "
        f"the density {mean} and {std}"
    )
    # An unnormalized density is one violation, not two: the log of its integral is taken out.
    expected = grid.mean(grid.log_density)
    error = log_probs.std() / np.sqrt(count)
    allowed = STANDARD_ERRORS * error + tolerance.integral * (1 + abs(expected))
    if not abs(log_probs.mean() - expected) <= allowed:
        report.add(
            "samples",
            f"the mean of log p over {count} samples is the integral of p log p",
            f"got {log_probs.mean():.6g}, expected {expected:.6g}: |difference| = "
            f"{abs(log_probs.mean() - expected):.3g} > {allowed:.3g} = {STANDARD_ERRORS:g} "
            "standard errors + tolerance",
            hint=hint,
        )
    # Dvoretzky-Kiefer-Wolfowitz with Massart's constant, at the probability 2 exp(-k^2 / 2).
    allowed = STANDARD_ERRORS / (2 * np.sqrt(count)) + tolerance.integral
    for i in range(dim):
        empirical = np.searchsorted(np.sort(rows[:, i]), grid.edges[i], side="right") / count
        gaps = np.abs(empirical - grid.cdf(i))
        worst = int(np.argmax(gaps))
        if not gaps[worst] <= allowed:
            report.add(
                "samples",
                f"the distribution function of coordinate {i} of {count} samples is that of p",
                f"at x_{i} = {grid.edges[i][worst]:.6g}: {empirical[worst]:.4g} of the samples "
                f"are below, expected {grid.cdf(i)[worst]:.4g}",
                f"|difference| = {gaps[worst]:.3g} > {allowed:.3g}",
                hint=hint,
            )


def check_score(report: Report, subject: Subject, samples: jax.Array) -> None:
    """E[d log p / dx_i] = 0 and E[(x_i - c_i) d log p / dx_i] = -1 under the samples."""
    advice = "smooth=False switches this law off for densities with jumps or edges"
    with report.guard("score", "gradient of log_prob at the samples", hint=advice):
        gradient = subject.score(samples)
        if not np.all(np.isfinite(as_float(gradient))):
            what = "the gradient of log_prob is finite at the samples"
            report.finite("score", what, gradient, batch_ndims=1, at=samples, hint=advice)
            return
        rows, score = (as_float(a).reshape(len(samples), -1) for a in (samples, gradient))
        # Any constant c is right; the median keeps the spread small and exists for heavy tails.
        centred = (rows - np.median(rows, axis=0)) * score
        for what, values, expected, hint in (
            ("E[d log p / dx_i] = 0", score, 0.0, "samples are shifted against the density"),
            ("E[(x_i - c_i) d log p / dx_i] = -1", centred, -1.0, _SCALE_HINT),
        ):
            _check_mean(report, subject, what, values, expected, f"{hint}; {advice}")


def _check_mean(
    report: Report, subject: Subject, what: str, values: np.ndarray, expected: float, hint: str
) -> None:
    mean, error = values.mean(axis=0), values.std(axis=0) / np.sqrt(len(values))
    # Where all values agree there is no spread, only rounding.
    allowed = STANDARD_ERRORS * error + 1e-3 * np.abs(values).mean(axis=0)
    excess = np.abs(mean - expected) / np.maximum(allowed, np.finfo(float).tiny)
    worst = int(np.argmax(excess))
    if excess[worst] > 1:
        at = tuple(int(i) for i in np.unravel_index(worst, subject.event))
        report.add(
            "score",
            f"{what} over {len(values)} samples",
            f"worst at element {at} ({np.count_nonzero(excess > 1)} of {excess.size} differ): got "
            f"{mean[worst]:.6g}, expected {expected:g}",
            f"|difference| = {abs(mean[worst] - expected):.3g} > {allowed[worst]:.3g}, about "
            f"{STANDARD_ERRORS:g} standard errors",
            hint=hint,
        )
