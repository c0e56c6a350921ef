"""Random small warps of images, for training only."""

import dataclasses

import jax
import jax.numpy as jnp

from dgmjax.numerics.prng import example_keys

_FLOAT = jnp.float32
_MAX_ANGLE = 0.175  # radians, 10 degrees
_MAX_STRETCH = 0.1


@dataclasses.dataclass(frozen=True)
class RandomWarp:
    """Warp and shift flattened images; levels stay integers, so bounds stay bounds.

    An image is warped with probability ``warp`` (rotation up to 10 degrees, scale and shear up to 10%, translation
    up to half a pixel, bilinear, of integers rounded) and shifted by one pixel with probability ``shift``. Outside is
    level 0.

    Attributes:
      image_shape: ``(height, width, channels)``.
      warp: probability of a warp.
      shift: probability of a shift.
    """

    image_shape: tuple[int, int, int]
    warp: float = 0.25
    shift: float = 0.05

    def __call__(self, x: jax.Array, key: jax.Array) -> jax.Array:
        """Augment ``[n, height * width * channels]``, with one key or ``n``; same shape and dtype."""
        images = x.reshape(-1, *self.image_shape)
        keys = example_keys(key, len(images)) if key.ndim == 0 else key
        return jax.vmap(self._one)(images, keys).reshape(x.shape)

    def _one(self, image: jax.Array, key: jax.Array) -> jax.Array:
        height, width, _ = self.image_shape
        choice_key, matrix_key, offset_key, shift_key = jax.random.split(key, 4)
        wanted = jnp.array([self.warp, self.shift], _FLOAT)
        use_warp, use_shift = jax.random.uniform(choice_key, (2,), _FLOAT) < wanted
        largest = jnp.array([_MAX_ANGLE, _MAX_STRETCH, _MAX_STRETCH, _MAX_STRETCH], _FLOAT)
        amount = largest * jax.random.uniform(matrix_key, (4,), _FLOAT, minval=-1.0, maxval=1.0)
        angle, scale_y, scale_x, shear = jnp.where(use_warp, amount, 0.0)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        # rotation @ [[1 + scale_y, shear], [0, 1 + scale_x]], written out
        matrix = jnp.stack(
            [
                jnp.stack([cos * (1.0 + scale_y), cos * shear - sin * (1.0 + scale_x)]),
                jnp.stack([sin * (1.0 + scale_y), sin * shear + cos * (1.0 + scale_x)]),
            ]
        )
        offset = jax.random.uniform(offset_key, (2,), _FLOAT, minval=-0.5, maxval=0.5)
        offset = jnp.where(use_warp, offset, 0.0) + jnp.where(use_shift, _unit_step(shift_key), 0.0)

        rows, columns = jnp.arange(height, dtype=_FLOAT), jnp.arange(width, dtype=_FLOAT)
        grid = jnp.stack(jnp.meshgrid(rows, columns, indexing="ij"))
        centre = jnp.array([(height - 1) / 2, (width - 1) / 2], _FLOAT)[:, None, None]
        source = jnp.einsum("ij,jhw->ihw", matrix, grid - centre) + centre + offset[:, None, None]
        warp_channel = jax.vmap(
            lambda channel: jax.scipy.ndimage.map_coordinates(channel, list(source), order=1),
            in_axes=-1,
            out_axes=-1,
        )
        warped = warp_channel(image.astype(_FLOAT))
        if jnp.issubdtype(image.dtype, jnp.integer):
            warped = jnp.round(warped)
        return warped.astype(image.dtype)


def _unit_step(key: jax.Array) -> jax.Array:
    """One pixel up, down, left or right."""
    steps = jnp.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]], _FLOAT)
    return steps[jax.random.randint(key, (), 0, 4)]
