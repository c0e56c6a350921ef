"""Elements of several kinds: a transformer for each, and what networks see of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.transformer import Transformer, checked_parts, is_angle


@dataclasses.dataclass(frozen=True)
class MixedTransformer:
    """A transformer for each element of a vector, e.g. splines for real numbers and circular ones for angles.

    Every element has as many parameters as the largest needs; the others leave the last ones unused.

    Attributes:
      transformers: one an element, in their order.

    Raises:
      ValueError: there is none.
      TypeError: one of them is no transformer.
    """

    transformers: tuple[Transformer, ...]

    def __post_init__(self) -> None:
        """Reject bad arguments at construction, and take lists too."""
        parts = checked_parts(self.transformers, where="MixedTransformer")
        object.__setattr__(self, "transformers", parts)

    @property
    def num_params(self) -> int:
        """Parameters an element."""
        return max(part.num_params for part in self.transformers)

    def forward(self, z: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data, ``z [..., d]``; ``params`` has shape ``[*z.shape, num_params]``."""
        return self._each("forward", z, params)

    def inverse(self, x: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent, ``x [..., d]``; ``params`` has shape ``[*x.shape, num_params]``."""
        return self._each("inverse", x, params)

    def _each(
        self, direction: str, value: jax.Array, params: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        if value.shape[-1] != len(self.transformers):
            raise ValueError(
                f"MixedTransformer: has transformers for {len(self.transformers)} elements, got {value.shape[-1]}."
            )
        results, places = [], []
        for part in dict.fromkeys(self.transformers):
            where = np.flatnonzero([other == part for other in self.transformers])
            apply = part.forward if direction == "forward" else part.inverse
            results.append(apply(value[..., where], params[..., where, : part.num_params]))
            places.append(where)
        back = np.argsort(np.concatenate(places))
        out, log_derivative = (
            jnp.concatenate(parts, axis=-1)[..., back] for parts in zip(*results, strict=True)
        )
        return out, log_derivative


def of_elements(transformer: Transformer, where: np.ndarray) -> Transformer:
    """The transformer of the elements ``where`` booleans are True."""
    if not isinstance(transformer, MixedTransformer):
        return transformer
    chosen = [part for part, here in zip(transformer.transformers, where, strict=True) if here]
    return MixedTransformer(tuple(chosen))


def angles(transformer: Transformer, size: int) -> np.ndarray:
    """``size`` booleans, True for the elements that are angles."""
    if isinstance(transformer, MixedTransformer):
        return np.array([is_angle(part) for part in transformer.transformers])
    return np.full(size, is_angle(transformer))


def network_inputs(x: jax.Array, where: np.ndarray) -> jax.Array:
    """The inputs of a network for elements: themselves, cosines in place of angles, and behind all of them sines.

    So it is continuous where the circle closes.

    Args:
      x: ``[..., d]``.
      where: ``d`` booleans, of the angles, see `angles`.

    Returns:
      ``[..., d + number of angles]``.
    """
    if not where.any():
        return x
    here = np.broadcast_to(where, x.shape)
    return jnp.concatenate(
        [jnp.where(here, jnp.cos(x), x), jnp.sin(x[..., np.flatnonzero(where)])], axis=-1
    )
