"""Glow: the layout of the paper, its initialisation, its latents; one scan a level."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm

pytestmark = pytest.mark.usefixtures("x32")


def small(**options) -> dgm.Glow:
    return dgm.Glow((8, 8, 2), levels=2, depth=3, width=8, rngs=nnx.Rngs(0), **options)


@pytest.fixture(scope="module")
def images(x32) -> jax.Array:
    del x32
    noise = jax.random.normal(jax.random.key(0), (32, 8, 8, 2))
    return 20.0 + 5.0 * noise + 3.0 * noise[:, :1]


def test_latents_are_all_levels_and_come_apart(images):
    flow = small().with_data_init(images)
    z = flow.bijector.inverse(images)
    assert z.shape == (32, 128)
    parts = flow.multi_scale.split_latents(z)
    assert [part.shape[1:] for part in parts] == flow.multi_scale.latent_shapes
    assert [part.shape[1:] for part in parts] == [(4, 4, 4), (2, 2, 16)]
    np.testing.assert_array_equal(flow.multi_scale.join_latents(parts), z)
    np.testing.assert_allclose(flow.bijector.forward(z), images, atol=1e-4)


def test_after_the_initialisation_every_step_sees_standardised_channels(images):
    """The last step of a level is followed by nothing that changes them but its couplings, identities so far."""
    flow = small().with_data_init(images)
    for part in flow.multi_scale.split_latents(flow.bijector.inverse(images)):
        # A rotation of standardised channels; correlations make single variances differ from 1, not their mean.
        np.testing.assert_allclose(part.mean((0, 1, 2)), 0.0, atol=1e-4)
    level = flow.multi_scale.levels[0]
    x, norm = level.layers[0].inverse(images), level.layers[1].layers[0].layers[0]
    z = norm.inverse(x)
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(z.var((0, 1, 2)), 1.0, atol=1e-4)


@pytest.mark.slow
def test_the_layout_of_the_paper_has_its_parameters():
    """44.2 million for CIFAR-10, as papers print it, without the edge channels and with W counted once."""
    model = jax.eval_shape(lambda: dgm.Glow((32, 32, 3), rngs=nnx.Rngs(0)))
    params, _, _ = dgm.training.partition(model)
    edges = sum(a.size for name, a in params.items() if name.endswith("/edge"))
    # L and U are stored as full matrices.
    twice = sum(a.size for name, a in params.items() if name.endswith("/lower"))
    total = sum(a.size for a in params.values()) - edges - twice
    assert abs(total / 44.2e6 - 1) < 0.005, total
    steps = [level.layers[1].num_layers for level in model.multi_scale.levels]
    assert steps == [32, 32, 32]


@pytest.mark.slow
def test_the_model_of_celeba_has_192_steps():
    model = jax.eval_shape(
        lambda: dgm.Glow((256, 256, 3), levels=6, coupling="additive", rngs=nnx.Rngs(0))
    )
    assert sum(level.layers[1].num_layers for level in model.multi_scale.levels) == 192
    assert model.multi_scale.latent_shapes[-1] == (4, 4, 384)
    assert model.bijector.latent_shape == (256 * 256 * 3,)


@pytest.mark.slow
def test_reversible_gradients_are_those_of_the_plain_scan(images):
    with jax.enable_x64(True):
        x = jnp.asarray(images[:4], jnp.float64)

        def gradients(*, reversible: bool):
            flow = small(reversible=reversible).with_data_init(images)
            params, fixed, merge = dgm.training.partition(flow)
            keys = jax.random.split(jax.random.key(1), len(params))
            params = {
                name: a.astype(jnp.float64) + 0.05 * jax.random.normal(k, a.shape, jnp.float64)
                for k, (name, a) in zip(keys, params.items(), strict=True)
            }
            return jax.grad(lambda p: merge(p, fixed).log_prob(x).mean())(params)

        chex.assert_trees_all_close(
            gradients(reversible=True), gradients(reversible=False), rtol=1e-8, atol=1e-10
        )


@pytest.mark.slow
def test_memory_and_program_do_not_grow_with_the_depth():
    def compiled(depth: int, *, reversible: bool):
        flow = dgm.Glow(
            (8, 8, 2), levels=2, depth=depth, width=16, reversible=reversible, rngs=nnx.Rngs(0)
        )
        params, fixed, merge = dgm.training.partition(flow)
        loss = jax.grad(lambda p, x: -merge(p, fixed).log_prob(x).mean())
        return jax.jit(loss).lower(params, jnp.zeros((16, 8, 8, 2))).compile()

    shallow, deep = (compiled(depth, reversible=True) for depth in (2, 16))
    plain = compiled(16, reversible=False)
    memory = [c.memory_analysis().temp_size_in_bytes for c in (shallow, deep, plain)]
    assert memory[1] < 1.5 * memory[0], memory
    assert memory[1] < 0.4 * memory[2], memory
    assert len(deep.as_text()) < 1.1 * len(shallow.as_text())


def test_temperature_zero_is_one_image():
    flow = small()
    x = flow.sample(seed=jax.random.key(0), sample_shape=(3,), temperature=0.0)
    np.testing.assert_array_equal(x[0], x[1])


@pytest.mark.slow
def test_fit_trains_it_on_images_of_integers():
    rng = np.random.RandomState(0)
    y = (rng.randint(0, 2, (64, 1, 8, 2)) * 12 + rng.randint(0, 4, (64, 8, 8, 2))).astype(np.uint8)
    model = dgm.Dequantized(small(preprocess=dgm.HistogramGaussianize((8, 8, 2), 16)), 16)
    result = dgm.fit(
        model, y, seed=jax.random.key(0), validation=y, steps=60, eval_every=30, batch_size=32,
        init_rows=32, learning_rate=5e-3,
    )  # fmt: skip
    first, last = (r["bits_per_dim"] for r in result.history if r["split"] == "validation")
    assert last < first < 3.2  # 2 + 1/8 bits at best, 4 for a uniform model


BAD = {
    "vector": (lambda: dgm.Glow((8,), rngs=nnx.Rngs(0)), r"expected image events \(h, w, c\)"),
    "sides": (lambda: dgm.Glow((28, 28, 1), levels=3, width=4, depth=1, rngs=nnx.Rngs(0)), "pad"),
    "no steps": (lambda: dgm.Glow((8, 8, 1), depth=0, rngs=nnx.Rngs(0)), "at least 1, got 3 and 0"),
    "coupling": (lambda: small(coupling="afine"), "expected 'affine' or 'additive', got 'afine'"),
    "odd channels": (
        lambda: dgm.MultiScale([dgm.ActNorm((4, 4, 3)), dgm.ActNorm((4, 4, 1))]),
        "even number of channels",
    ),
    "levels that do not follow": (
        lambda: dgm.MultiScale([dgm.ActNorm((4, 4, 2)), dgm.ActNorm((4, 4, 2))]),
        r"level 0 passes events of shape \(4, 4, 1\) on",
    ),
    "priors": (
        lambda: dgm.MultiScale([dgm.ActNorm((4, 4, 2))], [None]), "1 levels have 0 priors",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_impossible_layouts_say_what_to_do(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        make()
