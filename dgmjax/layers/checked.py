"""A run-time check of every layer: does this round trip close, here, on these values?"""

from typing import Any, Self

import chex
import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.layers.bijector import Bijector
from dgmjax.layers.block import Block
from dgmjax.layers.combinators import Chain, Inverse
from dgmjax.layers.stack import Stack
from dgmjax.testing import Tolerance


def checked(bijector: Bijector, tolerance: Tolerance | None = None) -> Bijector:
    """The same map, which asserts at run time that every layer's round trip closes.

    Of `dgmjax.Chain`, `dgmjax.Stack`, `dgmjax.Block` and `dgmjax.Inverse` the parts are wrapped, down to the single
    layers, so that an error names the guilty one; see `Checked` for what is asserted. Values, log-determinants and
    gradients are those of ``bijector``; a call costs both directions of every layer.

    The assertions are chex value assertions. In a compiled program they need ``chex.chexify`` around the outermost
    transformation::

        flow = dgm.Flow(dgm.layers.checked(model.bijector), model.base)
        log_prob = chex.chexify(jax.jit(lambda flow, x: flow.log_prob(x)), async_check=False)
        log_prob(flow, x)  # AssertionError: ... layers[0].layer.layers[1] (Coupling): ...

    Without it nothing passes unchecked. Eager calls assert at once; tracing (``jit``, ``vmap``, ``grad``, and always
    inside a `dgmjax.Stack`) raises the ``RuntimeError`` of chex that asks for ``chex.chexify`` or, where JAX kept the
    trace of an earlier chexified call, the ``ValueError`` of checkify. ``chexify`` takes the function that is already
    jitted. By default it reports at the next call or at ``.wait_checks()``; with ``async_check=False``, at once.

    Args:
      bijector: any bijector; with data-dependent layers, before or after `Bijector.with_data_init`.
      tolerance: its ``round_trip`` and ``log_det`` are absolute and relative tolerances at once; None for
        ``Tolerance.for_dtype`` of the input's dtype. Values that a layer cannot keep (elements next to which a shift
        is huge, ends of a saturating map) break the default: that is a finding, or a reason to pass a wider one.
    """
    return _checked(bijector, tolerance, "")


class Checked(Bijector):
    """``layer`` with the other direction run after every call, and chex value assertions; `checked` makes it.

    Asserted of ``forward_and_log_det(z) = (x, l)`` and ``inverse_and_log_det(x) = (z', l')``, and of the other order
    likewise: ``z`` is finite; ``x, l, z', l'`` are finite; ``z' = z``; ``l' = -l``.

    The way back gets the same ``context`` and ``key``. A `dgmjax.MaskedAutoregressive` with dropout has no way back
    with a key. What a batch-dependent layer computes in `inverse_and_update` is no function of one event and has no
    inverse, so there only values are asserted to be finite. The wrapper is for running, not for saving.

    Args:
      layer: the layer to check.
      tolerance: see `checked`.
      where: what messages call the layer.
    """

    runs_eagerly = True  # outside of programs its assertions see values
    reach = "any"

    def __init__(self, layer: Bijector, tolerance: Tolerance | None = None, where: str = ""):
        self.layer = layer
        self.tolerance = tolerance
        self.where = where or type(layer).__name__
        self.event_shape = layer.event_shape
        self.context_shape = layer.context_shape

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Latent shape of the layer."""
        return self.layer.latent_shape

    @property
    def depends_on_data(self) -> bool:
        """Whether the layer does."""
        return self.layer.depends_on_data

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Latent to data, and back to see."""
        result = self.layer.forward_and_log_det(z, context, key=key)
        self._verify("forward", "inverse", z, result, context, key)
        return result

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Data to latent, and back to see."""
        result = self.layer.inverse_and_log_det(x, context, key=key)
        self._verify("inverse", "forward", x, result, context, key)
        return result

    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """The layer, initialised, checked as before."""
        return self._with(self.layer.with_data_init(x, context))

    def inverse_and_update(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, Self]:
        """Data to latent as in training, and the new layer, checked as before."""
        if type(self.layer).inverse_and_update is Bijector.inverse_and_update:
            return super().inverse_and_update(x, context, key=key)
        z, log_det, layer = self.layer.inverse_and_update(x, context, key=key)
        self._finite(
            (x, z, log_det), "inverse_and_update meets or makes a value that is not finite"
        )
        return z, log_det, self._with(layer)

    def forward_in_training(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """That of the layer; only its value is asserted to be finite."""
        x = self.layer.forward_in_training(z, context, key=key)
        self._finite((z, x), "forward_in_training meets or makes a value that is not finite")
        return x

    def _with(self, layer: Bijector) -> Self:
        new = nnx.clone(self)
        new.layer = layer
        return new

    def _verify(
        self,
        there: str,
        back: str,
        value: jax.Array,
        result: tuple[jax.Array, jax.Array],
        context: jax.Array | None,
        key: jax.Array | None,
    ) -> None:
        image, log_det = result
        way_back = getattr(self.layer, f"{back}_and_log_det")
        again, back_log_det = way_back(image, context, key=key)
        tolerance = self.tolerance or Tolerance.for_dtype(value.dtype)
        self._finite(value, f"{there} is called with a value that is not finite")
        self._finite((image, log_det), f"{there} makes a value or log-det that is not finite")
        self._finite(
            (again, back_log_det),
            f"{back} after {there} makes a value or log-det that is not finite",
        )
        self._close(again, value, tolerance.round_trip, f"{back}({there}(v)) is not v")
        self._close(
            back_log_det,
            -log_det,
            tolerance.log_det,
            f"the log-dets of {there} and {back} do not cancel",
        )

    def _finite(self, values: Any, message: str) -> None:
        chex.assert_tree_all_finite(values, custom_message=f"{self.where}: {message}")

    def _close(self, got: jax.Array, expected: jax.Array, tolerance: float, message: str) -> None:
        # The size of the error, so that rounding can be told from a mistake.
        worst = jnp.abs(got - expected).max(initial=0.0)
        chex.assert_trees_all_close(
            got,
            expected,
            rtol=tolerance,
            atol=tolerance,
            custom_message=f"{self.where}: {message}: off by up to {{}}, tolerance {tolerance:g}",
            custom_message_format_vars=[worst],
        )


def _checked(bijector: Bijector, tolerance: Tolerance | None, path: str) -> Bijector:
    if isinstance(bijector, Checked):
        return bijector
    prefix = f"{path}." if path else ""
    if isinstance(bijector, Chain):
        new = nnx.clone(bijector)
        new.layers = nnx.List(
            [
                _checked(layer, tolerance, f"{prefix}layers[{index}]")
                for index, layer in enumerate(bijector.layers)
            ]
        )
        return new
    if isinstance(bijector, Stack | Block | Inverse):
        outer = nnx.clone(bijector)
        outer.layer = _checked(bijector.layer, tolerance, f"{prefix}layer")
        return outer
    name = type(bijector).__name__
    return Checked(bijector, tolerance, f"{path} ({name})" if path else name)
