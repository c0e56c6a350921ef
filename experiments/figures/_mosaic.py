"""Images side by side on the axes of a figure."""

from typing import Any

import numpy as np

import dgmjax as dgm
from dgmjax.plots.canvas import INK

_GAP = 0.25  # brightness between images, as in `dgmjax.plots.image_grid`


def mosaic(
    images: np.ndarray, dataset: dgm.data.Dataset, columns: int, *, scale: int = 4
) -> np.ndarray:
    """Brightness ``[height, width]`` of images in [0, 1], row after row from the top, with frames about them."""
    height, width, _ = dataset.image_shape or (0, 0, 0)
    tiles = np.asarray(images).reshape(-1, columns, height, width)
    tiles = tiles.repeat(scale, axis=2).repeat(scale, axis=3)
    gap = max(1, scale // 4)
    framed = np.pad(tiles, ((0, 0), (0, 0), (0, gap), (0, gap)), constant_values=_GAP)
    rows, _, tall, wide = framed.shape
    whole = framed.transpose(0, 2, 1, 3).reshape(rows * tall, columns * wide)
    return np.pad(whole, ((gap, 0), (gap, 0)), constant_values=_GAP)


def show_images(axes: Any, picture: np.ndarray, title: str, **options: Any) -> None:
    """A `mosaic` on axes without ticks."""
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest", **options)
    axes.set_title(title, size=10, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
