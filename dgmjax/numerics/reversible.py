"""A scan over invertible steps whose backward pass rebuilds its inputs instead of storing them."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.numerics.loop_dtype import steady
from dgmjax.numerics.reverse_only import reverse_only
from dgmjax.numerics.sharding import varying

Apply = Callable[[Any, Any, Any], tuple[Any, ...]]
Invert = Callable[[Any, Any, Any], Any]


class _Rules(NamedTuple):
    """What is static, hashable by identity."""

    apply: tuple[Apply, ...]
    invert: tuple[Invert, ...]
    reverse: bool

    def run(self, step: Any, x: Any, shared: Any) -> tuple[Any, Any, list[Any]]:
        """All parts of a step, and the auxiliary output of each that has one."""
        parts, aux = [], []
        for apply in self.apply:
            x, a, *more = apply(step, x, shared)
            parts.append(a)
            aux.extend(more)
        return x, jax.tree.map(lambda *terms: functools.reduce(jnp.add, terms), *parts), aux


def reversible_scan(
    apply: Apply | Sequence[Apply],
    invert: Invert | Sequence[Invert],
    steps: Any,
    x: Any,
    shared: Any = None,
    *,
    reverse: bool = False,
    anchor_every: int | None = None,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """``x_{k+1}, a_k = apply(steps_k, x_k, shared)``: the last ``x`` and ``sum_k a_k``, with memory free of the depth.

    The backward pass starts from the last output, rebuilds ``x_k = invert(steps_k, x_{k+1}, shared)`` step by step
    and differentiates one step at a time, so no activation is stored. It costs one more evaluation of every step, and
    its gradients are those of plain differentiation up to the rounding of the inverses. Reverse mode only; forward
    mode is refused by name.

    Args:
      apply: ``(step, x, shared) -> (x, a)``; ``x`` and ``a`` are pytrees of arrays. Define it once: it is compared by
        identity. Or the parts of a step, in the order in which they run, whose ``a`` add up: the backward pass then
        goes back part by part. What the inverse and the gradient of a part both compute from numbers that it leaves
        as they are, such as the network of a coupling, the compiler computes once; of a whole step it could not.
      invert: ``(step, x, shared) -> x``, the inverse of ``apply`` in ``x``; or of each part, in the order of ``apply``.
      steps: pytree whose leaves have the axis of the steps first.
      x: pytree, the input of the first step.
      shared: pytree given to every step (a context, a key). Gradients reach its floating-point leaves.
      reverse: run the steps from last to first.
      anchor_every: store the exact ``x`` after every so many steps and rebuild from there, so that rounding adds up
        over that many steps only; memory for ``K / anchor_every`` activations. Divides the number of steps.
      has_aux: ``apply`` returns ``(x, a, aux)``; ``aux`` is a pytree that carries no gradient, such as running
        statistics. Only the forward pass makes it: the backward pass, which runs every step again, does not.

    Returns:
      ``(x_K, sum_k a_k)``; with ``has_aux`` also the ``aux_k`` stacked along a first axis, of a step given in parts a
      list with that of every part.

    Raises:
      ValueError: ``anchor_every`` does not divide the number of steps.

    Source: Gomez et al., 2017, *The reversible residual network*, arXiv:1707.04585, algorithm 1.
    """
    applies, inverts = ((rule,) if callable(rule) else tuple(rule) for rule in (apply, invert))
    rules = _Rules(applies, inverts, reverse)
    num_steps = len(jax.tree.leaves(steps)[0])
    if anchor_every is not None and (anchor_every < 1 or num_steps % anchor_every):
        raise ValueError(
            f"reversible_scan: anchor_every must divide the number of steps, {num_steps}, got {anchor_every}."
        )
    steps, x, shared = _ready(rules, *varying((steps, x, shared)))
    if anchor_every is None or anchor_every == num_steps:
        x, total, aux = _scan(rules, steps, x, shared)
    else:
        x, total, aux = _segments(rules, steps, x, shared, anchor_every)
    if not has_aux:
        return x, total
    return x, total, aux[0] if callable(apply) else aux


def _segments(
    rules: _Rules, steps: Any, x: Any, shared: Any, anchor_every: int
) -> tuple[Any, Any, list[Any]]:
    """A scan whose body is a reversible scan: what its gradient stores of each turn is the last x of that turn."""

    def segment(x: Any, steps: Any) -> tuple[Any, Any]:
        x, total, aux = _scan(rules, steps, x, shared)
        return x, (total, aux)

    segments = jax.tree.map(lambda leaf: leaf.reshape(-1, anchor_every, *leaf.shape[1:]), steps)
    x, (totals, aux) = jax.lax.scan(segment, x, segments, reverse=rules.reverse)
    aux = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), aux)
    return x, jax.tree.map(lambda total: total.sum(0), totals), aux


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(rules: _Rules, steps: Any, x: Any, shared: Any) -> tuple[Any, Any, list[Any]]:
    def body(carry: Any, step: Any) -> tuple[Any, list[Any]]:
        x, total = carry
        x, a, aux = rules.run(step, x, shared)
        return (x, jax.tree.map(jnp.add, total, a)), aux

    _, shapes = _outputs(rules, steps, x, shared)
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    start = x, varying(zero, steps, x, shared)
    (x, total), aux = jax.lax.scan(body, start, steps, reverse=rules.reverse)
    return x, total, aux


def _forward(rules: _Rules, steps: Any, x: Any, shared: Any) -> tuple[Any, Any]:
    result = _scan(rules, steps, x, shared)
    return result, (steps, result[0], shared)


def _backward(rules: _Rules, residuals: Any, cotangents: Any) -> tuple[Any, Any, Any]:
    steps, last, shared = residuals
    last_bar, a_bar, _ = cotangents
    floating, fixed, merge_step = _split(steps)
    shared_floating, shared_fixed, merge_shared = _split(shared)

    def body(carry: Any, step: Any) -> tuple[Any, Any]:
        x, x_bar, shared_bar = carry
        floating, fixed = step
        step_bar = [jnp.zeros_like(leaf) for leaf in floating]
        for apply, invert in reversed(list(zip(rules.apply, rules.invert, strict=True))):
            x = invert(merge_step(floating, fixed), x, shared)

            def part(floating: Any, x: Any, shared_floating: Any, apply: Apply = apply) -> Any:
                step = merge_step(floating, fixed)
                x, a = apply(step, x, merge_shared(shared_floating, shared_fixed))[:2]
                # The a of a part, e.g. of parameters alone, may be of another type than the sum of all.
                a = jax.tree.map(lambda a, bar: a.astype(bar.dtype), a, a_bar)
                return varying((x, a), last_bar, a_bar)

            _, pull = jax.vjp(part, floating, x, shared_floating)
            more_step, x_bar, more_shared = pull((x_bar, a_bar))
            step_bar = _added(step_bar, more_step)
            shared_bar = _added(shared_bar, more_shared)
        return (x, x_bar, shared_bar), step_bar

    start = (last, last_bar, [jnp.zeros_like(leaf) for leaf in shared_floating])
    start = varying(start, steps, a_bar)
    (_, x_bar, shared_bar), steps_bar = jax.lax.scan(
        body, start, (floating, fixed), reverse=not rules.reverse
    )
    return (
        merge_step(steps_bar, _no_gradient(fixed)),
        x_bar,
        merge_shared(shared_bar, _no_gradient(shared_fixed)),
    )


_scan.defvjp(_forward, _backward)


def _outputs(rules: _Rules, steps: Any, x: Any, shared: Any) -> Any:
    """Shapes and dtypes of what the first step makes of ``x``, and of its ``a``."""
    first = jax.tree.map(lambda leaf: leaf[0], steps)
    return jax.eval_shape(lambda: rules.run(first, x, shared)[:2])


def _ready(rules: _Rules, steps: Any, x: Any, shared: Any) -> tuple[Any, Any, Any]:
    """The arguments with ``x`` in the dtype that a step leaves it in, and refusing forward mode."""
    x = steady(lambda x: _outputs(rules, steps, x, shared)[0], x, steps, shared)
    floating, fixed, merge = _split((steps, x, shared))
    return merge(reverse_only(floating), fixed)


def _added(a: list[Any], b: list[Any]) -> list[Any]:
    return [x + y for x, y in zip(a, b, strict=True)]


def _split(tree: Any) -> tuple[list[Any], list[Any], Callable[[Any, Any], Any]]:
    """Floating-point leaves, the others, and the way back."""
    leaves, structure = jax.tree.flatten(tree)
    is_floating = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]

    def merge(floating: Any, fixed: Any) -> Any:
        sources = {True: iter(floating), False: iter(fixed)}
        return jax.tree.unflatten(structure, [next(sources[kind]) for kind in is_floating])

    floating = [leaf for leaf, kind in zip(leaves, is_floating, strict=True) if kind]
    return (
        floating,
        [leaf for leaf, kind in zip(leaves, is_floating, strict=True) if not kind],
        merge,
    )


def _no_gradient(leaves: list[Any]) -> list[np.ndarray]:
    """What JAX takes as the gradient of integers and keys."""
    return [np.zeros(leaf.shape, jax.dtypes.float0) for leaf in leaves]
