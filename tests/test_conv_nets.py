"""Facts about the convolutional conditioners of image flows.

In float32: in float64 XLA's CPU backend takes ten times as long to compile a convolution.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.nets.conv import ZeroConv
from dgmjax.nets.conv_net import ConvNet
from dgmjax.nets.res_net import ResNet
from dgmjax.numerics.prng import example_keys
from dgmjax.testing import scramble

SHAPE, OUT, CONTEXT = (4, 5, 2), 3, 2

NETS = {
    "ConvNet": functools.partial(ConvNet, SHAPE, OUT, width=6),
    "ConvNet, context": functools.partial(ConvNet, SHAPE, OUT, width=6, context_size=CONTEXT),
    "ConvNet, plain": functools.partial(
        ConvNet, SHAPE, OUT, width=6, edge_padding=False, actnorm=False, activation="tanh"
    ),
    "ResNet": functools.partial(ResNet, SHAPE, OUT, width=6, depth=1),
    "ResNet, actnorm, context": functools.partial(
        ResNet, SHAPE, OUT, width=6, depth=2, normalization="actnorm", context_size=CONTEXT
    ),
}
every_net = pytest.mark.parametrize("make", NETS.values(), ids=NETS)
COMPILED = jax.jit(lambda net, x, context, key: net(x, context, key=key))


# NumPy outside of compiled functions, since JAX would compile every comparison for every shape.
def call(net, x, context=None, key=None):
    return np.asarray(COMPILED(net, x, context, key))


def images(*batch):
    return np.random.RandomState(0).normal(size=(*batch, *SHAPE)).astype(np.float32)


def contexts(net, *batch):
    if not net.context_size:
        return None
    return np.random.RandomState(1).normal(size=(*batch, CONTEXT)).astype(np.float32)


def scrambled(make, **settings):
    return scramble(make(rngs=nnx.Rngs(0), **settings), jax.random.key(1))


@every_net
def test_batch_axes_agree_and_so_does_vmap(make):
    net = scrambled(make)
    x, context = images(2, 3), contexts(net, 2, 3)
    row, one = (jax.tree.map(lambda c, at=at: c[at], context) for at in (0, (0, 1)))

    @jax.jit
    def calls(net, x, context, row, one):
        shared = jax.tree.map(lambda c: c[0, 1], context)  # one context for all images
        fewer = [net(x[0], row), net(x[0, 1], one), jax.vmap(net)(x[0], row), net(x[0], shared)]
        return net(x, context), *fewer

    outs = jax.device_get(calls(net, x, context, row, one))
    out, rows, single, mapped, shared = outs
    assert out.shape == (2, 3, 4, 5, OUT)
    assert np.abs(out).max() > 0.1
    assert np.allclose(rows, out[0], atol=1e-5)
    assert np.allclose(single, out[0, 1], atol=1e-5)
    assert np.allclose(mapped, out[0], atol=1e-5)
    assert np.allclose(shared[1], out[0, 1], atol=1e-5)
    if context is not None:
        assert np.abs(shared[0] - out[0, 0]).max() > 1e-3


@every_net
def test_zero_init_gives_zero_and_may_be_switched_off(make):
    for zero_init in (True, False):
        net = make(rngs=nnx.Rngs(0), zero_init=zero_init)
        out = call(net, images(2), contexts(net, 2))
        assert out.dtype == jnp.float32
        assert bool((out == 0.0).all()) == zero_init


@every_net
def test_every_parameter_has_a_finite_gradient_that_is_not_zero(make):
    net = scrambled(make)

    @jax.jit
    def gradient(net, x, context):
        return jax.grad(lambda net: jnp.sin(net(x, context)).sum())(net)

    gradients = jax.device_get(gradient(net, images(3), contexts(net, 3)))
    for path, leaf in dgm.training.partition(gradients)[0].items():
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 1e-8, path


@every_net
def test_two_networks_can_be_stacked_and_scanned(make):
    nets = [scramble(make(rngs=nnx.Rngs(i)), jax.random.key(i)) for i in range(2)]
    assert jax.tree.structure(nets[0]) == jax.tree.structure(nets[1])
    x, context = images(2), contexts(nets[0], 2)

    @jax.jit
    def scan(nets, x):
        return jax.lax.scan(lambda x, net: (x, net(x, context)), x, nets)[1]

    outs = jax.device_get(scan(jax.tree.map(lambda *a: np.stack(a), *nets), x))
    assert np.allclose(outs[1], call(nets[1], x, context), atol=1e-5)
    assert not np.allclose(outs[0], outs[1], atol=1e-2)


@jax.jit
def inputs_of_activations(net, x, context):
    """What the activations meet, in the order of the network."""
    seen = []
    activation = dgm.nets.ACTIVATIONS[net.activation]

    def record(x):
        seen.append(x)
        return activation(x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(dgm.nets.ACTIVATIONS, net.activation, record)
        net(x, context)
    return seen


@pytest.mark.parametrize("name", ["ConvNet", "ConvNet, context", "ResNet, actnorm, context"])
def test_data_init_standardizes_the_inputs_of_the_activations(name):
    net = NETS[name](rngs=nnx.Rngs(0))
    x, context = 3.0 * images(16) + 1.0, contexts(net, 16)
    new = jax.jit(lambda net, x, context: net.with_data_init(x, context))(net, x, context)
    assert jax.tree.structure(new) == jax.tree.structure(net)
    assert not any(np.any(norm.shift) for norm in net.norms)  # the old one is as it was
    hidden = jax.device_get(inputs_of_activations(new, x, context))
    assert len(hidden) == len(net.norms)
    for values in hidden:
        rows = values.reshape(-1, values.shape[-1])
        assert np.allclose(rows.mean(0), 0.0, atol=1e-5)
        assert np.allclose(rows.var(0), 1.0, atol=1e-5)


def test_data_init_without_normalizations_changes_nothing():
    net = NETS["ResNet"](rngs=nnx.Rngs(0))
    assert net.with_data_init(images(2)) is net


@pytest.mark.parametrize("name", ["ConvNet", "ResNet"])
def test_dropout_of_an_example_is_its_own_and_repeats(name):
    net = scrambled(NETS[name], dropout=0.5)
    x, keys = images(3), example_keys(jax.random.key(0), 3)
    out = call(net, x, key=keys)
    assert np.array_equal(call(net, x, key=keys), out)
    assert np.allclose(call(net, x[1], key=keys[1]), out[1], atol=1e-5)
    assert not np.allclose(out, call(net, x), atol=1e-3)
    assert not np.allclose(out, call(net, x, key=keys[::-1]), atol=1e-3)


@pytest.mark.parametrize("name", ["ConvNet, context", "ResNet"])
def test_mixed_precision_keeps_parameters_and_output_in_float32(name):
    net = scrambled(NETS[name])
    mixed = scrambled(NETS[name], compute_dtype="bfloat16")
    x, context = images(3), contexts(net, 3)
    out, exact = call(mixed, x, context), call(net, x, context)
    assert out.dtype == jnp.float32
    error = np.abs(out - exact).max() / np.abs(exact).max()
    assert 1e-5 < error < 0.05

    @jax.jit
    def gradient_and_init(net):
        gradient = jax.grad(lambda net: net(x, context).sum())(net)
        return gradient, net.with_data_init(x, context)

    for leaf in jax.tree.leaves((mixed, gradient_and_init(mixed))):
        assert leaf.dtype == jnp.float32


def test_glow_of_width_512_has_as_many_parameters_as_in_the_paper_s_code():
    """A coupling of the first scale of CIFAR-10: 6 channels in, 12 out."""
    net = nnx.eval_shape(lambda: ConvNet((16, 16, 6), 12, width=512, rngs=nnx.Rngs(0)))
    size = sum(leaf.size for leaf in dgm.training.partition(net)[0].values())
    first, second, last = 9 * (6 + 1) * 512, 512 * 512, 9 * (512 + 1) * 12
    assert size == first + second + last + 2 * (512 + 512) + 12 + 12


def test_edge_padding_is_a_channel_of_ones_around_the_image():
    """As Glow's code computes it: pad the image and its indicator, then convolve without padding."""
    net, x = scrambled(NETS["ConvNet"]).first, images(2)
    around = ((0, 0), (1, 1), (1, 1), (0, 0))
    indicator = np.pad(np.zeros((2, 4, 5, 1), x.dtype), around, constant_values=1.0)
    padded = np.concatenate([np.pad(x, around), indicator], -1)
    kernel = np.concatenate([net.kernel, net.edge], 2)
    layout = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(
        padded, kernel, (1, 1), "VALID", dimension_numbers=layout
    )
    assert np.allclose(jax.jit(net)(x), expected, atol=1e-5)


