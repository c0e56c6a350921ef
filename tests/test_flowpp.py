"""Flow++: halves of images, its networks, the layout of the paper, the dequantization flow, roots of mixtures."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.bijectors.checkerboard import checkerboard_halves, checkerboard_image
from dgmjax.bijectors.coupling_masks import checkerboard_mask
from dgmjax.densities import logistic_mixture
from dgmjax.layers.checkerboard import CheckerboardHalves
from dgmjax.layers.halves_conv import HalvesConv
from dgmjax.models.flowpp import FlowPP
from dgmjax.models.flowpp_dequantizer import FlowPPDequantizer
from dgmjax.nets.gated_attention import GatedAttentionNet
from dgmjax.testing import cast, scramble

SMALL = {"width": 4, "depth": 1, "num_components": 2, "num_heads": 2}


def small(shape=(2, 4, 1), *, couplings=(2, 0, 0), **options) -> FlowPP:
    return FlowPP(shape, couplings=couplings, rngs=nnx.Rngs(0), **{**SMALL, **options})


def dequantizer(shape=(2, 2, 1), **options) -> FlowPPDequantizer:
    small = {**SMALL, "couplings": 2, "encoder_width": 2, "encoder_depth": 1}
    return FlowPPDequantizer(shape, rngs=nnx.Rngs(0), **{**small, **options})


def double(module):
    return cast(scramble(module, jax.random.key(0)), jnp.float64)


def size(make) -> int:
    params, _, _ = dgm.training.partition(jax.eval_shape(make))
    return sum(array.size for array in params.values())


def test_the_first_half_are_the_even_squares_in_their_order():
    x = jnp.arange(12.0).reshape(3, 4, 1)  # rows 0..3, 4..7, 8..11
    z = checkerboard_halves(x)
    np.testing.assert_array_equal(z[..., 0], [[0, 2], [5, 7], [8, 10]])
    np.testing.assert_array_equal(z[..., 1], [[1, 3], [4, 6], [9, 11]])
    np.testing.assert_array_equal(z[..., 0].ravel(), x[..., 0][checkerboard_mask((3, 4))])
    columns = checkerboard_halves(x, pattern="columns")
    np.testing.assert_array_equal(columns[..., 1], [[1, 3], [5, 7], [9, 11]])
    color = jax.random.normal(jax.random.key(0), (2, 3, 4, 2))
    halves = checkerboard_halves(color)
    np.testing.assert_array_equal(halves[..., 2:], checkerboard_halves(color)[..., 2:])
    np.testing.assert_array_equal(halves[:, 1, 1, :2], color[:, 1, 3])
    np.testing.assert_array_equal(checkerboard_image(halves), color)


def test_a_channel_coupling_of_halves_keeps_the_even_squares():
    layers = small().bijector.layers
    step = scramble(layers[1].layers[0].layers[-1], jax.random.key(1))
    layer = dgm.Chain([layers[0], step])
    x = jax.random.normal(jax.random.key(0), (3, 2, 4, 1), jnp.float32)
    latent = jax.jit(lambda layer, x: layer.inverse(x))(layer, x)
    z = checkerboard_image(jnp.roll(latent, 1, axis=-1))  # the halves changed places
    kept = checkerboard_mask((2, 4))
    np.testing.assert_array_equal(z[:, kept], x[:, kept])
    assert (z[:, ~kept] != x[:, ~kept]).all()


@pytest.mark.slow
def test_the_model_of_the_paper_has_its_parameters():
    """31,443,440 in the authors' code, whose context projections (8 blocks) add a second bias of 96 each."""
    shape = (32, 32, 3)
    flow = size(lambda: FlowPP(shape, rngs=nnx.Rngs(0)))
    noise = size(lambda: FlowPPDequantizer(shape, rngs=nnx.Rngs(0)))
    assert flow + noise + 8 * 96 == 31_443_440
    # The ablation without attention keeps the number.
    assert size(small) == size(lambda: small(attention=False))


