"""Evaluation of a stream on whole images: as it is, or starting every layer from the data that it meets."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from dgmjax.nets.pixelcnn.blocks import CausalBlock
from dgmjax.nets.pixelcnn.conv import NormalizedKernel


class WholeImage:
    """Evaluation of a stream on whole images; `dgmjax.nets.pixelcnn.cache` evaluates one on a row or at a pixel."""

    keeps_features = True

    def convs(self, cache: Any) -> Any:
        """A function ``(conv, x) -> conv(x)`` for the convolutions of one block."""
        del cache
        return lambda conv, x: conv(x)

    def of_block(self, convs: Any, block: CausalBlock) -> Any:
        """More to return of a block than its output, e.g. inputs of its convolutions for a cache."""
        del convs, block

    def of_input(self, x: jax.Array) -> Any:
        """The part of a cache that the input of a downsampling convolution is, whether that runs or not."""
        del x

    def replace(self, blocks: nnx.List, scale: int, returned: Any) -> None:
        """Tell what the blocks of a resolution returned."""
        del blocks, scale, returned

    def at_scale(self, scale: int, function: Callable[[], Any], cache: Any) -> Any:
        """``function()`` of a lower resolution, or what its cache remembers where it has nothing new."""
        del scale, cache
        return function()

    def crop(self, scale: int, upsampled: jax.Array) -> jax.Array:
        """The part of an upsampled image that belongs here."""
        del scale
        return upsampled


class DataDependentInit(WholeImage):
    """Evaluation on whole images in which every layer first starts from its input; changes the modules it runs."""

    def convs(self, cache: Any) -> Any:
        """Convolutions that start from their input before they see it."""
        del cache

        def run(conv: NormalizedKernel, x: jax.Array) -> jax.Array:
            conv.start_from(x)
            return conv(x)

        return run

    def of_block(self, convs: Any, block: CausalBlock) -> Any:
        """The block with its new layers."""
        del convs
        return block

    def replace(self, blocks: nnx.List, scale: int, returned: Any) -> None:
        """Keep the new blocks."""
        blocks[scale] = returned
