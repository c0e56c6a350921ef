"""Transforms of batches of images ``[n, height, width, channels]``, pure and made for the inside of a compiled step.

Random ones take one key, from which example i gets ``fold_in(key, i)``, or an array of ``n`` keys, one an example. What
happens to an example depends on its own key alone: not on its neighbours, nor on how a batch lies on devices.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dgmjax.data.dataset import Dataset
from dgmjax.numerics.prng import example_keys
from dgmjax.numerics.rows import map_rows

_BITS = 8


def random_flip(x: jax.Array, key: jax.Array) -> jax.Array:
    """Mirror each image left to right with probability 1/2."""

    def one(image: jax.Array, key: jax.Array) -> jax.Array:
        return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)

    return jax.vmap(one)(x, _keys(x, key))


def random_shift(
    x: jax.Array, key: jax.Array, *, max_shift: int, fill: int | Literal["edge"] = 0
) -> jax.Array:
    """Move each image by up to ``max_shift`` pixels down or up and right or left, uniformly.

    Outside is ``fill``, or with ``"edge"`` the nearest pixel of the image.
    """
    if max_shift < 0:
        raise ValueError(f"random_shift: expected max_shift >= 0, got {max_shift}.")
    widths = ((max_shift, max_shift), (max_shift, max_shift), (0, 0))

    def one(image: jax.Array, key: jax.Array) -> jax.Array:
        corner = jax.random.randint(key, (2,), 0, 2 * max_shift + 1)
        outside: Any = {"mode": "edge"} if fill == "edge" else {"constant_values": fill}
        padded = jnp.pad(image, widths, **outside)
        start = (corner[0], corner[1], jnp.zeros_like(corner[0]))
        return jax.lax.dynamic_slice(padded, start, image.shape)

    return jax.vmap(one)(x, _keys(x, key))


def pad_to(x: jax.Array, height: int, width: int, *, fill: int = 0) -> jax.Array:
    """Pad images to ``height x width`` with ``fill``, centred; an odd pixel goes below and right.

    Models that halve the sides k times need multiples of ``2**k``: MNIST becomes 32x32. Padding is modelled too: divide
    the nats by the original number of elements for bits/dim that compare.

    Raises:
      ValueError: images are larger than that.
    """
    top, left = _margins("pad_to", height, width, x.shape[-3], x.shape[-2])
    bottom, right = height - x.shape[-3] - top, width - x.shape[-2] - left
    widths = [(0, 0)] * (x.ndim - 3) + [(top, bottom), (left, right), (0, 0)]
    return jnp.pad(x, widths, constant_values=fill)


def crop_to(x: jax.Array, height: int, width: int) -> jax.Array:
    """The central ``height x width`` of images; undoes `pad_to`.

    Raises:
      ValueError: images are smaller than that.
    """
    top, left = _margins("crop_to", x.shape[-3], x.shape[-2], height, width)
    return x[..., top : top + height, left : left + width, :]


def reduce_bits(x: jax.Array, n_bits: int) -> jax.Array:
    """``floor(x / 2^(8 - n_bits))``: 8-bit integers to levels ``0 .. 2^n_bits - 1``, the same dtype.

    Source: Kingma and Dhariwal, 2018, *Glow*, section 6 (5 bits for CelebA-HQ).
    """
    if not 1 <= n_bits <= _BITS:
        raise ValueError(f"reduce_bits: expected n_bits in 1 .. {_BITS}, got {n_bits}.")
    return x >> (_BITS - n_bits)


def binarize(x: jax.Array, key: jax.Array, *, max_level: int = 255) -> jax.Array:
    """Dynamic binarisation: each pixel is 1 with probability ``x / max_level``, else 0; the same dtype.

    Drawn anew at every visit of an image, which regularises (Salakhutdinov and Murray, 2008). Likelihoods compare with
    others of dynamic binarisation, not with those of a fixed draw (`static_binarization`).
    """

    def one(image: jax.Array, key: jax.Array) -> jax.Array:
        probability = image.astype(jnp.float32) / max_level
        return jax.random.bernoulli(key, probability).astype(image.dtype)

    return jax.vmap(one)(x, _keys(x, key))


@dataclasses.dataclass(frozen=True)
class ImageTransform:
    """Transforms in a row: flip, shift, reduce bits, binarise, pad.

    With ``flip`` and ``shift`` alone it is an ``augment`` of `dgmjax.fit` for models of images; the others change
    levels or shape: pass them as its ``transform``, or apply them to the data first (`apply`) if they are not random.

    Attributes:
      flip: mirror half of the images, for sets whose mirror images are as likely: photographs, not digits.
      shift: largest random shift, in pixels.
      fill: what a shift leaves behind, a level or ``"edge"``, the nearest pixel: for photographs.
      n_bits: bits a value keeps.
      binarize: draw pixels from their grey levels, anew each time.
      pad: ``(height, width)`` to pad to, or None.
    """

    flip: bool = False
    shift: int = 0
    fill: int | Literal["edge"] = 0
    n_bits: int = _BITS
    binarize: bool = False
    pad: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Binarised pixels have no bits to drop."""
        if self.binarize and self.n_bits != _BITS:
            raise ValueError(
                f"ImageTransform: binarize draws from {_BITS}-bit levels; leave n_bits out, got {self.n_bits}."
            )

    @property
    def num_levels(self) -> int:
        """Values an element can take afterwards."""
        return 2 if self.binarize else 2**self.n_bits

    def image_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape of an image afterwards."""
        return shape if self.pad is None else (*self.pad, shape[2])

    def __call__(self, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Transform 8-bit images ``[n, height, width, channels]``; ``key`` only if something is random."""
        random = self.flip or self.shift > 0 or self.binarize
        if random:
            if key is None:
                raise ValueError(f"{self}: random transforms need a key.")
            keys = jax.vmap(lambda one: jax.random.split(one, 3))(_keys(x, key))
            if self.flip:
                x = random_flip(x, keys[:, 0])
            if self.shift:
                x = random_shift(x, keys[:, 1], max_shift=self.shift, fill=self.fill)
        x = reduce_bits(x, self.n_bits)
        if self.binarize:
            x = binarize(x, keys[:, 2])
        return x if self.pad is None else pad_to(x, *self.pad)

    def apply(self, dataset: Dataset) -> Dataset:
        """The data set with bits reduced and images padded, once; what is random is for the step.

        The result is in memory, also of a data set that is memory-mapped: all of it must fit. Where it does not, pass
        the transform as ``transform`` of `dgmjax.fit`.

        Raises:
          ValueError: the transform is random, or the data are not 8-bit images.
        """
        if self.flip or self.shift or self.binarize:
            raise ValueError(
                f"{self}: random transforms are drawn in the step; pass them as augment=, and apply the others."
            )
        if dataset.image_shape is None or dataset.event_shape != dataset.image_shape:
            raise ValueError(
                f"ImageTransform: expected images [n, height, width, channels], got events {dataset.event_shape}."
            )
        if dataset.num_levels != 2**_BITS:
            raise ValueError(f"ImageTransform: expected 256 levels, got {dataset.num_levels}.")
        parts: dict[str, Any] = {
            split: self._on_host(getattr(dataset, split))
            for split in ("train", "validation", "test")
        }
        shape = self.image_shape(dataset.image_shape)
        return dataclasses.replace(dataset, **parts, num_levels=self.num_levels, image_shape=shape)

    def _on_host(self, x: np.ndarray) -> np.ndarray:
        return map_rows(
            lambda rows: np.asarray(self(jnp.asarray(rows)), x.dtype), x, batch_size=4_096
        )


def _keys(x: ArrayLike, key: jax.Array) -> jax.Array:
    """One key an example."""
    shape = np.shape(x)
    if len(shape) != 4:
        raise ValueError(f"expected images [n, height, width, channels], got shape {shape}.")
    if not jnp.issubdtype(jnp.result_type(key), jax.dtypes.prng_key):
        raise TypeError(f"expected typed keys, jax.random.key(0), got {key!r}.")
    if key.ndim == 0:
        return example_keys(key, shape[0])
    if key.shape != shape[:1]:
        raise ValueError(
            f"expected one key, or one for each of {shape[0]} images, got keys of shape {key.shape}."
        )
    return key


def _margins(name: str, height: int, width: int, inner_height: int, inner_width: int) -> tuple:
    if height < inner_height or width < inner_width:
        inside = "images" if name == "pad_to" else "wanted sizes"
        raise ValueError(
            f"{name}: {inside} {inner_height}x{inner_width} do not fit in {height}x{width}."
        )
    return (height - inner_height) // 2, (width - inner_width) // 2
