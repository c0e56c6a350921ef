"""The laws of a bijector."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dgmjax.testing import _hints
from dgmjax.testing._direction import Direction
from dgmjax.testing._report import Report
from dgmjax.testing._setup import Setup, set_up
from dgmjax.testing._tolerance import Tolerance


def check_bijector(
    bijector: Any,
    x: ArrayLike,
    *,
    context: Any = None,
    key: jax.Array | None = None,
    event_ndims: int | None = None,
    tolerance: Tolerance | None = None,
    check_gradients: bool = True,
) -> None:
    """Checks that a bijector keeps the laws of its contract, at the data ``x``.

    With z, l' = inverse_and_log_det(x) and y, l = forward_and_log_det(z), each law under the name
    that a violation reports:

    - ``shape``: z is ``[*batch, *latent]``, y is ``[*batch, *event]``, l and l' are ``[*batch]``.
    - ``dtype``: z and y have the dtype of x; l and l' too (or float32, if x is a 16-bit float).
    - ``finite``: no NaN and no infinity.
    - ``deterministic``: two equal calls give equal results.
    - ``round trip``: forward(inverse(x)) = x and inverse(forward(z)) = z.
    - ``log-det cancellation``: l + l' = 0.
    - ``log-det``: ``l' = log |det dz/dx|`` at x and ``l = log |det dy/dz|`` at z, against ``slogdet`` of
      the Jacobian by automatic differentiation of a single event (forward mode, or reverse mode
      where a ``jax.custom_vjp`` forbids it), at up to 8 events spread over the batch.
    - ``jit``: ``jax.jit``, with the arrays of the bijector as traced arguments, changes nothing.
    - ``batching``: the batched call, ``jax.vmap``, one more leading batch axis, and a Python loop
      over single events (up to 8) agree.
    - ``gradient``: d(sum z + sum l')/d. and d(sum y + sum l)/d. are finite for the input, the
      context, and each floating-point array of the bijector, if it is a pytree (``nnx.Module`` is).

    Shape, dtype and finiteness are reported at once, since nothing else means much without them;
    all other violations are collected into one report.

    Args:
        bijector: object with ``inverse_and_log_det(x)`` and ``forward_and_log_det(z)``;
            ``event_shape`` (data side) and ``latent_shape`` (default: the same) are read if
            present.
        x: data ``[*batch, *event]`` of floating dtype. Use at least one batch axis and distinct rows:
            mixing between events cannot be seen on one event. Laws are checked at these points
            only, so let them cover the branches of the layer.
        context: conditioning input, an array or pytree with leading axes ``[*batch]``; passed as the
            second positional argument if given.
        key: PRNG key, given unchanged to every call as ``key=`` (dropout inside conditioners). With
            a key the ``batching`` law is skipped, as random draws depend on the batch shape.
        event_ndims: number of event axes of x. Default: ``len(bijector.event_shape)``.
        tolerance: default ``Tolerance.for_dtype(x.dtype)``; its docstring has the table.
        check_gradients: whether to check ``gradient``. Switch it off for directions that cannot be
            differentiated in reverse mode (inverses by ``lax.while_loop``).

    Raises:
        LawViolation: if a law breaks, with the law, the place, the size and the likely cause.
        TypeError: if x is not of floating dtype.
        ValueError: if x, context, ``event_ndims`` and ``event_shape`` contradict each other.

    Example:
        >>> import jax, dgmjax as dgm
        >>> dgm.testing.check_bijector(dgm.ActNorm((2,)), jax.random.normal(jax.random.key(0), (4, 2)))
    """
    x = jnp.asarray(x)
    setup = set_up(bijector, x, context, key, event_ndims, tolerance)
    batch, event, latent = setup.batch, setup.event, setup.latent
    report = Report(
        f"{type(bijector).__name__} (event {event}, latent {latent}, batch {batch}, {x.dtype})"
    )

    inverse = Direction(report, setup, "inverse", "x", x, event, latent)
    forward = Direction(report, setup, "forward", "z", inverse.out, latent, event)

    _check_inversion(report, setup, inverse, forward)
    for direction in (inverse, forward):
        direction.check_deterministic(report)
        direction.check_transformed(report)
        direction.check_events(report)
        if check_gradients:
            direction.check_gradient(report)
    report.raise_if_broken()


def _check_inversion(report: Report, setup: Setup, inverse: Direction, forward: Direction) -> None:
    batch_ndims, tolerance = len(setup.batch), setup.tolerance
    hint = functools.partial(_hints.round_trip, batch_ndims=batch_ndims)
    report.close(
        "round trip",
        "forward(inverse(x)) = x",
        forward.out,
        inverse.value,
        tolerance.round_trip,
        batch_ndims=batch_ndims,
        hint=hint,
    )
    z_again, _ = inverse(forward.out, setup.context)
    report.close(
        "round trip",
        "inverse(forward(z)) = z, where z = inverse(x)",
        z_again,
        forward.value,
        tolerance.round_trip,
        batch_ndims=batch_ndims,
        hint=hint,
    )
    report.close(
        "log-det cancellation",
        "forward log-det at z = -(inverse log-det at x)",
        forward.log_det,
        -inverse.log_det,
        tolerance.log_det,
        batch_ndims=batch_ndims,
        hint=_hints.log_det_cancellation,
    )
