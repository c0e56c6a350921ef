"""Codes of every model whose latents are not as many as the data: there, back, and along paths."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax import analysis
from dgmjax.testing import scramble

KEY = jax.random.key(0)
IMAGE = (4, 4, 1)
SMALL = {"width": 6, "depth": 1}


def iaf_vae(rngs, iaf_depth):
    return dgm.models.IAFVAE(
        IMAGE, 5, resolutions=2, depth=2, width=5, latent_channels=2, iaf_depth=iaf_depth, patch=1, rngs=rngs
    )  # fmt: skip


# Name: the model, and the length of its codes.
MODELS = {
    "VAE": (functools.partial(dgm.VAE, (5,), latent_dim=3, likelihood="bernoulli", **SMALL), 3),
    "VAE, full covariance": (
        functools.partial(
            dgm.VAE, (5,), latent_dim=3, likelihood="gaussian", posterior="full_covariance", **SMALL
        ),
        3,
    ),
    "VAE, flow posterior": (
        functools.partial(
            dgm.VAE,
            (5,),
            latent_dim=2,
            likelihood="categorical",
            num_levels=3,
            posterior="iaf",
            posterior_depth=2,
            posterior_width=4,
            context_size=2,
            **SMALL,
        ),
        2,
    ),
    "VLAE": (
        functools.partial(
            dgm.VLAE,
            IMAGE,
            5,
            latent_dim=2,
            pixel_width=4,
            context_channels=2,
            num_components=2,
            prior_width=4,
            **SMALL,
        ),
        2,
    ),
    "HierarchicalVAE": (
        functools.partial(dgm.models.HierarchicalVAE, (5,), latent_dims=(2, 3), **SMALL), 5,
    ),
    # Of 4x4 and 2x2 pixels with two channels, two layers each.
    "IAFVAE": (functools.partial(iaf_vae, iaf_depth=1), 2 * 2 * (16 + 4)),
    "IAFVAE, Gaussian": (functools.partial(iaf_vae, iaf_depth=0), 2 * 2 * (16 + 4)),
    "SparseAutoencoder": (
        functools.partial(
            dgm.models.SparseAutoencoder, (5,), 4, num_levels=3, sparsity="top_k", k=2, **SMALL
        ),
        4,
    ),
}  # fmt: skip
NOISELESS = [name for name in MODELS if name != "VLAE"]


@functools.cache
def built(name):
    return scramble(MODELS[name][0](rngs=nnx.Rngs(0)), KEY, scale=0.3)


def events(model, batch, seed=0):
    random = np.random.default_rng(seed)
    shape = (*batch, *model.event_shape)
    if model.num_levels is None:
        return random.normal(size=shape).astype(np.float32)
    return random.integers(0, model.num_levels, shape, np.uint8)


encode, decode = jax.jit(analysis.encode), jax.jit(analysis.decode)


@pytest.mark.parametrize("name", MODELS)
def test_codes_have_no_noise_and_come_back_as_events(name):
    model, size = built(name), MODELS[name][1]
    x = events(model, (2, 3))
    code = encode(model, x)
    assert code.shape == (2, 3, size) == (2, 3, *model.code_shape)
    back = decode(model, code)
    assert back.shape == x.shape
    # One event has what it has among others, all of the same shape of axes or mapped.
    np.testing.assert_allclose(encode(model, x[1, 2]), code[1, 2], atol=1e-5)
    np.testing.assert_allclose(jax.vmap(encode, (None, 0))(model, x), code, atol=1e-5)
    np.testing.assert_allclose(decode(model, code[1, 2]), back[1, 2], atol=1e-4)
    assert np.abs(code[0, 0] - code[1, 2]).max() > 1e-3
    others = decode(model, 3.0 - code)
    assert (np.asarray(others, float) != np.asarray(back, float)).any()
    parts = analysis.encode_in_batches(model, x.reshape(6, *x.shape[2:]), batch_size=4)
    np.testing.assert_allclose(parts, code.reshape(6, size), atol=1e-5)


@pytest.mark.parametrize("name", NOISELESS)
def test_decoded_codes_are_the_reconstruction_without_noise(name, monkeypatch):
    """The models' own reconstructions, with noise that is 0; no other test has batches of 7."""
    model = built(name)
    x = events(model, (7,))
    expected = decode(model, encode(model, x))

    def no_noise(key, shape=(), dtype=float):
        return jnp.zeros(shape, dtype)

    monkeypatch.setattr(jax.random, "normal", no_noise)
    options = {} if isinstance(model, dgm.models.SparseAutoencoder) else {"seed": KEY}
    found = jax.jit(lambda model, x: model.reconstruct(x, **options))(model, x)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    monkeypatch.undo()
    assert np.abs(expected - expected[:1]).max() > 1e-3


def test_a_code_is_the_mean_of_the_posterior():
    model = built("VAE")
    x = events(model, (3,))
    features = jax.jit(lambda model, x: model.encode(x))(model, x)
    np.testing.assert_array_equal(encode(model, x), model.posterior.moments(features)[0])
    lower = built("HierarchicalVAE")
    np.testing.assert_allclose(
        encode(lower, x)[:, 2:], lower.encode(x)[:, :3], atol=1e-6
    )  # z2 last; the raw features of a Gaussian begin with its mean


