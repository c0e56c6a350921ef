"""Encoders and decoders of variational autoencoders: shapes, batch axes, dropout, gradients, the gate.

In float32: in float64 XLA's CPU backend takes ten times as long to compile a convolution.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.nets.conv_decoder import ConvDecoder
from dgmjax.nets.conv_encoder import ConvEncoder
from dgmjax.nets.flattened import Flattened
from dgmjax.nets.gated_mlp import GatedMLP
from dgmjax.nets.mlp import MLP
from dgmjax.numerics.prng import example_keys


def flattened(*, rngs, **options):
    return Flattened(GatedMLP(12, (5,), width=6, rngs=rngs, **options), (2, 3, 2))


SMALL = {"widths": (4, 3), "depth": 1}
NETS = {
    "GatedMLP": ((7,), (2, 3), functools.partial(GatedMLP, 7, (2, 3), width=6)),
    "Flattened": ((2, 3, 2), (5,), flattened),
    "Flattened MLP": (
        (2, 3, 2), (5,),
        lambda *, rngs, **options: Flattened(
            MLP(12, (5,), width=6, zero_init=False, rngs=rngs, **options), (2, 3, 2)
        ),
    ),
    "ConvEncoder, gated": ((8, 8, 1), (5,), functools.partial(ConvEncoder, (8, 8, 1), 5, hidden=6, **SMALL)),
    "ConvEncoder, residual": (
        (4, 6, 2), (5,),
        functools.partial(ConvEncoder, (4, 6, 2), 5, hidden=6, kind="residual", **SMALL),
    ),
    "ConvDecoder, gated": ((7,), (8, 8, 1), functools.partial(ConvDecoder, 7, (8, 8, 1), **SMALL)),
    "ConvDecoder, residual": (
        (7,), (4, 6, 2, 3),
        functools.partial(ConvDecoder, 7, (4, 6, 2, 3), kind="residual", **SMALL),
    ),
}  # fmt: skip
every_net = pytest.mark.parametrize(("in_shape", "out_shape", "make"), NETS.values(), ids=NETS)
COMPILED = jax.jit(lambda net, x, key: net(x, key=key))


def inputs(shape, *batch):
    return np.random.RandomState(0).normal(size=(*batch, *shape)).astype(np.float32)


@every_net
def test_batch_axes_agree_and_a_new_network_is_not_constant(in_shape, out_shape, make):
    net, x = make(rngs=nnx.Rngs(0)), inputs(in_shape, 2, 3)
    assert net.out_shape == out_shape

    @jax.jit
    def calls(net, x):
        return net(x), net(x[0]), net(x[0, 1]), jax.vmap(net)(x[0])

    out, rows, single, mapped = (np.asarray(out) for out in calls(net, x))
    assert out.shape == (2, 3, *out_shape)
    assert out.dtype == np.float32
    assert 0.05 < out.std() < 5.0
    assert np.abs(out[0, 0] - out[1, 1]).max() > 0.01
    assert np.allclose(rows, out[0], atol=1e-5)
    assert np.allclose(single, out[0, 1], atol=1e-5)
    assert np.allclose(mapped, out[0], atol=1e-5)


@every_net
def test_dropout_comes_with_a_key_and_an_example_has_its_own(in_shape, out_shape, make):
    del out_shape
    net, x = make(rngs=nnx.Rngs(0), dropout=0.5), inputs(in_shape, 3)
    plain = COMPILED(make(rngs=nnx.Rngs(0)), x, None)
    assert np.array_equal(COMPILED(net, x, None), plain)
    keys = example_keys(jax.random.key(0), 3)
    out = COMPILED(net, x, keys)
    assert np.abs(out - plain).max(axis=tuple(range(1, out.ndim))).min() > 1e-3
    assert np.allclose(COMPILED(net, x, keys), out)
    assert np.allclose(COMPILED(net, x[::-1], keys[::-1]), out[::-1], atol=1e-5)
    assert np.abs(COMPILED(net, x, keys[::-1]) - out).max() > 1e-3


@every_net
def test_every_parameter_has_a_finite_gradient_that_is_not_zero(in_shape, out_shape, make):
    del out_shape
    net = make(rngs=nnx.Rngs(0))

    @jax.jit
    def gradient(net, x):
        return jax.grad(lambda net: jnp.sin(net(x) + 0.5).sum())(net)

    gradients = jax.device_get(gradient(net, inputs(in_shape, 3)))
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 1e-6, path


@every_net
def test_mixed_precision_keeps_parameters_and_output_in_float32(in_shape, out_shape, make):
    del out_shape
    net, mixed = make(rngs=nnx.Rngs(0)), make(rngs=nnx.Rngs(0), compute_dtype="bfloat16")
    x = inputs(in_shape, 3)
    out, exact = COMPILED(mixed, x, None), COMPILED(net, x, None)
    assert out.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(mixed))
    assert 1e-5 < np.abs(out - exact).max() / np.abs(exact).max() < 0.1


def test_a_gated_layer_is_a_product_with_sigmoids():
    net = GatedMLP(3, (2,), width=4, depth=1, rngs=nnx.Rngs(0))
    net.hidden[0].bias[...] = jnp.arange(8.0, dtype=jnp.float32) - 3.0
    x = inputs((3,), 5)
    kernel, bias = (np.asarray(param[...]) for param in (net.hidden[0].kernel, net.hidden[0].bias))
    value, control = x @ kernel[:, :4] + bias[:4], x @ kernel[:, 4:] + bias[4:]
    hidden = value / (1.0 + np.exp(-control))
    assert np.allclose(net(x), hidden @ np.asarray(net.last.kernel[...]), atol=1e-5)


def test_float64_data_are_computed_in_float64():
    net = GatedMLP(3, (2,), width=4, rngs=nnx.Rngs(0))
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), net)
    x = inputs((3,), 5)
    out = np.asarray(COMPILED(wide, x.astype(np.float64), None))
    assert out.dtype == np.float64
    assert 0.0 < np.abs(out - np.asarray(COMPILED(net, x, None))).max() < 1e-5


@pytest.mark.parametrize("kind", ["gated", "residual"])
@pytest.mark.parametrize(
    ("shape", "widths", "grid"),
    [
        ((28, 28, 1), (16, 32, 32), (7, 7, 32)),
        ((8, 8, 1), (16, 32), (4, 4, 32)),
        ((32, 32, 3), (16, 32, 64, 64), (4, 4, 64)),
        ((5, 7, 2), (8,), (5, 7, 8)),
    ],
)
def test_sizes_of_the_images_in_use(shape, widths, grid, kind):
    """Shapes only: nothing is computed."""

    def autoencode():
        options = {"widths": widths, "depth": 2, "kind": kind, "rngs": nnx.Rngs(0)}
        encoder = ConvEncoder(shape, 10, **options)
        decoder = ConvDecoder(10, (*shape, 4), **options)
        assert decoder.grid == grid
        features = encoder(jnp.zeros((3, *shape), jnp.float32))
        return features, decoder(features)

    features, out = jax.eval_shape(autoencode)
    assert features.shape == (3, 10)
    assert out.shape == (3, *shape, 4)


@pytest.mark.parametrize("kind", ["gated", "residual"])
def test_a_pixel_of_the_decoder_sees_all_latents_and_the_encoder_all_pixels(kind):
    options = {**SMALL, "kind": kind, "rngs": nnx.Rngs(0)}
    encoder, decoder = (
        ConvEncoder((8, 8, 1), 2, hidden=6, **options),
        ConvDecoder(3, (8, 8, 1), **options),
    )
    of_encoder = jax.jit(jax.jacrev(encoder))(inputs((8, 8, 1)))
    of_decoder = jax.jit(jax.jacfwd(decoder))(inputs((3,)))
    assert (np.abs(of_encoder) > 1e-9).all()
    assert (np.abs(of_decoder) > 1e-9).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rngs: GatedMLP(3, (2,), width=0, rngs=rngs), "at least 1"),
        (lambda rngs: GatedMLP(3, (2,), width=4, dropout=1.0, rngs=rngs), "dropout"),
        (lambda rngs: GatedMLP(3, (2,), width=4, compute_dtype="int8", rngs=rngs), "compute_dtype"),
        (lambda rngs: ConvEncoder((28, 28, 1), 2, widths=(4,) * 4, rngs=rngs), "divisible by 8"),
        (lambda rngs: ConvEncoder((28, 28), 2, rngs=rngs), "images"),
        (lambda rngs: ConvEncoder((8, 8, 1, 1), 2, rngs=rngs), "images"),
        (lambda rngs: ConvDecoder(2, (8, 8, 1), widths=(), rngs=rngs), "at least one width"),
        (lambda rngs: ConvDecoder(2, (8, 8, 1), depth=0, rngs=rngs), "depth"),
        (lambda rngs: ConvDecoder(2, (8, 8, 1), kind="dense", rngs=rngs), "kind"),
        (
            lambda rngs: ConvDecoder(2, (8, 8, 1), widths=(2,), rngs=rngs)(inputs((3,))),
            "expected an array",
        ),
        (lambda rngs: flattened(rngs=rngs)(inputs((12,))), "expected an array"),
    ],
)
def test_settings_that_do_not_fit_say_so(make, message):
    with pytest.raises(ValueError, match=message):
        make(nnx.Rngs(0))


@pytest.mark.parametrize(
    ("shape", "widths"),
    [
        ((4, 4, 1), [4]),  # nothing to halve
        ((8, 8, 1), [4, 8]),
        ((12, 16, 1), [4, 8, 8]),
        ((64, 64, 1), [4, 8, 8]),  # twice at most
        ((8, 10, 1), [4, 8]),
        ((7, 8, 1), [4]),
    ],
)
def test_coarser_resolutions_have_twice_the_channels(shape, widths):
    made = jax.eval_shape(
        lambda: dgm.VAE(shape, latent_dim=2, network="gated_conv", width=4, rngs=nnx.Rngs(0))
    )
    for net in (made.encoder, made.decoder):
        assert [blocks[0].inner.conv.kernel.shape[2] for blocks in net.blocks] == widths
