"""Convolutions of images whose gradients are fast on every backend, inside loops too."""

import functools
import math
from collections.abc import Sequence

import jax
from jax.custom_derivatives import SymbolicZero

Padding = str | Sequence[tuple[int, int]]
_Pairs = tuple[tuple[int, int], tuple[int, int]]

_PLAIN = ("NHWC", "HWIO", "NHWC")
# The same convolution written so that its transpose, in the image or in the kernel, is one of the plain kind.
_FOR_IMAGE = ("NHWC", "HWOI", "NHWC")
_FOR_KERNEL = ("CHWN", "IHWO", "HWNC")


def conv2d(
    x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: Padding = "SAME"
) -> jax.Array:
    """``y[i, j, f] = sum_{a, b, c} x[i s + a - p, j s + b - q, c] kernel[a, b, c, f]``, zero outside the image.

    XLA's CPU backend has a fast routine for float32 of layout ``NHWC, HWIO -> NHWC``, and brings others into that
    layout everywhere but in the body of a loop, where they run as a naive loop nest, some 20 times slower. Derivatives
    of a convolution have other layouts. On the CPU the derivative is therefore written such that its two transposes
    have the plain layout: reverse mode is fast inside ``lax.scan``. Forward mode is exact, and slow inside a loop.
    A kernel of one pixel is a dense product.

    Args:
      x: images ``[*batch, h, w, c]`` with any number of batch axes.
      kernel: ``[kh, kw, c, f]``, of the dtype of ``x``.
      stride: ``s``, of both axes.
      padding: ``"SAME"``, ``"VALID"``, or the pairs ``((top, bottom), (left, right))`` in pixels.

    Returns:
      ``[*batch, h', w', f]``; for ``"SAME"`` ``h' = ceil(h / stride)``.

    Raises:
      ValueError: an image without channels, a kernel that is not of rank 4, or channels that differ.
    """
    if x.ndim < 3 or kernel.ndim != 4 or x.shape[-1] != kernel.shape[2]:
        raise ValueError(
            f"conv2d: expected images [*batch, h, w, c] and a kernel [kh, kw, c, f] of as many channels c, got shapes "
            f"{x.shape} and {kernel.shape}."
        )
    pairs = _pairs(x.shape[-3:-1], kernel.shape[:2], stride, padding)
    if kernel.shape[:2] == (1, 1) and stride == 1 and pairs == ((0, 0), (0, 0)):
        return x @ kernel[0, 0]
    images = x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:])
    convolve = _convolve_on_cpu if jax.default_backend() == "cpu" else _convolve
    out = convolve(images, kernel, stride, pairs)
    return out.reshape(*x.shape[:-3], *out.shape[1:])


def _pairs(
    image: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: Padding
) -> _Pairs:
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(image, kernel, (stride, stride), padding)
    (top, bottom), (left, right) = padding
    return (int(top), int(bottom)), (int(left), int(right))


def _convolve(
    x: jax.Array,
    kernel: jax.Array,
    stride: int,
    pairs: _Pairs,
    layout: tuple[str, str, str] = _PLAIN,
) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), pairs, dimension_numbers=layout
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _convolve_on_cpu(x: jax.Array, kernel: jax.Array, stride: int, pairs: _Pairs) -> jax.Array:
    return _convolve(x, kernel, stride, pairs)


@functools.partial(_convolve_on_cpu.defjvp, symbolic_zeros=True)
def _convolve_jvp(
    stride: int,
    pairs: _Pairs,
    primals: tuple[jax.Array, jax.Array],
    tangents: tuple[jax.Array | SymbolicZero, jax.Array | SymbolicZero],
) -> tuple[jax.Array, jax.Array]:
    x, kernel = primals
    x_dot, kernel_dot = tangents
    out = _convolve_on_cpu(x, kernel, stride, pairs)
    terms = []
    if not isinstance(x_dot, SymbolicZero):
        terms.append(_convolve(x_dot, kernel.swapaxes(2, 3), stride, pairs, _FOR_IMAGE))
    if not isinstance(kernel_dot, SymbolicZero):
        rows = _convolve(
            x.transpose(3, 1, 2, 0), kernel_dot.transpose(2, 0, 1, 3), stride, pairs, _FOR_KERNEL
        )
        terms.append(rows.transpose(2, 0, 1, 3))
    return out, sum(terms[1:], terms[0])