@pytest.mark.parametrize("name", [*MODELS, "GAN"])
def test_paths_go_from_reconstruction_to_reconstruction(name):
    if name == "GAN":
        model = scramble(
            dgm.GAN((5,), latent_dim=3, num_levels=4, rngs=nnx.Rngs(0)), KEY, scale=0.1
        )
        codes = jax.random.normal(KEY, (2, 2, 3), jnp.float32)
        call, given = analysis.decode_path, codes
    else:
        model = built(name)
        given = events(model, (2,)), events(model, (2,), seed=1)
        codes = [encode(model, x) for x in given]
        call = analysis.interpolate
    for kind, curve in (("linear", analysis.lerp), ("spherical", analysis.slerp)):
        path = jax.jit(lambda *a, kind=kind: call(*a, 3, kind=kind))(model, *given)
        expected = [decode(model, curve(*codes, t)) for t in (0.0, 0.5, 1.0)]
        np.testing.assert_allclose(path, expected, atol=2e-4)
    if name == "GAN":
        assert path.dtype == np.uint8


def test_attributes_move_codes():
    model = built("VAE")
    x = events(model, (4,))
    direction = analysis.attribute_direction(encode(model, x), np.array([True, False, True, False]))
    moved = analysis.manipulate(model, x, direction, [0.0, 2.0])
    np.testing.assert_allclose(moved[0], decode(model, encode(model, x)), atol=1e-5)
    codes = np.asarray(encode(model, x)) + 2 * np.asarray(direction)
    np.testing.assert_allclose(moved[1], decode(model, codes), atol=1e-5)


def test_conditions_go_straight_from_one_end_to_the_other(x32):
    del x32
    flow = dgm.RealNVP((4,), depth=2, width=8, context_shape=(2,), rngs=nnx.Rngs(0))
    flow = scramble(flow, KEY)
    x1, x2 = jax.random.normal(KEY, (2, 3, 4))
    c1, c2 = np.eye(2, dtype=np.float32)
    path = analysis.interpolate(flow, x1, x2, 3, context=c1, context2=c2)
    np.testing.assert_allclose(path[0], x1, atol=1e-5)
    np.testing.assert_allclose(path[2], x2, atol=1e-5)
    half = (encode(flow, x1, c1) + encode(flow, x2, c2)) / 2
    np.testing.assert_allclose(path[1], decode(flow, half, (c1 + c2) / 2), atol=1e-5)


def a_gan():
    return dgm.GAN((5,), latent_dim=3, rngs=nnx.Rngs(0))


class Pointless(dgm.posteriors.Posterior):
    def __init__(self):
        self.event_shape, self.feature_size = (1,), 1


ERRORS = {
    "no encoder": (
        lambda: analysis.encode(a_gan(), np.zeros(5, np.float32)),
        TypeError,
        "encode: GAN has latents but no encoder; draw them.*decode_path",
    ),
    "no latents": (
        lambda: analysis.decode(
            dgm.PixelCNNpp(IMAGE, 4, resolutions=1, depth=1, width=4, rngs=nnx.Rngs(0)), jnp.zeros(3)
        ),
        TypeError,
        "decode: expected a model with latents.*got PixelCNNpp; wrap",
    ),
    "floats for integers": (
        lambda: analysis.encode(built("VAE"), np.zeros(5, np.float32)),
        TypeError,
        "encode: expected integer levels, got float32",
    ),
    "event shape": (
        lambda: analysis.encode(built("IAFVAE"), np.zeros((4, 4), int)),
        ValueError,
        r"encode: expected an array of shape \[\*batch, 4, 4, 1\], got \(4, 4\)",
    ),
    "code shape": (
        lambda: analysis.decode(built("VAE"), jnp.zeros((2, 4))),
        ValueError,
        r"decode: expected an array of shape \[\*batch, 3\], got \(2, 4\)",
    ),
    "context": (
        lambda: analysis.encode(built("VAE"), np.zeros(5, int), np.zeros(2)),
        ValueError,
        "encode: got a context.*takes none",
    ),
    "levels": (
        lambda: analysis.decode_path(
            built("VAE"), jnp.zeros(3), jnp.ones(3), 3, kind="spherical_levels"
        ),
        ValueError,
        "'spherical_levels' is for flows with a MultiScale; VAE has none",
    ),
    "one condition": (
        lambda: analysis.decode_path(
            built("VAE"), jnp.zeros(3), jnp.ones(3), 3, context2=jnp.zeros(1)
        ),
        ValueError,
        "context2 is the condition of the second end; pass context too",
    ),
    "a posterior without a point": (
        lambda: Pointless().centre(jnp.zeros(1)),
        NotImplementedError,
        "Pointless has no centre, so a model with it has no codes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_to_do(name):
    call, error, message = ERRORS[name]
    with pytest.raises(error, match=message):
        call()


def test_an_image_is_reconstructed_from_its_own_code():
    """The same noise for all: what differs comes from the codes."""
    model = built("VLAE")
    x = events(model, (4,))
    again = jax.jit(jax.vmap(lambda x: model.reconstruct(x, seed=KEY)))(x)
    assert (again != again[:1]).any()
