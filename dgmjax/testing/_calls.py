"""The laws that concern the calls of a distribution: shapes, seeds and transformations."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.testing import _hints
from dgmjax.testing._report import JIT_HINT, Report, is_floating
from dgmjax.testing._subject import Subject
from dgmjax.testing._tolerance import Tolerance
from dgmjax.testing._variants import BATCH_HINT, Version, evaluate

_SHAPES: tuple[tuple[int, ...], ...] = ((), (3,), (2, 3))


def check_shapes(report: Report, subject: Subject, seed: jax.Array) -> None:
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


def check_seeds(
    report: Report, subject: Subject, seed: jax.Array, samples: jax.Array, tolerance: Tolerance
) -> None:
    """Samples depend on the seed, on nothing else, and differ within one call."""
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


def check_transforms(
    report: Report,
    subject: Subject,
    seed: jax.Array,
    samples: jax.Array,
    log_probs: jax.Array,
    tolerance: Tolerance,
) -> None:
    """The laws ``jit``, ``batching`` and ``sample_and_log_prob``, at ``samples`` of ``seed``."""
    count = len(samples)
    what = "sample: jax.jit = eager"
    with report.guard("jit", what, hint=JIT_HINT):
        drawn = subject.jit_sample(seed, (count,))
        report.close(
            "jit", what, drawn, samples, tolerance.round_trip, batch_ndims=1, hint=JIT_HINT
        )

    half, few = count // 2, min(3, count)
    call = subject.pure_log_prob
    variants = {
        Version("jit", "jax.jit = eager", call, JIT_HINT): count,
        Version("batching", "jax.vmap = batched", _mapped(call), BATCH_HINT): count,
        Version("batching", "two batch axes = one", _folded(call, half), BATCH_HINT): 2 * half,
        Version("batching", "single events = batched", _looped(call, few), BATCH_HINT): few,
    }
    for variant, result in evaluate(report, "log_prob", [*variants], subject.arrays, samples):
        report.close(
            variant.law,
            f"log_prob: {variant.what}",
            result,
            log_probs[: variants[variant]],
            tolerance.log_det,
            batch_ndims=1,
            hint=variant.hint,
        )

    drawn, paired = subject.sample_and_log_prob(seed, (count,))
    report.close(
        "sample_and_log_prob",
        "log-prob of sample_and_log_prob = log_prob(sample)",
        paired,
        subject.log_prob(drawn),
        tolerance.log_det,
        batch_ndims=1,
        hint=_hints.sampled_log_prob,
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
