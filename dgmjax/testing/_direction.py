"""One direction of a bijector, and the laws that concern it alone."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dgmjax.testing import _hints
from dgmjax.testing._pytree import split_arrays, split_floating
from dgmjax.testing._report import JIT_HINT, Report, as_float
from dgmjax.testing._setup import Setup
from dgmjax.testing._variants import BATCH_HINT, Version, evaluate

# These programs run a few times: compiling them well takes longer than running them.
_QUICK = {"xla_backend_optimization_level": 0}
MAX_PROBES = 8  # events whose Jacobian is taken and which run one by one
_GRADIENT_HINT = (
    "jnp.where differentiates the branch it does not take as well: make the argument of log, sqrt "
    "or division safe before the jnp.where (the double-where trick)"
)


class Direction:
    """A direction at one batch of inputs; construction checks shape, dtype and finiteness."""

    def __init__(
        self,
        report: Report,
        setup: Setup,
        name: str,
        symbol: str,
        value: jax.Array,
        shape_in: tuple[int, ...],
        shape_out: tuple[int, ...],
    ) -> None:
        self.setup, self.name, self.symbol, self.value = setup, name, symbol, value
        self.shape_in, self.shape_out = shape_in, shape_out
        # Taken before the first call, which might change the state of the object.
        self.arrays, self._merge = split_arrays(setup.bijector)
        passes = f"{name}({symbol}) passes the assertions of the layer"
        with report.guard("shape", passes, errors=AssertionError):
            self.out, self.log_det = self(value, setup.context)
        report.raise_if_broken()
        self._check_output(report)
        report.raise_if_broken()

    def __call__(self, value: jax.Array, context: Any) -> tuple[jax.Array, jax.Array]:
        return self._call(self.setup.bijector, value, context)

    def pure(
        self, arrays: dict[str, Any], value: jax.Array, context: Any
    ) -> tuple[jax.Array, jax.Array]:
        """The direction as a function of the arrays of the bijector."""
        return self._call(self._merge(arrays), value, context)

    def _call(self, bijector: Any, value: jax.Array, context: Any) -> tuple[jax.Array, jax.Array]:
        method: Callable[..., Any] = getattr(bijector, f"{self.name}_and_log_det")
        side = () if context is None else (context,)
        options = {} if self.setup.key is None else {"key": self.setup.key}
        out, log_det = method(value, *side, **options)
        return jnp.asarray(out), jnp.asarray(log_det)

    def _check_output(self, report: Report) -> None:
        batch, batch_ndims, label = self.setup.batch, len(self.setup.batch), self.name
        out, log_det = self.out, self.log_det
        report.shape(
            "shape",
            f"{label}({self.symbol}) is [*batch, *event] of the other side",
            out.shape,
            batch + self.shape_out,
            "latent_shape of the layer declares a latent event of another shape",
        )
        report.shape(
            "shape",
            f"{label} log-det is [*batch]",
            log_det.shape,
            batch,
            _hints.log_det_shape(log_det.shape, batch, self.shape_in),
        )
        # 16-bit sums lose too much, so wider log-dets are right there.
        wide = [jnp.dtype("float32")] if self.value.dtype.itemsize == 2 else []
        for what, got, allowed in (
            (f"{label}({self.symbol})", out.dtype, [self.value.dtype]),
            (f"{label} log-det", log_det.dtype, [self.value.dtype, *wide]),
        ):
            if got not in allowed:
                report.add(
                    "dtype",
                    f"{what} has the dtype of {self.symbol}",
                    f"got {got}, expected {' or '.join(str(d) for d in allowed)}",
                    hint="an array or parameter of fixed dtype, or a cast, decides it",
                )
        for what, array in (
            (f"{label}({self.symbol})", out),
            (f"{label} log-det", log_det),
        ):
            at = self.value if array.ndim >= batch_ndims else None
            report.finite("finite", what, array, batch_ndims=batch_ndims, at=at)

    def check_deterministic(self, report: Report) -> None:
        """Two equal calls give equal results."""
        self._compare(
            report,
            "deterministic",
            "called twice",
            *self(self.value, self.setup.context),
            hint="the object changes its own state, or draws randomness that is not an argument",
        )

    def check_transformed(self, report: Report) -> None:
        """The laws ``jit`` and ``batching``, the latter but for single events."""
        variants = [Version("jit", "jax.jit = eager", self.pure, JIT_HINT)]
        if self.setup.key is None:
            widened = "one more leading batch axis = batched"
            variants += [
                Version("batching", "jax.vmap = batched", self._mapped, BATCH_HINT),
                Version("batching", widened, self._widened, BATCH_HINT),
            ]
        args = self.arrays, self.value, self.setup.context
        for variant, result in evaluate(report, self.name, variants, *args):
            self._compare(report, variant.law, variant.what, *result, hint=variant.hint)

    def _mapped(self, arrays: dict[str, Any], value: jax.Array, context: Any) -> Any:
        """``jax.vmap`` over all batch axes at once."""
        batch = self.setup.batch
        flat = functools.partial(_reshape_batch, ndims=len(batch), shape=(self.setup.size,))
        results = jax.vmap(self.pure, in_axes=(None, 0, 0))(
            arrays, flat(value), jax.tree.map(flat, context)
        )
        return tuple(_reshape_batch(a, ndims=1, shape=batch) for a in results)

    def _widened(self, arrays: dict[str, Any], value: jax.Array, context: Any) -> Any:
        """First half of a call with a new leading axis of length 2."""

        # The second half is reversed, so that mixing across the new axis changes the first.
        def widen(a: ArrayLike) -> jax.Array:
            a = jnp.asarray(a)
            return jnp.stack([a, jnp.flip(a, 0) if self.setup.batch else a])

        results = self.pure(arrays, widen(value), jax.tree.map(widen, context))
        return tuple(a[0] for a in results)

    def check_events(self, report: Report) -> None:
        """Single events one by one, with their Jacobians: the laws ``log-det`` and ``batching``."""
        batch, tolerance, name = self.setup.batch, self.setup.tolerance, self.name
        count = min(MAX_PROBES, self.setup.size)
        probes = np.unique(np.linspace(0, self.setup.size - 1, count).astype(int))
        places = [
            tuple(int(i) for i in np.unravel_index(p, batch)) if batch else () for p in probes
        ]
        single = "a single event, without batch axes"
        results = []
        with report.guard("batching", f"{name}: {single}", hint=BATCH_HINT):
            jacobian = self._jacobian()
            for at in places:
                context = jax.tree.map(lambda c, at=at: jnp.asarray(c)[at], self.setup.context)
                event = np.asarray(self.value)[at].reshape(-1)
                results.append(jacobian(self.arrays, event, context))
        if len(results) < len(places):
            return
        shapes = {(jnp.shape(out), jnp.shape(log_det)) for _, (out, log_det) in results}
        for out_shape, log_det_shape in shapes:
            what = f"{name}: {single}"
            right = report.shape("batching", what, out_shape, self.shape_out, BATCH_HINT)
            if not report.shape("batching", what, log_det_shape, (), BATCH_HINT) or not right:
                return
        jacobians = np.stack([as_float(j) for j, _ in results])
        log_dets = np.stack([as_float(log_det) for _, (_, log_det) in results])
        report.close(
            "log-det",
            f"{name} log-det = log |det Jacobian| of single events, at {len(places)} events",
            log_dets,
            np.linalg.slogdet(jacobians)[1],
            tolerance.log_det,
            batch_ndims=1,
            hint=functools.partial(_hints.log_det, jacobians=jacobians),
            places=places,
        )
        if self.setup.key is None:
            flat_out = as_float(self.out).reshape(self.setup.size, *self.shape_out)
            flat_log_det = as_float(self.log_det).reshape(self.setup.size)
            outs = np.stack([as_float(out) for _, (out, _) in results])
            self._compare(
                report,
                "batching",
                f"loop over single events = batched, at {len(places)} events",
                outs,
                log_dets,
                hint=BATCH_HINT,
                expected=(flat_out[probes], flat_log_det[probes]),
                places=places,
            )

    def _jacobian(self) -> Callable[..., Any]:
        def flat(arrays: dict[str, Any], event: jax.Array, context: Any) -> Any:
            out, log_det = self.pure(arrays, event.reshape(self.shape_in), context)
            return out.reshape(-1), (out, log_det)

        forward_mode = jax.jit(jax.jacfwd(flat, argnums=1, has_aux=True), compiler_options=_QUICK)
        reverse_mode = jax.jit(jax.jacrev(flat, argnums=1, has_aux=True), compiler_options=_QUICK)

        def either(*args: Any) -> Any:
            try:
                return forward_mode(*args)
            except TypeError as error:
                if not any(word in str(error) for word in ("custom_vjp", "in reverse mode only")):
                    raise
                return reverse_mode(*args)

        return either

    def check_gradient(self, report: Report) -> None:
        """Gradients for input, context and parameters are finite."""
        tree = {"bijector": self.setup.bijector, self.symbol: self.value}
        tree |= {} if self.setup.context is None else {"context": self.setup.context}
        traced, merge_traced = split_arrays(tree)
        floating, _ = split_floating(tree)
        rest = {name: array for name, array in traced.items() if name not in floating}

        def loss(floating: dict[str, Any], rest: dict[str, Any]) -> jax.Array:
            parts = merge_traced(floating | rest)
            out, log_det = self._call(parts["bijector"], parts[self.symbol], parts.get("context"))
            return jnp.sum(log_det) + jnp.sum(out, dtype=log_det.dtype)

        what = f"{self.name}: d(sum of outputs + sum of log-dets)"
        with report.guard("gradient", f"{what}/d(parameters, {self.symbol})"):
            gradients = jax.jit(jax.grad(loss), compiler_options=_QUICK)(floating, rest)
            for name, gradient in gradients.items():
                data = not name.startswith("['bijector']")
                report.finite(
                    "gradient",
                    f"{what}/d{name} is finite",
                    gradient,
                    batch_ndims=len(self.setup.batch) if data else 0,
                    at=floating[name],
                    at_label="taken at",
                    hint=_GRADIENT_HINT,
                )

    def _compare(
        self,
        report: Report,
        law: str,
        what: str,
        out: ArrayLike,
        log_det: ArrayLike,
        *,
        hint: str,
        expected: tuple[Any, Any] | None = None,
        places: Sequence[tuple[int, ...]] | None = None,
    ) -> None:
        """Compares (out, log-det) with the eager result, or with ``expected`` at ``places``."""
        expected_out, expected_log_det = expected or (self.out, self.log_det)
        tolerance = self.setup.tolerance
        for what_of, got, right, t in (
            (f"{self.name}({self.symbol})", out, expected_out, tolerance.round_trip),
            (f"{self.name} log-det", log_det, expected_log_det, tolerance.log_det),
        ):
            report.close(
                law,
                f"{what_of}: {what}",
                got,
                right,
                t,
                batch_ndims=len(self.setup.batch),
                hint=hint,
                places=places,
            )


def _reshape_batch(a: ArrayLike, *, ndims: int, shape: tuple[int, ...]) -> jax.Array:
    a = jnp.asarray(a)
    return a.reshape(*shape, *a.shape[ndims:])
