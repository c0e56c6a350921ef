"""Where the first NaN or inf of a computation is born: its jaxpr, evaluated equation by equation."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.extend.core import primitives

from dgmjax.numerics.compiled import inlined
from dgmjax.training.watch.program_path import ProgramPath, in_gradient, layer_of, source_of

_JITS = (primitives.jit_p, primitives.remat_p)
_CUSTOM = (primitives.custom_jvp_call_p, primitives.custom_vjp_call_p)
_CALLS = (primitives.call_p, primitives.closed_call_p, *_CUSTOM)


class NonFinite(NamedTuple):
    """The first operation that turned finite numbers into NaN or inf; ``str`` of it is a sentence.

    Attributes:
      layer: path of `jax.named_scope` names, e.g. ``"Chain.inverse > layers[0] > Stack.inverse[2]"``;
        ``[2]`` is the index of the step of a scan or a loop; empty outside of scopes.
      primitive: of JAX, e.g. ``"exp"``; ``"input"`` or ``"constant"`` for numbers that came in like that.
      source: ``"directory/file.py:line (function)"``, innermost frame outside of JAX and Flax; for an input its path.
      direction: ``"forward"`` if the values of the function suffer, ``"backward"`` if only derivatives do.
      kind: ``"NaN"`` or ``"inf"`` (of either sign).
    """

    layer: str
    primitive: str
    source: str
    direction: str
    kind: str

    def __str__(self) -> str:
        if self.primitive == "input":
            return f"The input {self.source} holds {self.kind}."
        if self.primitive == "constant":
            return f"A constant of the function holds {self.kind}: {self.source}."
        where = f" in {self.layer}" if self.layer else ""
        at = f", at {self.source}" if self.source else ""
        return (
            f"The first {self.kind} comes from {self.primitive}{where}, {self.direction} pass{at}."
        )


def find_nonfinite(function: Callable[..., Any], *args: Any) -> NonFinite | None:
    """The origin of NaN or inf in ``function(*args)``, or None if all floating-point outputs are finite.

    An operation gives birth if its output is not finite although its inputs are, or holds NaN although they hold inf
    at most; births are passed on to every non-finite output that depends on them. The answer is the first birth that
    reaches an output, before those the earliest that reaches one without a gradient in between. Infinities of
    constants (masks, initial values) are innocent as such: they count only if nothing else explains the output.

    Operations run one by one, and the bodies of loops step by step where their result is not finite, which takes
    seconds, mostly compilation. Dependence is known by arrays, not by elements. What is fused in a compiled function
    may round otherwise than here.

    Args:
      function: pure, e.g. ``lambda params, batch: jax.value_and_grad(loss)(params, batch)``.
      *args: pytrees of arrays, all on this process. Only these are named; what ``function`` closes over is a constant.
    """
    # A caller's debug_nans would raise at the first NaN, innocent or not; kept programs lose lines of reversible steps.
    with jax.debug_nans(False), jax.debug_infs(False), inlined():  # noqa: FBT003
        closed = jax.make_jaxpr(function)(*args)
        search = _Search()
        inputs = [
            search.given(leaf, "input", f"args{jax.tree_util.keystr(path)}", strict=True)
            for path, leaf in jax.tree.leaves_with_path(args)
        ]
        outputs = [value for value in search.run(closed, inputs, ()) if value.kind]
    if not outputs:
        return None
    found = min(outputs, key=lambda value: (_order(value)[0], value.backward, _order(value)))
    if found.birth is None:
        return NonFinite("", "constant", "it is returned as it is", "forward", found.kind)
    direction = "backward" if found.backward else "forward"
    return NonFinite(*found.birth.place, direction, found.birth.kind)


class _Birth(NamedTuple):
    """``excuse``: 1 if constants may explain it, else 0; ``order``: a counter; ``place``: layer, primitive, source."""

    excuse: int
    order: int
    place: tuple[str, str, str]
    kind: str


class _Value(NamedTuple):
    """An array, what is wrong with it, the birth that explains it (None: a constant), and whether a gradient did it."""

    array: Any
    kind: str = ""
    birth: _Birth | None = None
    backward: bool = False


def _order(value: _Value) -> tuple[int, int]:
    return (2, 0) if value.birth is None else value.birth[:2]


def _kind(array: Any) -> str:
    dtype = getattr(array, "dtype", np.result_type(type(array)))
    if not jnp.issubdtype(dtype, jnp.inexact):
        return ""
    host = np.asarray(array)
    return "" if np.isfinite(host).all() else "NaN" if np.isnan(host).any() else "inf"


class _Search:
    """An evaluation of jaxprs that keeps track of births."""

    def __init__(self) -> None:
        self.counter = itertools.count()

    def given(self, array: Any, primitive: str, source: str, *, strict: bool) -> _Value:
        """A value from outside; unless ``strict``, inf is innocent."""
        kind = _kind(array)
        if not kind or (kind == "inf" and not strict):
            return _Value(array, kind)
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(np.asarray(array)))[0])
        source += f", first at index {first}" if first else ""
        return _Value(array, kind, _Birth(0, next(self.counter), ("", primitive, source), kind))

    def run(self, jaxpr: Any, inputs: Sequence[_Value], path: ProgramPath) -> list[_Value]:
        """The outputs of a closed or open jaxpr."""
        jaxpr, consts = getattr(jaxpr, "jaxpr", jaxpr), getattr(jaxpr, "consts", ())
        env: dict[Any, _Value] = {}
        for var, const in zip(jaxpr.constvars, consts, strict=True):
            env[var] = self.given(const, "constant", f"{var.aval}", strict=False)
        env |= zip(jaxpr.invars, inputs, strict=True)

        def read(atom: Any) -> _Value:
            is_literal = isinstance(atom, core.Literal)
            return _Value(atom.val, _kind(atom.val)) if is_literal else env[atom]

        uses = [*(eqn.invars for eqn in jaxpr.eqns), jaxpr.outvars]
        last_use = {id(atom): index for index, atoms in enumerate(uses) for atom in atoms}
        for index, eqn in enumerate(jaxpr.eqns):
            outputs = self._evaluate(eqn, [read(atom) for atom in eqn.invars], path)
            env |= zip(eqn.outvars, outputs, strict=True)
            # A model that fits into memory in training must fit here.
            for var in (*eqn.invars, *eqn.outvars):
                if isinstance(var, core.Var) and last_use.get(id(var), index) == index:
                    env.pop(var, None)
        return [read(atom) for atom in jaxpr.outvars]

    def _evaluate(self, eqn: Any, inputs: list[_Value], path: ProgramPath) -> list[_Value]:
        arrays = _bind(eqn, [value.array for value in inputs])
        kinds = [_kind(array) for array in arrays]
        if not any(kinds):
            return [_Value(array) for array in arrays]
        path = (*path, eqn)
        inner = self._inside(eqn, inputs, path)
        return [
            _Value(array, kind, *self._explain(inputs, path, kind, within))
            for array, kind, within in zip(arrays, kinds, inner, strict=True)
        ]

    def _explain(
        self, inputs: list[_Value], path: ProgramPath, kind: str, within: _Value
    ) -> tuple[_Birth | None, bool]:
        if within.kind or not kind:
            return within.birth, within.backward
        backward = in_gradient(path)
        bad = [value for value in inputs if value.kind]
        cause = min(bad, key=_order, default=None)
        fresh = not bad or (kind == "NaN" and all(value.kind != "NaN" for value in bad))
        if cause is not None and cause.birth is not None and not (fresh and cause.birth.excuse):
            return cause.birth, backward or cause.backward
        place = layer_of(path), path[-1].primitive.name, source_of(path)
        return _Birth(0 if fresh else 1, next(self.counter), place, kind), backward

    def _inside(self, eqn: Any, inputs: list[_Value], path: ProgramPath) -> list[_Value]:
        """The outputs of ``eqn`` by the equations inside; only their births count."""
        if eqn.primitive in _JITS:
            return self.run(eqn.params["jaxpr"], inputs, path)
        if eqn.primitive in _CALLS:
            return self.run(eqn.params["call_jaxpr"], inputs, path)
        if eqn.primitive is primitives.cond_p:
            branches = eqn.params["branches"]
            index = int(inputs[0].array)  # lax.switch has clamped it
            return self.run(branches[index], inputs[1:], path)
        if eqn.primitive is primitives.scan_p:
            return self._scan(eqn, inputs, path)
        if eqn.primitive is primitives.while_p:
            return self._while(eqn.params, inputs, path)
        return [_Value(None)] * len(eqn.outvars)

    def _scan(self, eqn: Any, inputs: list[_Value], path: ProgramPath) -> list[_Value]:
        body, length = eqn.params["jaxpr"], eqn.params["length"]
        # By ranks, which unlike the names of the parameters are the same in all versions of JAX.
        split = len(inputs) - _num_sliced(eqn.invars, body.in_avals)
        num_ys = _num_sliced(eqn.outvars, body.out_avals)
        num_carry, ys = len(eqn.outvars) - num_ys, [_Value(None)] * num_ys
        consts, carry = inputs[: split - num_carry], inputs[split - num_carry : split]
        steps = range(length)
        for k in reversed(steps) if eqn.params["reverse"] else steps:
            xs = [_part(x, x.array[k]) for x in inputs[split:]]
            outputs = self.run(body, [*consts, *carry, *xs], (*path, f"[{k}]"))
            carry = outputs[:num_carry]
            ys = [_worse(*pair) for pair in zip(ys, outputs[num_carry:], strict=True)]
        return [*carry, *ys]

    def _while(self, params: Any, inputs: list[_Value], path: ProgramPath) -> list[_Value]:
        k, split = 0, (params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"])
        test, consts, carry = inputs[: split[0]], inputs[split[0] : split[1]], inputs[split[1] :]
        while True:
            step = (*path, f"[{k}]")
            (go,) = self.run(params["cond_jaxpr"], [*test, *carry], step)
            # A vmapped loop has a flag for each example: those that are done keep their value.
            flags = np.asarray(go.array)
            if not flags.any():
                return carry
            new = self.run(params["body_jaxpr"], [*consts, *carry], step)
            carry = [_select(flags, *pair) for pair in zip(new, carry, strict=True)]
            k += 1


def _num_sliced(outer: Sequence[Any], inner: Sequence[Any]) -> int:
    pairs = zip(outer, inner, strict=True)
    return sum(len(var.aval.shape) != len(aval.shape) for var, aval in pairs)


def _select(flags: np.ndarray, new: _Value, old: _Value) -> _Value:
    if flags.all():
        return new
    shape = (*flags.shape, *(1,) * (new.array.ndim - flags.ndim))
    array = jnp.where(jnp.broadcast_to(flags.reshape(shape), new.array.shape), new.array, old.array)
    return _part(_worse(new, old), array)


def _worse(one: _Value, other: _Value) -> _Value:
    return min(one, other, key=lambda value: (not value.kind, _order(value)))


def _part(whole: _Value, array: Any) -> _Value:
    """``array``, some elements of ``whole``."""
    kind = _kind(array) if whole.kind else ""
    return whole._replace(array=array, kind=kind) if kind else _Value(array)


def _bind(eqn: Any, arrays: list[Any]) -> Sequence[Any]:
    params = dict(eqn.params)
    if "donated_invars" in params:  # the arrays belong to the caller
        params["donated_invars"] = (False,) * len(arrays)
    params = eqn.primitive.get_bind_params(params)
    with eqn.ctx.manager:
        result = eqn.primitive.bind(*arrays, **params)
    return result if eqn.primitive.multiple_results else [result]
