"""The laws of a distribution."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dgmjax.testing import _expectation, _hints
from dgmjax.testing._distribution import Subject
from dgmjax.testing._report import Report, is_floating
from dgmjax.testing._tolerance import Tolerance

_JIT_HINT = "the result depends on Python state, or on concrete values that tracing does not have"
_BATCH_HINT = "an axis is counted from the front, or a statistic is taken over the batch"
_SHAPES: tuple[tuple[int, ...], ...] = ((), (3,), (2, 3))


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

    - ``sample shape``: samples are [*sample_shape, *event_shape].
    - ``log_prob shape``: log-probs of x [*batch, *event_shape] are [*batch].
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
        limits: (low, high) of the box to integrate over, each a scalar or of shape [*event].
            Default: the range of the samples, with as much added at both ends. Needed where
            ``log_prob`` is NaN outside a bounded support, and for heavy tails.
        support: all values a discrete distribution can take, [count, *event], any event size.
        smooth: whether the ``score`` law applies. Switch it off for densities with jumps or edges
            (uniform, exponential) and piecewise constant ones.
        tolerance: default ``Tolerance.for_dtype`` of the samples (of the log-probs, if the samples
            are integers). ``integral`` is for sums and integrals, ``log_det`` for log-probs,
            ``round_trip`` for samples.

    Raises:
        LawViolation: if a law breaks, with the law, the place, the size and the likely cause.
        ValueError: if the distribution has a batch shape or no event shape, or if limits, support
            and num_samples do not fit.
    """
    subject = Subject(distribution, context)
    _validate(subject, num_samples, limits, support)
    report = Report(f"{type(distribution).__name__} (event {subject.event})")

    _check_shapes(report, subject, seed)
    report.raise_if_broken()

    samples = jnp.asarray(subject.sample(seed, (num_samples,)))
    log_probs = jnp.asarray(subject.log_prob(samples))
    floating = is_floating(samples)
    if tolerance is None:
        tolerance = Tolerance.for_dtype(samples.dtype if floating else log_probs.dtype)
    what = f"log_prob of {num_samples} samples"
    report.finite("finite", what, log_probs, batch_ndims=1, at=samples)
    report.raise_if_broken()

    _check_seeds(report, subject, seed, samples, tolerance)
    report.raise_if_broken()
    _check_transforms(report, subject, seed, samples, log_probs, tolerance)
    if support is not None:
        values = jnp.asarray(support, samples.dtype).reshape(-1, *subject.event)
        _expectation.check_support(report, subject, values, samples, tolerance)
    elif floating:
        if subject.size in (1, 2):
            _expectation.check_grid(report, subject, limits, samples, log_probs, tolerance)
        if smooth:
            _expectation.check_score(report, subject, samples)
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


def _check_shapes(report: Report, subject: Subject, seed: jax.Array) -> None:
    """Shapes and dtypes of all three methods, by tracing alone: nothing is computed."""
    dtypes = set()
    for shape in _SHAPES:
        expected = (*shape, *subject.event)
        call = f"(sample_shape={shape})"
        with report.guard("sample shape", f"sample{call}"):
            samples = _trace(lambda s, n=shape: jnp.asarray(subject.sample(s, n)), seed)
            dtypes.add(samples.dtype)
            what = f"sample{call} is [*sample_shape, *event]"
            if report.shape("sample shape", what, samples.shape, expected):
                with report.guard("log_prob shape", f"log_prob of x {expected}"):
                    log_prob = _trace(lambda s, n=shape: subject.sampled_log_prob(s, n), seed)
                    _check_log_prob(report, subject, "log_prob", samples.dtype, log_prob, shape)
        with report.guard("sample shape", f"sample_and_log_prob{call}"):
            pair = _trace(lambda s, n=shape: subject.sample_and_log_prob(s, n), seed)
            dtypes.add(pair[0].dtype)
            what = f"sample_and_log_prob{call} draws [*sample_shape, *event]"
            if report.shape("sample shape", what, pair[0].shape, expected):
                name = "sample_and_log_prob"
                _check_log_prob(report, subject, name, pair[0].dtype, pair[1], shape)
    if len(dtypes) > 1:
        report.add("dtype", "all samples have one dtype", f"got {sorted(map(str, dtypes))}")


def _trace(function: Any, seed: jax.Array) -> Any:
    try:
        return jax.eval_shape(function, seed)
    except Exception:  # what cannot be traced is for the law on jit; here only shapes count
        return function(seed)