@pytest.mark.parametrize(
    ("shape", "couplings", "latent"),
    [
        ((28, 28, 1), (4, 2, 3), (14, 14, 4)),
        ((8, 8, 1), (2, 0, 0), (8, 8, 1)),
        ((6, 6, 1), (1, 1, 0), (3, 3, 4)),
        ((8, 8, 3), (0, 0, 1), (4, 4, 12)),
    ],
)
def test_groups_may_be_left_out(shape, couplings, latent):
    flow = jax.eval_shape(lambda: small(shape, couplings=couplings))
    assert flow.bijector.latent_shape == latent
    stacks = [layer for layer in flow.bijector.layers if isinstance(layer, dgm.Stack)]
    assert [stack.num_layers for stack in stacks] == [count for count in couplings if count]
    x = jax.ShapeDtypeStruct((5, *shape), jnp.float32)
    assert jax.eval_shape(lambda flow, x: flow.log_prob(x), flow, x).shape == (5,)


def test_with_data_init_normalizes_every_element():
    spread = jnp.arange(1.0, 9.0, dtype=jnp.float32).reshape(1, 2, 4, 1)
    x = spread * jax.random.normal(jax.random.key(0), (200, 2, 4, 1), jnp.float32) + spread
    flow = small().with_data_init(x)
    halves, stack = flow.bijector.layers[:2]
    z = dgm.Chain(stack.layers[0].layers[:3]).inverse(halves.inverse(x))
    np.testing.assert_allclose(z.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(z.std(0), 1.0, atol=1e-5)


@functools.cache
def gradients(**options):
    x = jax.random.normal(jax.random.key(0), (3, 2, 4, 1))
    params, fixed, merge = dgm.training.partition(double(small(depth=2, **options)))
    loss = jax.jit(jax.grad(lambda p: merge(p, fixed).log_prob(x, key=jax.random.key(1)).sum()))
    return loss(params)


@pytest.mark.parametrize(
    "options",
    [
        {"reversible": True},
        pytest.param(
            {"reversible": False, "remat": True, "remat_blocks": True}, marks=pytest.mark.slow
        ),
    ],
)
@pytest.mark.slow
def test_rebuilt_and_recomputed_activations_give_the_gradients_of_the_plain_scan(options):
    plain, other = gradients(reversible=False), gradients(**options)
    for name, grad in plain.items():
        np.testing.assert_allclose(other[name], grad, rtol=1e-7, atol=1e-9, err_msg=name)


def test_dropout_is_one_map_in_both_directions():
    flow = double(small(dropout=0.5))
    x = jax.random.normal(jax.random.key(0), (3, 2, 4, 1))
    keys = jax.random.split(jax.random.key(2), 3)

    @jax.jit
    def there_and_back(flow, x):
        z, log_det = flow.bijector.inverse_and_log_det(x, key=keys)
        return z, log_det, *flow.bijector.forward_and_log_det(z, key=keys)

    z, log_det, back, forward_log_det = there_and_back(flow, x)
    np.testing.assert_allclose(back, x, atol=1e-9)
    np.testing.assert_allclose(log_det, -forward_log_det, atol=1e-9)
    assert not np.allclose(flow.bijector.inverse(x), z)


def net(shape, **options) -> GatedAttentionNet:
    options = {"width": 4, "depth": 2, "num_heads": 2, "zero_init": False, **options}
    made = GatedAttentionNet(shape, 3, rngs=nnx.Rngs(0), **options)
    return scramble(made, jax.random.key(0), scale=0.05)


def test_attention_sees_all_pixels_and_convolutions_their_neighbours():
    """Four 3x3 convolutions reach 4 columns."""
    shape = (1, 12, 2)
    x = jax.random.normal(jax.random.key(0), shape, jnp.float32)
    changed = x.at[0, 0].add(1.0)
    for attention in (True, False):
        model = jax.jit(net(shape, attention=attention))
        moved = np.abs(model(changed) - model(x)).max((0, 2)) > 0
        assert moved[:3].all()
        assert moved[5:].all() if attention else not moved[5:].any()


def test_a_context_of_pixels_may_be_one_of_the_image():
    shape = (2, 3, 2)
    x = jax.random.normal(jax.random.key(0), (4, *shape), jnp.float32)
    context = jax.random.normal(jax.random.key(1), (4, 5), jnp.float32)
    vector, pixels = (net(shape, context_size=5, pixel_context=flag) for flag in (False, True))
    spread = jnp.broadcast_to(context[:, None, None], (4, 2, 3, 5))
    run = jax.jit(lambda model, x, context: model(x, context))
    np.testing.assert_allclose(run(vector, x, context), run(pixels, x, spread), atol=1e-6)
    assert not np.allclose(run(vector, x, context), run(vector, x, context + 1.0))
    with pytest.raises(ValueError, match="expected a context"):
        vector(x)
    with pytest.raises(ValueError, match="expected no context"):
        net(shape)(x, context)


@pytest.mark.slow
def test_the_program_does_not_grow_with_the_number_of_blocks():
    def program(depth: int) -> str:
        model = net((4, 4, 2), depth=depth, width=8)
        x = jnp.zeros((2, 4, 4, 2), jnp.float32)
        return jax.jit(jax.grad(lambda m, x: m(x).sum())).lower(model, x).as_text()

    assert len(program(8)) < 1.02 * len(program(2))


def test_mixed_precision_is_of_the_network_only():
    shape = (2, 4, 2)
    x = jax.random.normal(jax.random.key(0), (3, *shape), jnp.float32)
    exact, rounded = net(shape), net(shape, compute_dtype="bfloat16")
    out, expected = jax.jit(lambda a, b, x: (a(x), b(x)))(rounded, exact, x)
    assert out.dtype == jnp.float32
    error = np.abs(out - expected).max()
    assert 0.0 < error < 0.05
    grads = jax.jit(jax.grad(lambda m: m(x, key=jax.random.key(0)).sum()))(rounded)
    for leaf in jax.tree.leaves(grads):
        assert leaf.dtype == jnp.float32
        assert np.isfinite(leaf).all()
    # Products in bfloat16, scores in float32.
    program = str(jax.make_jaxpr(rounded)(x))
    assert "preferred_element_type=float32" in program


def test_samples_of_the_dequantizer_have_the_density_of_the_change_of_variables():
    """``log q(u | y) = log N(eps) - log |det du/deps|``, the determinant by automatic differentiation."""
    flow = double(dequantizer())
    images = jax.random.uniform(jax.random.key(1), (2, 2, 2, 1), minval=-0.5, maxval=0.5)

    @jax.jit
    def both(flow, context):
        u, log_q = flow.sample_and_log_prob(seed=jax.random.key(3), context=context)
        eps = flow.base.sample(seed=jax.random.key(3), sample_shape=context.shape[:1])

        def to_unit(eps, context):
            return flow.bijector.forward(eps.reshape(2, 2, 1), context).ravel()

        jacobian = jax.vmap(jax.jacfwd(to_unit))(eps.reshape(2, 4), context)
        return u, log_q, flow.base.log_prob(eps) - jnp.linalg.slogdet(jacobian)[1]

    u, log_q, expected = both(flow, images)
    assert ((u > 0) & (u < 1)).all()
    np.testing.assert_allclose(log_q, expected, atol=1e-8)
    other, _, _ = both(flow, images[::-1])
    assert not np.allclose(u, other)


@pytest.mark.slow
def test_the_density_of_the_dequantizer_integrates_to_one():
    # Near its start the density vanishes at the edges, so that a grid resolves it.
    flow = cast(scramble(dequantizer((1, 2, 1)), jax.random.key(0), scale=0.05), jnp.float64)
    context = jnp.asarray([[[-0.3], [0.4]]])
    dgm.testing.check_density(flow, seed=jax.random.key(0), context=context, limits=(0.0, 1.0))


def test_the_dequantizer_trains_its_encoder_without_a_root():
    flow = scramble(dequantizer(), jax.random.key(0)).with_data_init(
        jnp.full((3, 2, 2, 1), 0.5, jnp.float32), jnp.ones((3, 2, 2, 1), jnp.float32)
    )
    params, fixed, merge = dgm.training.partition(flow)

    def loss(params, seed):
        return merge(params, fixed).sample_and_log_prob(
            seed=seed, context=jnp.ones((2, 2, 1), jnp.float32)
        )[1]

    program = jax.jit(jax.grad(loss)).lower(params, jax.random.key(0))
    image = jnp.full((2, 2, 1), 0.5, jnp.float32)
    other_direction = jax.jit(lambda flow: flow.log_prob(image, image)).lower(flow)
    roots = ["_solve" in lowered.as_text() for lowered in (program, other_direction)]
    assert roots == [False, True]
    grads = program.compile()(params, jax.random.key(0))
    encoder = [grad for name, grad in grads.items() if "encoder" in name]
    assert encoder
    for name, grad in grads.items():
        assert np.isfinite(grad).all(), name
    assert all((grad != 0).any() for grad in encoder)


@pytest.mark.slow
def test_newton_inverts_stiff_mixtures_in_few_steps(monkeypatch):
    """To 1e-5 in float32, with 32 components whose scales span e^7; the bound is on the worst of 500 mixtures."""
    keys = jax.random.split(jax.random.key(0), 5)
    shape = (500, 32)
    parameters = (
        jax.random.normal(keys[0], shape, jnp.float32),
        jax.random.normal(keys[1], shape, jnp.float32),
        jax.random.uniform(keys[2], shape, jnp.float32, -7.0, 0.0),
    )
    component = jax.random.categorical(keys[3], parameters[0])[:, None]
    mean, log_scale = (jnp.take_along_axis(a, component, 1)[:, 0] for a in parameters[1:])
    x = mean + jnp.exp(log_scale) * jax.random.logistic(keys[4], mean.shape, jnp.float32)
    evaluate = logistic_mixture.logistic_mixture_logit_cdf
    y, log_slope = evaluate(x, *parameters)
    count = 0

    def counted(*arguments):
        nonlocal count
        count += 1
        return evaluate(*arguments)

    monkeypatch.setattr(logistic_mixture, "logistic_mixture_logit_cdf", counted)
    with jax.disable_jit():
        back = logistic_mixture.logistic_mixture_logit_icdf(y, *parameters)
    # What the rounding of y leaves of x.
    rounding = 4 * np.finfo(np.float32).eps * (1 + np.abs(y)) * np.exp(-log_slope)
    assert (np.abs(back - x) <= 1e-5 * (1 + np.abs(x)) + rounding).all()
    assert count <= 30, count


BAD = {
    "vector": (lambda: small((8,)), r"expected image events \(h, w, c\)"),
    "odd sides": (lambda: small((7, 8, 1), couplings=(1, 1, 0)), "pad the images to 8x8"),
    "odd half": (lambda: small((6, 6, 1), couplings=(1, 1, 1)), "expected an even width"),
    "no couplings": (lambda: small(couplings=(0, 0, 0)), r"not all 0, got \(0, 0, 0\)"),
    "two groups": (lambda: small(couplings=(1, 1)), "expected three numbers"),
    "coupling": (lambda: small(coupling="spline"), "expected 'mixture' or 'affine', got 'spline'"),
    "heads": (lambda: small(num_heads=3), "num_heads must divide the 4 channels, got 3"),
    "context": (lambda: small(context_shape=(2, 4, 1)), r"expected context_shape \(k,\)"),
    "pattern": (lambda: CheckerboardHalves((2, 2, 1), pattern="rows"), "unknown pattern 'rows'"),
    "odd channels": (lambda: HalvesConv((2, 2, 3), rngs=nnx.Rngs(0)), "even c"),
    "no noise": (lambda: dequantizer(couplings=0), "couplings must be at least 1, got 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_impossible_layouts_say_what_to_do(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        make()
