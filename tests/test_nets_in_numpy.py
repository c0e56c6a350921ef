"""Networks agree with their formulas, computed again in NumPy (`tests.numpy_nets`)."""

import jax
import numpy as np
import pytest
from flax import nnx

from dgmjax.nets.conv_decoder import ConvDecoder
from dgmjax.nets.conv_encoder import ConvEncoder
from dgmjax.nets.pixelcnn.conv import CausalConv
from dgmjax.nets.pixelcnn.network import PixelCNN
from dgmjax.testing import scramble
from tests import numpy_nets

RNG = np.random.RandomState(0)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["gated", "residual"])
def test_the_encoder_and_the_decoder_of_images(kind):
    options = {"widths": (3, 4), "depth": 2, "kind": kind, "rngs": nnx.Rngs(0)}
    encoder = scramble(ConvEncoder((4, 6, 2), 5, hidden=6, **options), jax.random.key(1))
    decoder = scramble(ConvDecoder(3, (4, 6, 2, 2), **options), jax.random.key(2))
    x, z = normal(2, 4, 6, 2), normal(2, 3)
    features, images = jax.jit(lambda nets, x, z: (nets[0](x), nets[1](z)))(
        (encoder, decoder), x, z
    )
    for row in range(2):
        close(features[row], numpy_nets.conv_encoder(encoder, x[row], kind))
        expected = numpy_nets.conv_decoder(decoder, z[row], kind, (2, 3, 4), (4, 6, 2, 2))
        close(images[row], expected)


@pytest.mark.parametrize(
    ("variant", "resolutions", "conditional"),
    [
        ("pixelcnnpp", 1, True),
        ("pixelcnnpp", 3, False),
        ("gated", 1, True),
        ("plain", 1, True),
    ],
)
def test_pixel_networks(variant, resolutions, conditional):
    net = PixelCNN(
        2, 3, variant=variant, resolutions=resolutions, depth=2, width=4, context_size=3 * conditional,
        rngs=nnx.Rngs(0),
    )  # fmt: skip
    net = scramble(net, jax.random.key(1))
    x, context = normal(2, 4, 8, 2), normal(2, 3) if conditional else None
    out = jax.jit(lambda net, x, context: net(x, context))(net, x, context)
    for row in range(2):
        given = None if context is None else context[row]
        close(out[row], numpy_nets.pixel_cnn(net, x[row], given, variant))


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_outputs_on_the_batch_that_a_layer_starts_from_have_mean_0_and_its_scale(scale):
    layer = CausalConv((2, 3), 2, 4, reach="down", scale=scale, rngs=nnx.Rngs(0))
    x = 5.0 * normal(6, 4, 5, 2) + 2.0
    layer.start_from(x)
    out = np.asarray(layer(x)).reshape(-1, 4)
    np.testing.assert_allclose(out.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(out.std(0), scale, rtol=1e-5)
