"""Facts of the layers for images that the laws do not state, and the laws of more of their variants."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.bijectors.coupling_masks import checkerboard_mask, half_mask, image_mask
from dgmjax.bijectors.image_coupling import pixel_coupling_forward
from dgmjax.bijectors.linear import plu_forward
from dgmjax.bijectors.squeeze import squeeze, squeezed_shape, unsqueeze
from dgmjax.layers.image_coupling import ImageCoupling
from dgmjax.layers.invertible_conv import Invertible1x1Conv
from dgmjax.layers.linear import PLULinear
from dgmjax.layers.serialization.recorded import build, record_of
from dgmjax.layers.squeeze import Squeeze
from dgmjax.testing import cast, scramble
from tests.rows.image import image_coupling


def normal(*shape: int, seed: int = 0, dtype: type = np.float64) -> jax.Array:
    return jnp.asarray(np.random.RandomState(seed).normal(size=shape).astype(dtype))


# Squeezing.


def test_squeeze_takes_the_positions_of_the_lecture():
    """D3-16: the positions 1 2 5 6 / 3 4 7 8 become two pixels of four channels."""
    figure = jnp.array([[1, 2, 5, 6], [3, 4, 7, 8]])[..., None]
    channels = [[[1, 2, 3, 4], [5, 6, 7, 8]]]
    assert squeeze(figure, order="inner").tolist() == channels
    assert squeeze(figure, order="outer").tolist() == channels
    # Upper left, lower right, upper right, lower left: the matrix of squeeze_2x2_ordered.
    assert squeeze(figure, order="checkerboard").tolist() == [[[1, 4, 2, 3], [5, 8, 6, 7]]]


def test_orders_of_several_channels():
    """Two channels a, b of one block: a1 is 11, b4 is 24."""
    block = jnp.array([[[11, 21], [12, 22]], [[13, 23], [14, 24]]])
    expected = {
        "inner": [11, 12, 13, 14, 21, 22, 23, 24],
        "outer": [11, 21, 12, 22, 13, 23, 14, 24],
        "checkerboard": [11, 21, 14, 24, 12, 22, 13, 23],
    }
    for order, channels in expected.items():
        assert squeeze(block, order=order).ravel().tolist() == channels, order


@pytest.mark.parametrize("order", ["inner", "outer", "checkerboard"])
@pytest.mark.parametrize(("shape", "factor"), [((4, 2, 3), 2), ((2, 3, 4, 8, 1), 4)])
def test_unsqueeze_undoes_squeeze(order, shape, factor):
    x = jnp.arange(np.prod(shape)).reshape(shape)
    z = squeeze(x, order=order, factor=factor)
    assert z.shape == squeezed_shape(shape, order=order, factor=factor)
    assert jnp.array_equal(unsqueeze(z, order=order, factor=factor), x)
    back = squeeze(unsqueeze(z, order=order, factor=factor), order=order, factor=factor)
    assert jnp.array_equal(back, z)


@pytest.mark.parametrize("factor", [2, 4])
def test_the_checkerboard_order_puts_the_even_squares_first(factor):
    even = jnp.asarray(np.broadcast_to(checkerboard_mask((8, 4))[..., None], (8, 4, 3)))
    channels = squeeze(even, order="checkerboard", factor=factor)
    half = jnp.asarray(half_mask(3 * factor**2))
    assert jnp.array_equal(channels, jnp.broadcast_to(half, channels.shape))


def test_the_squeeze_layer_has_channels_on_the_latent_side():
    layer = Squeeze((4, 6, 3), order="outer")
    assert (layer.event_shape, layer.latent_shape) == ((4, 6, 3), (2, 3, 12))
    x = normal(5, 4, 6, 3)
    z, log_det = layer.inverse_and_log_det(x)
    assert jnp.array_equal(z, squeeze(x, order="outer"))
    assert jnp.array_equal(log_det, jnp.zeros(5))
    assert dgm.Inverse(layer).event_shape == (2, 3, 12)
    assert jax.eval_shape(Squeeze((3, 6, 1), factor=3).inverse, normal(3, 6, 1)).shape == (1, 2, 9)


def test_a_recorded_squeeze_is_built_again():
    layer = Squeeze((4, 4, 1), order="checkerboard")
    again = build(record_of(layer), rngs=nnx.Rngs(0))
    assert jax.tree.structure(again) == jax.tree.structure(layer)


# Couplings.


def test_masks_of_images():
    checkerboard = image_mask("checkerboard", (2, 3, 5))
    assert checkerboard[..., 0].tolist() == [[True, False, True], [False, True, False]]
    assert np.array_equal(image_mask("checkerboard_odd", (2, 3, 5)), ~checkerboard)
    assert image_mask("channel", (2, 3, 3)).tolist() == [[[True, True, False]]]
    assert image_mask("channel_swapped", (2, 3, 3)).tolist() == [[[False, False, True]]]
    pixels, channels = [[True, False]], [False, True, True]
    assert image_mask(pixels, (1, 2, 3)).tolist() == [[[True], [False]]]
    assert image_mask(channels, (1, 2, 3)).tolist() == [[channels]]


@pytest.mark.parametrize(
    ("mask", "event_shape"),
    [
        ("checkerboard", (3, 2, 2)),
        ("checkerboard_odd", (3, 2, 2)),
        ("channel", (2, 2, 3)),
        ("channel_swapped", (2, 2, 3)),
    ],
)
def test_jacobian_has_the_blocks_of_a_coupling(mask, event_shape):
    """D3-14: identity on what is kept, diagonal on what is moved, which depends on what is kept within its reach."""
    # With this scale all-zero parameters, as those where the mask is True, are not the identity.
    make = image_coupling(event_shape, mask, dgm.bijectors.AffineTransformer("sigmoid"))
    layer = cast(scramble(make(nnx.Rngs(0)), jax.random.key(0)), float)
    z = normal(*event_shape)
    jacobian, log_det = jax.jit(lambda z: (jax.jacfwd(layer.forward)(z), layer.forward_log_det(z)))(
        z
    )
    jacobian = np.asarray(jacobian).reshape(z.size, z.size)
    kept = np.broadcast_to(image_mask(mask, event_shape), event_shape).ravel()
    assert np.array_equal(jacobian[kept][:, kept], np.eye(kept.sum()))
    assert not jacobian[kept][:, ~kept].any()
    moved = jacobian[~kept][:, ~kept]
    assert np.array_equal(moved, np.diag(np.diag(moved)))
    # 3x3 windows: on the small images above every moved element sees kept ones of every channel.
    assert (jacobian[~kept][:, kept] != 0).any(-1).all()
    np.testing.assert_allclose(log_det, np.log(np.diag(moved)).sum(), rtol=1e-12)


def test_equal_swapped_layers_alternate():
    """After one layer half of the channels is as it was, after two none."""
    make = image_coupling((2, 2, 4), "channel", swap=True)
    layers = [scramble(make(nnx.Rngs(seed)), jax.random.key(seed)) for seed in range(2)]
    z = normal(3, 2, 2, 4, dtype=np.float32)
    once = np.asarray(jax.jit(layers[1].forward)(z))
    twice = np.asarray(jax.jit(dgm.Stack(layers).forward)(z))
    assert np.array_equal(once[..., :2], z[..., 2:])
    assert (abs(once[..., 2:] - z[..., :2]) > 1e-4).all()
    np.testing.assert_allclose(twice[..., :2], once[..., 2:], rtol=1e-5)
    assert (abs(twice[..., 2:] - z[..., 2:]) > 1e-4).all()


class Spy(nnx.Module):
    """Remembers the shapes and channels that it is given and asks for the identity."""

    def __init__(self, event_shape, out_channels, *, context_size=0):
        self.sizes = (event_shape, out_channels, context_size)

    def __call__(self, x, context=None, *, key=None):
        SEEN.append((x, context))
        return jnp.zeros((*x.shape[:-1], self.sizes[1]), x.dtype)


SEEN: list = []


def test_the_conditioner_sees_what_is_kept_and_where():
    transformer = dgm.bijectors.AffineTransformer()
    make = functools.partial(ImageCoupling, make_conditioner=Spy, transformer=transformer)
    x = normal(5, 2, 2, 3)
    SEEN.clear()
    pixels = make((2, 2, 3), mask="checkerboard")
    blind = make((2, 2, 3), mask="checkerboard", mask_channel=False)
    channels = make((2, 2, 3), mask="channel", context_shape=(2, 2, 7))
    assert pixels.conditioner.sizes == ((2, 2, 4), 6, 0)
    assert blind.conditioner.sizes == ((2, 2, 3), 6, 0)
    assert channels.conditioner.sizes == ((2, 2, 2), 2, 7)
    context = normal(5, 2, 2, 7)
    with jax.disable_jit():  # so that the network sees values
        for layer in (pixels, blind):
            assert jnp.array_equal(layer.inverse(x), x)
        channels.inverse(x, context)
    mask = jnp.broadcast_to(jnp.array([[1.0, 0.0], [0.0, 1.0]])[..., None], (5, 2, 2, 1))
    (seen, _), (unmarked, _), (kept, given) = SEEN
    assert jnp.array_equal(seen, jnp.concatenate([x * mask, mask], axis=-1))
    assert jnp.array_equal(unmarked, x * mask)
    assert jnp.array_equal(kept, x[..., :2])
    assert jnp.array_equal(given, context)


class Averaging(Spy):
    """A network with a data-dependent part: the mean of what it sees."""

    def __init__(self, event_shape, out_channels, *, context_size=0):
        super().__init__(event_shape, out_channels, context_size=context_size)
        self.mean = nnx.Param(jnp.zeros(event_shape[-1:], jnp.float32))

    def with_data_init(self, x, context=None):
        SEEN.append((x, context))
        new = nnx.clone(self)
        new.mean = nnx.Param(x.mean((0, 1, 2)))
        return new


@pytest.mark.parametrize("mask", ["checkerboard", "channel"])
def test_data_dependent_networks_are_initialized_on_what_they_see(mask):
    layer = ImageCoupling(
        (2, 2, 3),
        mask=mask,
        make_conditioner=Averaging,
        transformer=dgm.bijectors.AffineTransformer(),
        context_shape=(2,),
    )
    x, context = normal(5, 2, 2, 3, dtype=np.float32), normal(5, 2, dtype=np.float32)
    SEEN.clear()
    new = layer.with_data_init(x, context)
    with jax.disable_jit():
        new.inverse(x, context)
    (initial, initial_context), (seen, seen_context) = SEEN
    assert jnp.array_equal(initial, seen)
    assert jnp.array_equal(initial_context, seen_context)
    assert jnp.array_equal(new.conditioner.mean[...], seen.mean((0, 1, 2)))
    assert not layer.conditioner.mean[...].any()
    assert layer.depends_on_data
    assert not image_coupling((2, 2, 3), mask)(nnx.Rngs(0)).depends_on_data


def test_unused_parameters_may_overflow():
    """What the network returns where the mask is True reaches neither the values nor the gradient."""
    mask, z = image_mask("checkerboard", (2, 2, 1)), normal(2, 2, 1, dtype=np.float32)
    transformer = dgm.bijectors.AffineTransformer("exp")

    def total(scale):
        raw = jnp.where(jnp.asarray(mask), 1e4, 0.5).astype(z.dtype) * scale
        params = jnp.stack([raw, raw], axis=-1)
        x, log_det = pixel_coupling_forward(z, mask, lambda _: params, transformer)
        return x.sum() + log_det

    value, gradient = jax.value_and_grad(total)(jnp.ones((), z.dtype))
    kept, moved = np.asarray(z)[mask], np.asarray(z)[~mask]
    expected = kept.sum() + (moved * np.exp(0.5) + 0.5).sum() + 1.0
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, (0.5 * moved * np.exp(0.5)).sum() + 2.0, rtol=1e-5)


# 1x1 convolutions.


@pytest.mark.parametrize("parametrization", ["plu", "dense"])
def test_conv_multiplies_every_pixel_and_counts_it(parametrization):
    """L5-10: log-determinant h w log |det W|, against the full Jacobian of (2, 2, c)."""
    conv = Invertible1x1Conv((2, 2, 3), parametrization=parametrization, rngs=nnx.Rngs(0))
    conv = cast(scramble(conv, jax.random.key(0)), float)
    x = normal(2, 2, 3)
    z, log_det = conv.inverse_and_log_det(x)
    for row, column in np.ndindex(2, 2):
        np.testing.assert_allclose(z[row, column], conv.matrix @ x[row, column], rtol=1e-12)
    jacobian = jax.jacfwd(conv.inverse)(x).reshape(12, 12)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=1e-10)
    np.testing.assert_allclose(log_det, 4 * np.linalg.slogdet(conv.matrix)[1], rtol=1e-10)
    assert abs(log_det) > 0.1


def test_plu_starts_as_the_rotation_that_dense_starts_as():
    """L5-12: the factors reconstruct the initial rotation."""
    shape = (2, 2, 48)
    dense = Invertible1x1Conv(shape, parametrization="dense", rngs=nnx.Rngs(3))
    plu = Invertible1x1Conv(shape, rngs=nnx.Rngs(3))
    rotation = np.asarray(dense.matrix, np.float64)
    assert np.abs(rotation @ rotation.T - np.eye(48)).max() < 1e-6
    assert np.abs(np.asarray(plu.matrix) - rotation).max() < 1e-6
    assert np.abs(rotation - np.eye(48)).max() > 0.1
    assert abs(plu.inverse_log_det(normal(*shape, dtype=np.float32))) < 1e-4


def test_a_block_of_a_linear_layer_is_the_convolution_the_other_way_round():
    """There W multiplies the latent; with a zero bias it is the same family."""
    linear = cast(scramble(PLULinear((3,), rngs=nnx.Rngs(0)), jax.random.key(0)), float)
    conv = cast(Invertible1x1Conv((2, 2, 3), rngs=nnx.Rngs(1)), float)
    linear.bias = nnx.Param(jnp.zeros(3))
    for name in ("permutation", "sign"):
        setattr(conv, name, nnx.data(getattr(linear, name)))
    for name in ("lower", "upper", "log_scale"):
        setattr(conv, name, nnx.Param(getattr(linear, name)[...]))
    block, z = dgm.Block(linear, (2, 2)), normal(5, 2, 2, 3)
    x, log_det = block.forward_and_log_det(z)
    np.testing.assert_allclose(x, conv.inverse(z), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(log_det, conv.inverse_log_det(z), rtol=1e-12)
    pixel, _ = plu_forward(z[0, 1, 0], linear.factors, linear.bias[...])
    np.testing.assert_allclose(x[0, 1, 0], pixel, rtol=1e-12)


@pytest.mark.parametrize("parametrization", ["plu", "dense"])
def test_all_pixels_go_through_one_product_at_the_highest_precision(parametrization):
    conv = Invertible1x1Conv((8, 8, 3), parametrization=parametrization, rngs=nnx.Rngs(0))
    for direction in ("forward", "inverse"):
        jaxpr = jax.make_jaxpr(getattr(conv, direction))(normal(5, 8, 8, 3, dtype=np.float32))
        products = [
            eqn
            for eqn in _equations(jaxpr.jaxpr)
            if any(v.aval.shape[:-1] == (5, 8, 8) for v in eqn.outvars)
            and eqn.primitive.name in ("dot_general", "triangular_solve")
        ]
        assert [eqn.primitive.name for eqn in products] == ["dot_general"]
        assert products[0].params["precision"] == (jax.lax.Precision.HIGHEST,) * 2


def _equations(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            if hasattr(value, "jaxpr"):
                yield from _equations(value.jaxpr)


# Mistakes.


def coupling(event_shape, mask, **options):
    return lambda: image_coupling(event_shape, mask, **options)(nnx.Rngs(0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Squeeze((28, 7, 1)), r"divisible by 2, got 28x7 .*data.pad_to, to 28x8 for one"),
        (lambda: squeeze(normal(7, 7, 1)), r"three times: pad to 32x32"),
        (lambda: Squeeze((4, 4)), r"expected image events \(h, w, c\)"),
        (lambda: squeeze(normal(4, 4)), r"add a channel axis"),
        (lambda: squeeze(normal(4, 4, 1), order="glow"), "unknown order 'glow'"),
        (lambda: squeeze(normal(4, 4, 1), factor=1), "factor >= 2"),
        (lambda: squeeze(normal(3, 3, 1), order="checkerboard", factor=3), "an even factor"),
        (lambda: unsqueeze(normal(2, 2, 6)), r"multiple of 2\*\*2"),
        (coupling((4,), "channel"), "dgmjax.Coupling is for vectors"),
        (coupling((4, 4, 1), "channel"), "dgmjax.Squeeze makes 4 of one"),
        (coupling((1, 1, 4), "checkerboard"), "is True everywhere"),
        (coupling((4, 4, 2), "half"), "unknown name 'half'"),
        (coupling((4, 4, 2), [True, False, True]), r"of shape \(4, 4\), one a pixel, or \(2,\)"),
        (coupling((4, 4, 2), np.ones((4, 4))), "dtype float64"),
        (coupling((4, 4, 2), "checkerboard", swap=True), "swap exchanges two halves"),
        (coupling((4, 4, 3), "channel", swap=True), "swap exchanges two halves"),
        (coupling((4, 4, 2), "channel", context_shape=(4, 2, 3)), r"\(k,\) or \(4, 4, k\)"),
        (lambda: Invertible1x1Conv((4,), rngs=nnx.Rngs(0)), "are for vectors"),
        (
            lambda: Invertible1x1Conv((4, 4, 2), parametrization="qr", rngs=nnx.Rngs(0)),
            "'plu' or 'dense', got 'qr'",
        ),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
