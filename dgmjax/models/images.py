"""What flows on images share: the check of their sides, and couplings that alternate between two masks."""

from collections.abc import Callable, Sequence

from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain
from dgmjax.layers.stack import Stack


def check_image(name: str, event_shape: Sequence[int], squeezes: int) -> tuple[int, int, int]:
    """``event_shape`` as a tuple.

    Args:
      name: of the model, for messages.
      event_shape: expected ``(h, w, c)``.
      squeezes: how often a level halves the sides.

    Raises:
      ValueError: no image, or sides that cannot be halved so often; names the sides to pad to.
    """
    shape = tuple(event_shape)
    if len(shape) != 3:
        raise ValueError(
            f"{name}: expected image events (h, w, c), got event_shape {shape}; batch axes are not part of it, and "
            f"images without channels need an axis of size 1."
        )
    height, width, channels = shape
    block = 2**squeezes
    if height % block or width % block:
        padded = tuple(-(-side // block) * block for side in (height, width))
        raise ValueError(
            f"{name}: {squeezes} squeezes need sides divisible by {block}, got {height}x{width}; pad the images to "
            f"{padded[0]}x{padded[1]} with dgmjax.data.pad_to(images, {padded[0]}, {padded[1]}), or use fewer levels."
        )
    return height, width, channels


def alternating(
    make: Callable[[str], Bijector],
    masks: tuple[str, str],
    depth: int,
    *,
    reversible: bool,
    remat: bool,
) -> list[Bijector]:
    """``depth`` layers ``make(mask)`` with the two masks in turn: a `dgmjax.Stack` of pairs, and the odd one alone."""
    pairs: list[Bijector] = [Chain([make(masks[0]), make(masks[1])]) for _ in range(depth // 2)]
    stack = [Stack(pairs, reversible=reversible, remat=remat)] if pairs else []
    return [*stack, *([make(masks[0])] if depth % 2 else [])]
