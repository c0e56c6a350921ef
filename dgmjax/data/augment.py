"""Random small warps of images, for training only."""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Augment:
    """Warp and shift flattened images of integers; levels stay integers, so bounds stay bounds.

    An image is warped with probability ``warp`` (rotation up to 10 degrees, scale and shear up to 10%, translation
    up to half a pixel, bilinear, rounded) and shifted by one pixel with probability ``shift``. Outside is level 0.

    Attributes:
      image_shape: ``(height, width, channels)``.
      warp: probability of a warp.
      shift: probability of a shift.
    """

    image_shape: tuple[int, int, int]
    warp: float = 0.25
    shift: float = 0.05

    def __call__(self, x: jax.Array, key: jax.Array) -> jax.Array:
        """Augment ``[n, height * width * channels]`` integers; same shape and dtype."""
        images = x.reshape(-1, *self.image_shape)
        keys = jax.random.split(key, len(images))
        return jax.vmap(self._one)(images, keys).reshape(x.shape)

    def _one(self, image: jax.Array, key: jax.Array) -> jax.Array:
        height, width, _ = self.image_shape
        chosen, matrix_key, offset_key, shift_key = jax.random.split(key, 4)
        use_warp, use_shift = jax.random.uniform(chosen, (2,)) < jnp.array([self.warp, self.shift])
        angle, scale_y, scale_x, shear = jax.random.uniform(
            matrix_key, (4,), minval=-1.0, maxval=1.0
        ) * jnp.array([0.175, 0.1, 0.1, 0.1])
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        rotation = jnp.stack([jnp.stack([cos, -sin]), jnp.stack([sin, cos])])
        stretch = jnp.stack(
            [jnp.stack([1 + scale_y, shear]), jnp.stack([jnp.zeros_like(shear), 1 + scale_x])]
        )
        offset = jax.random.uniform(offset_key, (2,), minval=-0.5, maxval=0.5)
        matrix = jnp.where(use_warp, rotation @ stretch, jnp.eye(2))
        offset = jnp.where(use_warp, offset, jnp.zeros(2))
        offset += jnp.where(use_shift, _unit_step(shift_key), jnp.zeros(2))

        centre = jnp.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
        grid = jnp.stack(
            jnp.meshgrid(jnp.arange(float(height)), jnp.arange(float(width)), indexing="ij")
        )
        source = jnp.einsum("ij,jhw->ihw", matrix, grid - centre) + centre + offset[:, None, None]
        warp_channel = jax.vmap(
            lambda channel: jax.scipy.ndimage.map_coordinates(channel, list(source), order=1),
            in_axes=-1,
            out_axes=-1,
        )
        return jnp.round(warp_channel(image.astype(jnp.float32))).astype(image.dtype)


def _unit_step(key: jax.Array) -> jax.Array:
    """One pixel up, down, left or right."""
    steps = jnp.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
    return steps[jax.random.randint(key, (), 0, 4)]
