"""RealNVP and NICE on images, the options of Glow, levels: layouts, initialisation, messages."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm

pytestmark = pytest.mark.usefixtures("x32")


def parameters(make) -> int:
    params, _, _ = dgm.training.partition(jax.eval_shape(make))
    return sum(array.size for array in params.values())


@pytest.fixture(scope="module")
def images(x32) -> jax.Array:
    del x32
    noise = jax.random.normal(jax.random.key(0), (64, 8, 8, 2))
    mixed = jnp.stack([noise[..., 0], 0.9 * noise[..., 0] + 0.1 * noise[..., 1]], -1)
    return 20.0 + 5.0 * mixed + 3.0 * mixed[:, :1]


@pytest.mark.slow
def test_realnvp_has_the_parameters_of_the_paper():
    """6.4 million for CIFAR-10: 2 scales, 3 couplings a group and 4 in the last, 8 blocks of width 64."""
    found = parameters(
        lambda: dgm.ImageRealNVP((32, 32, 3), hidden_layers=8, widen=False, rngs=nnx.Rngs(0))
    )
    assert abs(found / 6.4e6 - 1) < 0.01, found


def test_realnvp_factors_half_out_and_its_last_scale_has_one_coupling_more():
    flow = jax.eval_shape(
        lambda: dgm.ImageRealNVP((8, 8, 3), hidden_layers=1, width=4, rngs=nnx.Rngs(0))
    )
    assert flow.multi_scale.latent_shapes == [(4, 4, 6), (4, 4, 6)]
    couplings = [
        sum(isinstance(module, dgm.ImageCoupling) for _, module in nnx.iter_modules(level))
        for level in flow.multi_scale.levels
    ]
    # Of a group of three the first two are one layer of a stack, and of a group of four all are.
    assert couplings == [6, 2]


@pytest.mark.parametrize(
    "normalization",
    [
        pytest.param("actnorm", marks=pytest.mark.slow),
        pytest.param("batch", marks=pytest.mark.slow),
        "none",
    ],
)
@pytest.mark.slow
def test_a_fresh_realnvp_only_normalizes(images, normalization):
    flow = dgm.ImageRealNVP(
        (8, 8, 2),
        depth=2,
        width=4,
        hidden_layers=1,
        normalization=normalization,
        rngs=nnx.Rngs(0),
    )
    fresh = flow.bijector.inverse(images)
    chex.assert_trees_all_close(
        jnp.sort(fresh, -1), jnp.sort(images.reshape(64, -1), -1), rtol=1e-4
    )
    ready = flow.with_data_init(images)
    parts = ready.multi_scale.split_latents(ready.bijector.inverse(images))
    spread = [float(part.std()) for part in parts]
    if normalization == "none":
        assert min(spread) > 3.0
    else:
        np.testing.assert_allclose(spread, 1.0, atol=0.1)
    x = ready.bijector.forward(ready.bijector.inverse(images))
    np.testing.assert_allclose(x, images, atol=1e-3)


def test_nice_on_images_is_nice_on_their_pixels(images):
    image = dgm.NICE((8, 8, 2), width=8, rngs=nnx.Rngs(0))
    vector = dgm.NICE((128,), width=8, rngs=nnx.Rngs(0))
    x = images / 10.0
    np.testing.assert_allclose(image.log_prob(x), vector.log_prob(x.reshape(64, 128)), rtol=1e-6)
    assert image.sample(seed=jax.random.key(0), sample_shape=(2,)).shape == (2, 8, 8, 2)


def test_principal_axes_decorrelate_the_channels(images):
    flow = dgm.Glow((8, 8, 2), levels=1, depth=1, width=4, principal=True, rngs=nnx.Rngs(0))
    flow = flow.with_data_init(images)
    squeeze, conv = flow.multi_scale.levels[0].layers[:2]
    z = conv.inverse(squeeze.inverse(images)).reshape(-1, 8)
    covariance = np.cov(np.asarray(z), rowvar=False)
    variances = np.diag(covariance)
    assert np.all(np.diff(variances) <= 1e-4 * variances[0])
    off = covariance - np.diag(variances)
    assert np.abs(off).max() < 1e-4 * variances[0]
    # The data were correlated.
    raw = np.corrcoef(np.asarray(squeeze.inverse(images)).reshape(-1, 8), rowvar=False)
    assert np.abs(raw - np.eye(8)).max() > 0.9


def test_each_step_of_a_stack_shuffles_in_its_own_way():
    flow = dgm.Glow((8, 8, 1), levels=1, depth=4, width=4, mixing="shuffle", rngs=nnx.Rngs(0))
    (stack,) = (m for m in flow.multi_scale.levels[0].layers if isinstance(m, dgm.Stack))
    orders = {tuple(np.asarray(step.layers[1].permutation)) for step in stack.layers}
    assert len(orders) > 1
    assert all(sorted(order) == list(range(4)) for order in orders)


@pytest.mark.slow
def test_temperature_of_a_level_scales_its_latents_only(images):
    flow = dgm.Glow((8, 8, 2), levels=2, depth=1, width=4, rngs=nnx.Rngs(0)).with_data_init(images)
    temperature = flow.multi_scale.per_level([0.0, 1.0])
    x = flow.sample(seed=jax.random.key(0), sample_shape=(3,), temperature=temperature)
    fine, coarse = flow.multi_scale.split_latents(flow.bijector.inverse(x))
    np.testing.assert_allclose(fine, 0.0, atol=1e-4)
    assert float(coarse.std()) > 0.5
    with pytest.raises(ValueError, match="expected 2 values, one a level, got 3"):
        flow.multi_scale.per_level([1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    "anchor_every",
    [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)],
)
def test_anchors_change_no_gradient(images, anchor_every):
    def gradient(**options):
        flow = dgm.Glow(
            (8, 8, 2), levels=1, depth=4, width=4, **options, rngs=nnx.Rngs(0)
        ).with_data_init(images)
        params, fixed, merge = dgm.training.partition(flow)
        return jax.jit(jax.grad(lambda p: merge(p, fixed).log_prob(images).mean()))(params)

    got, expected = gradient(anchor_every=anchor_every), gradient(reversible=False)
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    chex.assert_trees_all_close(got, expected, atol=1e-4 * scale)


@pytest.mark.slow
def test_anchors_store_what_they_say():
    """Between the memory of the reversible and that of the plain stack, and exact where each step has an anchor."""

    def temporary(**options) -> int:
        flow = dgm.Glow((8, 8, 2), levels=1, depth=16, width=8, **options, rngs=nnx.Rngs(0))
        params, fixed, merge = dgm.training.partition(flow)
        loss = jax.grad(lambda p, x: -merge(p, fixed).log_prob(x).mean())
        compiled = jax.jit(loss).lower(params, jnp.zeros((64, 8, 8, 2))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    none, few, plain = temporary(), temporary(anchor_every=4), temporary(reversible=False)
    activation = 64 * 8 * 8 * 2 * 4
    assert none < few < plain
    assert few - none < 3 * 4 * activation, (none, few)


BAD = {
    "sides": (lambda: dgm.Glow((28, 28, 1), rngs=nnx.Rngs(0)), "pad the images to 32x32 with"),
    "sides, RealNVP": (
        lambda: dgm.ImageRealNVP((6, 6, 1), levels=3, rngs=nnx.Rngs(0)),
        "pad the images to 8x8 with",
    ),
    "no image": (lambda: dgm.Glow((64,), rngs=nnx.Rngs(0)), r"expected image events \(h, w, c\)"),
    "mixing": (lambda: dgm.Glow((8, 8, 1), mixing="lu", rngs=nnx.Rngs(0)), "'conv1x1', 'shuffle'"),
    "an image for the flow on vectors": (
        lambda: dgm.RealNVP((8, 8, 1), rngs=nnx.Rngs(0)),
        "dgmjax.ImageRealNVP is the one for images",
    ),
    "a vector for the flow on images": (
        lambda: dgm.ImageRealNVP((8,), levels=2, rngs=nnx.Rngs(0)),
        "ImageRealNVP: expected image events \\(h, w, c\\)",
    ),
    "normalization": (
        lambda: dgm.ImageRealNVP((8, 8, 1), normalization="layer", rngs=nnx.Rngs(0)),
        "'actnorm', 'batch', 'none'",
    ),
    "anchors of a plain stack": (
        lambda: dgm.Stack([dgm.Elementwise(dgm.TanhTransformer(), (2,))] * 4, anchor_every=2),
        "anchor_every is for reversible stacks",
    ),
    "anchors that do not divide": (
        lambda: dgm.Stack(
            [dgm.Elementwise(dgm.TanhTransformer(), (2,))] * 4, reversible=True, anchor_every=3
        ),
        "divides the number of layers, 4; got 3",
    ),
    "init": (
        lambda: dgm.Invertible1x1Conv((4, 4, 2), init="pca", rngs=nnx.Rngs(0)),
        "'random' or 'principal'",
    ),
    "reshape": (lambda: dgm.Reshape((2, 3), (5,)), "shapes of one size"),
    "levels": (
        lambda: dgm.Flow(dgm.Elementwise(dgm.TanhTransformer(), (2,))).multi_scale,
        "only flows that end in a MultiScale have levels",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_messages(case):
    make, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        make()