def _check_log_prob(
    report: Report,
    subject: Subject,
    name: str,
    dtype: Any,
    log_prob: jax.Array,
    batch: tuple[int, ...],
) -> None:
    hint = _hints.log_det_shape(log_prob.shape, batch, subject.event, "log-prob")
    what = f"{name} of batch {batch} is [*batch]"
    if not report.shape("log_prob shape", what, log_prob.shape, batch, hint):
        return
    if not jnp.issubdtype(dtype, jnp.floating):
        right, expected = is_floating(log_prob), "a floating dtype"
    elif dtype.itemsize == 2:  # 16-bit sums lose too much, so wider log-probs are right there
        right, expected = log_prob.dtype in (dtype, jnp.float32), f"{dtype} or float32"
    else:
        right, expected = log_prob.dtype == dtype, str(dtype)
    if not right:
        hint = "an array or parameter of fixed dtype, or a cast, decides it"
        report.add("dtype", what, f"got {log_prob.dtype}, expected {expected}", hint=hint)


def _check_seeds(
    report: Report, subject: Subject, seed: jax.Array, samples: jax.Array, tolerance: Tolerance
) -> None:
    shape = samples.shape[:1]
    report.close(
        "seed",
        "equal seeds give equal samples",
        subject.sample(seed, shape),
        samples,
        tolerance.round_trip,
        batch_ndims=1,
        hint="the sampler changes its own state, or draws randomness that is not an argument",
    )
    rows = np.asarray(samples).reshape(len(samples), -1)
    other = np.asarray(subject.sample(jax.random.fold_in(seed, 1), shape)).reshape(rows.shape)
    if np.array_equal(rows, other):
        report.add(
            "seed",
            "other seeds give other samples",
            f"{len(rows)} samples are equal under two seeds",
            hint="the sampler ignores its seed",
        )
    if len(rows) > 1 and np.all(rows == rows[0]):
        report.add(
            "seed",
            "the draws of one call differ",
            f"all {len(rows)} samples are {rows[0]}",
            hint="one draw is broadcast to sample_shape",
        )


def _check_transforms(
    report: Report,
    subject: Subject,
    seed: jax.Array,
    samples: jax.Array,
    log_probs: jax.Array,
    tolerance: Tolerance,
) -> None:
    count = len(samples)
    what = "sample: jax.jit = eager"
    with report.guard("jit", what, hint=_JIT_HINT):
        drawn = subject.jit_sample(seed, (count,))
        report.close(
            "jit", what, drawn, samples, tolerance.round_trip, batch_ndims=1, hint=_JIT_HINT
        )

    half = count // 2
    few = min(3, count)
    call = subject.pure_log_prob
    variants: list[tuple[str, str, Any, int, str]] = [
        ("jit", "jax.jit = eager", call, count, _JIT_HINT),
        ("batching", "jax.vmap = batched", _mapped(call), count, _BATCH_HINT),
        ("batching", "two batch axes = one", _folded(call, half), 2 * half, _BATCH_HINT),
        ("batching", "single events = batched", _looped(call, few), few, _BATCH_HINT),
    ]

    def compute(arrays: dict[str, Any], x: jax.Array) -> dict[str, Any]:
        results = {}
        for law, what, function, _, hint in variants:
            # Errors are raised while tracing, so each is caught by the variant it belongs to.
            with report.guard(law, f"log_prob: {what}", hint=hint):
                results[what] = function(arrays, x)
        return results

    with report.guard("jit", "log_prob: compilation", hint=_JIT_HINT):
        results = jax.jit(compute)(subject.arrays, samples)
        for law, what, _, n, hint in variants:
            if what in results:
                report.close(
                    law,
                    f"log_prob: {what}",
                    results[what],
                    log_probs[:n],
                    tolerance.log_det,
                    batch_ndims=1,
                    hint=hint,
                )

    drawn, paired = subject.sample_and_log_prob(seed, (count,))
    report.close(
        "sample_and_log_prob",
        "log-prob of sample_and_log_prob = log_prob(sample)",
        paired,
        subject.log_prob(drawn),
        tolerance.log_det,
        batch_ndims=1,
        hint="a term is computed in only one of the two, e.g. a log-det with the opposite sign",
    )


def _mapped(log_prob: Any) -> Any:
    return jax.vmap(log_prob, in_axes=(None, 0))


def _folded(log_prob: Any, half: int) -> Any:
    def folded(arrays: dict[str, Any], x: jax.Array) -> jax.Array:
        result = log_prob(arrays, x[: 2 * half].reshape(2, half, *x.shape[1:]))
        return result.reshape(2 * half, *result.shape[2:])

    return folded


def _looped(log_prob: Any, count: int) -> Any:
    return lambda arrays, x: jnp.stack([log_prob(arrays, x[i]) for i in range(count)])
