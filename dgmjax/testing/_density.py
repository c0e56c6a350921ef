"""The laws of a distribution."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dgmjax.testing import _calls, _goodness_of_fit
from dgmjax.testing._report import Report, is_floating
from dgmjax.testing._subject import Subject
from dgmjax.testing._tolerance import Tolerance


def check_density(
    distribution: Any,
    *,
    seed: jax.Array,
    context: Any = None,
    num_samples: int = 4096,
    limits: tuple[ArrayLike, ArrayLike] | None = None,
    support: ArrayLike | None = None,
    smooth: bool = True,
    tolerance: Tolerance | None = None,
) -> None:
    """Checks that a distribution keeps its contract, and that its samples follow its density.

    With p(x) = exp(log_prob(x)), each law under the name that a violation reports:

    - ``sample shape``: samples are ``[*sample_shape, *event_shape]``.
    - ``log_prob shape``: log-probs of x ``[*batch, *event_shape]`` are ``[*batch]``.
    - ``dtype``: one dtype for all samples; log-probs floating, of that dtype if samples are
      floating (or float32, if they are 16-bit floats).
    - ``finite``: log-probs of samples are.
    - ``seed``: equal seeds give equal samples, other seeds others, and the draws of one call
      differ.
    - ``sample_and_log_prob``: its log-probs are ``log_prob`` of its samples.
    - ``jit``: ``jax.jit``, with the arrays of the distribution traced, changes nothing.
    - ``batching``: the batched ``log_prob``, ``jax.vmap``, and a call on a single event agree.
    - ``integral``: the integral of p over ``limits`` is 1, for floating samples with event size 1
      or 2 (midpoint rule on 2^14 or 512 x 512 cells); with ``support``, the sum of p over it is 1.
    - ``samples``: for event size 1 or 2, the mean of log p over samples is the integral of p log p,
      and the distribution function of each coordinate is that of p; with ``support``, the frequency
      of each value is its probability.
    - ``score``: E[d log p / dx_i] = 0 and E[(x_i - c_i) d log p / dx_i] = -1 for every coordinate,
      in any dimension, for floating samples without ``support``. Both follow by partial integration
      for densities that are smooth and, times x, vanish at the boundary.

    Statistical laws allow 5 standard errors (for distribution functions and frequencies, the
    deviation of the same probability by the Dvoretzky-Kiefer-Wolfowitz and Bernstein inequalities),
    so that a right distribution fails each about once in a million seeds.

    Args:
        distribution: object with ``log_prob(x)``, ``sample(seed=, sample_shape=)``,
            ``sample_and_log_prob(seed=, sample_shape=)`` and ``event_shape``, as in distrax. A
            non-empty ``batch_shape`` is refused: index it or wrap it in ``distrax.Independent``.
        seed: PRNG key from ``jax.random.key``.
        context: conditioning input of one distribution, without batch axes. If given, it is passed
            as ``log_prob(x, context)`` and ``sample(..., context=context)``.
        num_samples: number of samples, at least 100, of the statistical laws.
        limits: (low, high) of the box to integrate over, each a scalar or of shape ``[*event]``.
            Default: the range of the samples, with as much added at both ends. Needed where
            ``log_prob`` is NaN outside a bounded support, and for heavy tails.
        support: all values a discrete distribution can take, ``[count, *event]``, any event size.
        smooth: whether the ``score`` law applies. Switch it off for densities with jumps or edges
            (uniform, exponential) and piecewise constant ones.
        tolerance: default ``Tolerance.for_dtype`` of the samples (of the log-probs, if the samples
            are integers). ``integral`` is for sums and integrals, ``log_det`` for log-probs,
            ``round_trip`` for samples.

    Raises:
        LawViolation: if a law breaks, with the law, the place, the size and the likely cause.
        ValueError: if the distribution has a batch shape or no event shape, or if limits, support
            and num_samples do not fit.

    Example:
        >>> import distrax, jax, dgmjax as dgm
        >>> dgm.testing.check_density(distrax.Gamma(3.0, 2.0), seed=jax.random.key(0), limits=(0.0, 15.0))
    """
    subject = Subject(distribution, context)
    _validate(subject, num_samples, limits, support)
    report = Report(f"{type(distribution).__name__} (event {subject.event})")

    _calls.check_shapes(report, subject, seed)
    report.raise_if_broken()

    samples = jnp.asarray(subject.sample(seed, (num_samples,)))
    log_probs = jnp.asarray(subject.log_prob(samples))
    floating = is_floating(samples)
    if tolerance is None:
        tolerance = Tolerance.for_dtype(samples.dtype if floating else log_probs.dtype)
    what = f"log_prob of {num_samples} samples"
    report.finite("finite", what, log_probs, batch_ndims=1, at=samples)
    report.raise_if_broken()

    _calls.check_seeds(report, subject, seed, samples, tolerance)
    report.raise_if_broken()
    _calls.check_transforms(report, subject, seed, samples, log_probs, tolerance)
    if support is not None:
        values = jnp.asarray(support, samples.dtype).reshape(-1, *subject.event)
        _goodness_of_fit.check_support(report, subject, values, samples, tolerance)
    elif floating:
        if subject.size in (1, 2):
            _goodness_of_fit.check_grid(report, subject, limits, samples, log_probs, tolerance)
        if smooth:
            _goodness_of_fit.check_score(report, subject, samples)
    report.raise_if_broken()


def _validate(subject: Subject, num_samples: int, limits: Any, support: Any) -> None:
    if subject.batch:
        raise ValueError(
            f"check_density: {type(subject.distribution).__name__} has batch_shape "
            f"{subject.batch}, expected (); index it, or wrap it in distrax.Independent."
        )
    if num_samples < 100:
        raise ValueError(f"check_density: num_samples must be at least 100, got {num_samples}.")
    if limits is not None and support is not None:
        raise ValueError("check_density: limits (for densities) excludes support (for sums).")
    if limits is not None and subject.size not in (1, 2):
        raise ValueError(
            f"check_density: limits are for event size 1 or 2, got event {subject.event}; leave "
            "them out, and the score law checks the samples."
        )
    flat = subject.size == 1 and np.ndim(support) == 1
    if support is not None and not flat and np.shape(support)[1:] != subject.event:
        raise ValueError(
            f"check_density: support must be [count, *event] with event {subject.event}, got "
            f"{np.shape(support)}."
        )
