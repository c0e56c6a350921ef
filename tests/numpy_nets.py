"""Networks computed again in NumPy from their parameters, as their papers write them: loops over taps, no masks."""

import itertools
from typing import Any

import jax
import numpy as np


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gate(x):
    value, control = np.split(x, 2, axis=-1)
    return value * sigmoid(control)


def concat_elu(x):
    return elu(np.concatenate([x, -x], -1))


def taps(x, kernel, offsets):
    """The sum over taps ``((a, b), (dy, dx))`` of ``x[i + dy, j + dx] @ kernel[a, b]``, zero outside the image."""
    height, width = x.shape[:2]
    out = np.zeros((height, width, kernel.shape[-1]))
    for (a, b), (dy, dx) in offsets:
        for i, j in itertools.product(range(height), range(width)):
            if 0 <= i + dy < height and 0 <= j + dx < width:
                out[i, j] += x[i + dy, j + dx] @ kernel[a, b]
    return out


def conv(layer: Any, x):
    """A convolution that keeps the size of an image."""
    kernel, bias = np.asarray(layer.kernel[...]), np.asarray(layer.bias[...])
    middle = len(kernel) // 2
    places = list(itertools.product(range(len(kernel)), repeat=2))
    return taps(x, kernel, [((a, b), (a - middle, b - middle)) for a, b in places]) + bias


def dense(layer: Any, x):
    return x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])