def test_the_zero_convolution_multiplies_its_output_by_the_cube_of_its_scales():
    new, x = ZeroConv(2, OUT, rngs=nnx.Rngs(0)), images(2)
    apply = jax.jit(lambda conv, x: conv(x))
    assert not np.any(apply(new, x))
    conv = scramble(new, jax.random.key(0))
    out = np.asarray(apply(conv, x))
    assert np.abs(out).max() > 0.1
    conv.log_scale[...] = conv.log_scale[...] + np.log(2.0).astype(x.dtype)
    assert np.allclose(apply(conv, x), 8.0 * out, atol=1e-5)


def test_kernels_of_the_residual_network_have_the_norms_of_their_scales():
    """A multiple of the direction is the same network, and the scale of the last multiplies its output."""
    net = scrambled(NETS["ResNet"])
    x = images(2)
    out = call(net, x)
    for conv in (net.first, net.inner[0], net.skips[1], net.last):
        conv.direction[...] = 3.0 * conv.direction[...]
    assert np.allclose(call(net, x), out, atol=1e-5)
    net.last.bias[...] = jnp.zeros(OUT, x.dtype)
    out = call(net, x)
    net.last.scale[...] = 2.0 * net.last.scale[...]
    assert np.allclose(call(net, x), 2.0 * out, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (ConvNet, {"in_shape": (4,)}, "use MLP for vectors"),
        (ConvNet, {"width": 0}, "at least 1"),
        (ConvNet, {"dropout": 1.0}, "dropout must be"),
        (ConvNet, {"activation": "mish"}, "unknown name"),
        (ConvNet, {"compute_dtype": "float8"}, "compute_dtype"),
        (ResNet, {"depth": 0}, "depth must be"),
        (ResNet, {"normalization": "batch"}, "normalization"),
    ],
)
def test_settings_out_of_range_are_named(make, settings, message):
    settings = {"in_shape": SHAPE, "out_channels": OUT, "width": 4, **settings}
    with pytest.raises(ValueError, match=message):
        make(**settings, rngs=nnx.Rngs(0))


def test_a_context_must_come_exactly_when_announced():
    x = images(2)
    with pytest.raises(ValueError, match="expected a context"):
        NETS["ConvNet, context"](rngs=nnx.Rngs(0))(x)
    with pytest.raises(ValueError, match="expected no context"):
        NETS["ResNet"](rngs=nnx.Rngs(0))(x, jnp.ones(CONTEXT, jnp.float32))
    with pytest.raises(ValueError, match="expected an array of shape"):
        NETS["ResNet"](rngs=nnx.Rngs(0))(x[..., :1])
