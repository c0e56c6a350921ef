"""Several ways to compute one result, in one compilation."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from dgmjax.testing._report import JIT_HINT, Report

BATCH_HINT = "an axis is counted from the front, or a statistic is taken over the batch"


@dataclasses.dataclass(frozen=True)
class Version:
    """A way to compute what the eager call computes, and the law that they agree."""

    law: str
    what: str
    function: Callable[..., Any]
    hint: str


def evaluate(
    report: Report, label: str, variants: Sequence[Version], *args: Any
) -> Iterator[tuple[Version, Any]]:
    """Yields each variant with its result; those that raise are reported and left out.

    One compilation for all, since a small program costs XLA little more than an empty one.
    """

    def compute(*args: Any) -> dict[str, Any]:
        results = {}
        for variant in variants:
            # Errors are raised while tracing, so each is caught by the variant it belongs to.
            with report.guard(variant.law, f"{label}: {variant.what}", hint=variant.hint):
                results[variant.what] = variant.function(*args)
        return results

    results: dict[str, Any] = {}
    with report.guard("jit", f"{label}: compilation", hint=JIT_HINT):
        results = jax.jit(compute)(*args)
    for variant in variants:
        if variant.what in results:
            yield variant, results[variant.what]