def blocks_of_pixels(x):
    """Blocks of 2x2 pixels side by side as channels, the upper left pixel first."""
    height, width, channels = x.shape
    x = x.reshape(height // 2, 2, width // 2, 2, channels).transpose(0, 2, 1, 3, 4)
    return x.reshape(height // 2, width // 2, 4 * channels)


def pixels_of_blocks(x):
    height, width, channels = x.shape
    x = x.reshape(height, width, 2, 2, channels // 4).transpose(0, 2, 1, 3, 4)
    return x.reshape(2 * height, 2 * width, channels // 4)


def vae_move(layer: Any, x):
    return gate(conv(layer.conv, x)) if layer.gated else conv(layer.conv, x)


def vae_blocks(blocks: Any, x, kind):
    for block in blocks:
        if kind == "gated":
            x = gate(conv(block.inner.conv, x))
        else:
            x = x + conv(block.outer, elu(conv(block.inner.conv, elu(x))))
    return x


def conv_encoder(net: Any, x, kind):
    for level, (move, blocks) in enumerate(zip(net.moves, net.blocks, strict=True)):
        x = vae_blocks(blocks, vae_move(move, blocks_of_pixels(x) if level else x), kind)
    x = x.ravel() if kind == "gated" else elu(x).ravel()
    hidden = dense(net.dense, x)
    return dense(net.last, gate(hidden) if kind == "gated" else elu(hidden))


def conv_decoder(net: Any, z, kind, grid, out_shape):
    hidden = dense(net.dense, z)
    x = (gate(hidden) if kind == "gated" else hidden).reshape(grid)
    for level in reversed(range(len(net.blocks))):
        x = vae_blocks(net.blocks[level], x, kind)
        if level:
            x = pixels_of_blocks(vae_move(net.moves[level - 1], x))
    return conv(net.last, x if kind == "gated" else elu(x)).reshape(out_shape)


def seen(size, reach):
    """Taps of a causal convolution and where they look: rows up to the own one, columns as the class says."""
    (height, width), pairs = size, []
    right = 0 if reach == "down_right" else (width - 1) // 2
    for a, b in itertools.product(range(height), range(width)):
        dy, dx = a - (height - 1), b - (width - 1) + right
        if not (reach == "raster" and dy == 0 and dx > 0):
            pairs.append(((a, b), (dy, dx)))
    return pairs


def causal_conv(layer: Any, x, size=(1, 1), reach="down_right", stride=1):
    """Weights ``g v / |v|``, with the norm over the taps that are seen."""
    v, offsets = np.asarray(layer.direction[...]), seen(size, reach)
    norm = np.sqrt(sum((v[a, b] ** 2).sum(0) for (a, b), _ in offsets))
    out = taps(x, v * np.asarray(layer.scale[...]) / norm, offsets) + np.asarray(layer.bias[...])
    return out[::stride, ::stride]


def causal_conv_transpose(layer: Any, x, reach):
    v = np.asarray(layer.direction[...])
    kernel = v * np.asarray(layer.scale[...]) / np.sqrt((v**2).sum((0, 1, 2)))
    height, width = x.shape[:2]
    out = np.zeros((2 * height, 2 * width, kernel.shape[-1]))
    first = -1 if reach == "down" else 0
    for i, j, a, b in itertools.product(*map(range, (height, width, *kernel.shape[:2]))):
        if 2 * j + first + b >= 0:
            out[2 * i + a, 2 * j + first + b] += x[i, j] @ kernel[a, b]
    return out + np.asarray(layer.bias[...])


def gated_residual(block: Any, x, extra, shift, size, reach):
    hidden = causal_conv(block.first, concat_elu(x), size, reach)
    if extra is not None:
        hidden = hidden + causal_conv(block.link, concat_elu(extra))
    return x + gate(causal_conv(block.second, concat_elu(hidden), size, reach) + shift)


def gated_conv(block: Any, x, extra, shift, size, reach):
    change = causal_conv(block.conv, x, size, reach) + shift
    if extra is not None:
        change = change + causal_conv(block.link, extra)
    value, control = np.split(change, 2, axis=-1)
    gated = np.tanh(value) * sigmoid(control)
    return gated if extra is None else x + causal_conv(block.last, gated)


def masked_residual(block: Any, x, extra, shift, size, reach):
    del extra
    hidden = np.maximum(causal_conv(block.first, np.maximum(x, 0)), 0)
    hidden = np.maximum(causal_conv(block.middle, hidden, size, reach) + shift, 0)
    return x + causal_conv(block.last, hidden)


def stream(net: Any, x, context, block, size, reach, fed=None):
    """Resolutions of blocks down and, of PixelCNN++, up again; ``fed``: outputs of what feeds it."""
    resolutions, hourglass = len(net.first), bool(net.second)

    def run(stack: Any, x, extras):
        outputs = []
        for k, extra in enumerate(extras):
            one = jax.tree.map(lambda leaf, k=k: leaf[k], stack)
            shift = 0.0 if context is None else context @ np.asarray(one.context_kernel[...])
            x = block(one, x, extra, shift, size, reach)
            outputs.append(x)
        return outputs

    def joined(name, k, skip=None):
        parts = [part for part in (fed and fed[name][k], skip) if part is not None]
        return np.concatenate(parts, -1) if parts else None

    outputs = {}

    def resolution(index, x):
        depth = jax.tree.leaves(net.first[index])[0].shape[0]
        down = f"down {index}"
        outputs[down] = run(net.first[index], x, [joined(down, k) for k in range(depth)])
        skips, x = [x, *outputs[down]], outputs[down][-1]
        if not hourglass:
            return x
        if index == resolutions - 1:
            skips.pop()
        else:
            resize = net.resize[index]
            lower = resolution(index + 1, causal_conv(resize.shrink, x, size, reach, stride=2))
            x = causal_conv_transpose(resize.grow, lower, reach)
        up = f"up {index}"
        extras = [joined(up, k, skip) for k, skip in enumerate(reversed(skips))]
        outputs[up] = run(net.second[index], x, extras)
        return outputs[up][-1]

    return resolution(0, x), outputs


def pixel_cnn(net: Any, x, context, variant):
    """The outputs at every pixel, from those before it: the images that streams start from are shifted."""
    block, above_size, size, reach = {
        "pixelcnnpp": (gated_residual, (2, 3), (2, 2), "down_right"),
        "gated": (gated_conv, (2, 3), (1, 2), "down_right"),
        "plain": (masked_residual, None, (2, 3), "raster"),
    }[variant]
    x = np.concatenate([x, np.ones_like(x[..., :1])], -1)
    above, left = np.zeros_like(x), np.zeros_like(x)
    above[1:], left[:, 1:] = x[:-1], x[:, :-1]
    fed = None
    if above_size is not None:
        start = causal_conv(net.start, above, (2, 3), "down")
        _, fed = stream(net.vertical, start, context, block, above_size, "down")
    start = causal_conv(net.above, above, (1, 3), "down") + causal_conv(net.left, left, (2, 1))
    hidden, _ = stream(net.horizontal, start, context, block, size, reach, fed)
    return causal_conv(net.last, elu(hidden))
