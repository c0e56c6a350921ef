"""Models around the variational autoencoder: lossy, hierarchical, ladder; and the sparse autoencoder beside them."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.models.autoencoder import SparseAutoencoder
from dgmjax.models.hierarchical_vae import HierarchicalVAE
from dgmjax.models.iaf_ladder import LadderLayer
from dgmjax.models.iaf_vae import IAFVAE
from dgmjax.models.local_pixel_cnn import LocalPixelCNN
from dgmjax.models.vlae import VLAE
from dgmjax.objectives import NegativeELBO
from dgmjax.objectives.reconstruction import Reconstruction
from dgmjax.testing import cast, scramble

LEVELS = 3
SHAPE = (4, 4, 1)
GROUPS = {"vlae": 1, "hvae": 2, "hvae, vamp": 2, "iaf": 2, "iaf, diagonal": 2}


@functools.cache
def make(name: str) -> dgm.models.LatentVariableModel:
    """Parameters away from where they start, and small: posteriors near the prior, whose weights vary little."""
    rngs, common = nnx.Rngs(0), {"width": 6, "depth": 1}
    if name == "vlae":
        model = VLAE(
            SHAPE,
            LEVELS,
            latent_dim=2,
            context_channels=3,
            pixel_width=4,
            pixel_likelihood="categorical",
            prior_depth=1,
            prior_width=4,
            **common,
            rngs=rngs,
        )
    elif name.startswith("hvae"):
        prior = dgm.priors.VampPrior(SHAPE, 3, num_levels=LEVELS, rngs=rngs)
        model = HierarchicalVAE(
            SHAPE,
            latent_dims=(1, 1),
            likelihood="categorical",
            num_levels=LEVELS,
            prior=prior if "vamp" in name else None,
            **common,
            rngs=rngs,
        )
    elif name == "iaf":
        model = IAFVAE(
            SHAPE,
            LEVELS,
            resolutions=1,
            depth=2,
            width=6,
            latent_channels=1,
            iaf_depth=1,
            rngs=rngs,
        )
    else:
        model = IAFVAE(
            SHAPE,
            LEVELS,
            resolutions=2,
            patch=1,
            latent_channels=1,
            iaf_depth=0,
            **common,
            rngs=rngs,
        )
    params, fixed, merge = dgm.training.partition(scramble(model, jax.random.key(5), scale=0.15))
    params = {path: 0.5 * param for path, param in params.items()}
    if (
        name == "iaf"
    ):  # steps that widen the posterior by exp(0.2) an element, so that a wrong sign shows
        bias = params["ladder/0/flow/last/bias"]
        params["ladder/0/flow/last/bias"] = bias.at[:, 1].add(-2.0)
    return merge(params, fixed)


def events(*batch: int) -> jax.Array:
    return jax.random.randint(jax.random.key(1), (*batch, *SHAPE), 0, LEVELS)


@jax.jit
def terms_of(model, x, seeds):
    return jax.vmap(lambda seed: model.elbo_terms(x, seed=seed))(seeds)


@functools.partial(jax.jit, static_argnames="num_samples")
def log_prob(model, x, seed, num_samples):
    return model.log_prob(x, seed=seed, num_samples=num_samples)


@functools.cache
def many_terms(name):
    """In NumPy, for two events and many seeds."""
    terms = terms_of(make(name), events(2), jax.random.split(jax.random.key(3), 4_800))
    return jax.tree.map(lambda a: np.asarray(a, np.float64), terms)


def by_quadrature(name: str) -> np.ndarray:
    """``log p(x)`` of the two events: both models have two latents in all."""
    model, side = make(name), np.linspace(-9.0, 9.0, 91)
    grid = jnp.asarray(np.stack(np.meshgrid(side, side), -1).reshape(-1, 2), jnp.float32)

    @jax.jit
    def joint(model, x):
        if isinstance(model, VLAE):
            log_prior, outputs = model.prior.log_prob(grid), model.decode(grid)
        else:
            z1, z2 = grid[:, :1], grid[:, 1:]
            log_prior = model.prior_distribution().log_prob(z2)
            log_prior = log_prior + model.lower.log_prob(z1, model.lower_prior(z2))
            outputs = model.decode(z1, z2)
        return log_prior + model.likelihood.log_prob(x, outputs)

    values = np.stack([joint(model, x) for x in events(2)]).astype(np.float64)
    return np.logaddexp.reduce(values, axis=1) + 2 * np.log(side[1] - side[0])


def from_the_prior(name: str) -> np.ndarray:
    """``log p(x)`` by the mean of ``p(x | z)`` over the prior."""
    model = make(name)
    outputs = model.sample_outputs(jax.random.key(4), 6_000)
    values = np.stack([model.likelihood.log_prob(x, outputs) for x in events(2)])
    return np.logaddexp.reduce(values.astype(np.float64), axis=1) - np.log(values.shape[1])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.slow if n in ("iaf", "iaf, diagonal") else ())
        for n in GROUPS
    ],
)
def test_weights_are_unbiased_and_bounds_are_in_order(name):
    """``E [w] = p(x)`` by another way; ELBO, importance-weighted bounds and the likelihood in rising order."""
    exact = (from_the_prior if "iaf" in name else by_quadrature)(name)
    terms = many_terms(name)
    log_weight = terms.log_likelihood + terms.log_prior - terms.log_posterior
    ratios = np.exp(log_weight - exact)
    error = 5 * ratios.std(0) / np.sqrt(len(ratios))
    assert (error < 0.15).all()
    assert (np.abs(ratios.mean(0) - 1.0) < error + 0.02).all()
    # Means of log-means over 1, 8 and 64 weights.
    means = [
        np.log(np.exp((log_weight - exact).reshape(-1, k, 2)).mean(1)).mean(0) for k in (1, 8, 64)
    ]
    elbo = (terms.log_likelihood - terms.kl.sum(-1)).mean(0) - exact
    np.testing.assert_allclose(elbo, means[0], atol=0.03)
    assert (elbo < means[1]).all()
    assert (means[1] < means[2]).all()
    assert (means[2] < error).all()


@pytest.mark.parametrize("name", ["hvae", "iaf, diagonal"])
def test_divergences_in_closed_form_are_the_means_of_samples(name):
    terms = many_terms(name)
    difference = terms.log_posterior - terms.log_prior - terms.kl.sum(-1)
    assert (np.abs(difference.mean(0)) < 5 * difference.std(0) / np.sqrt(len(difference))).all()
    assert (difference.std(0) > 0.1).all()
    assert terms.kl.min() >= 0.0


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.one_in(4)
def test_batch_axes_groups_and_keys_of_examples(name):
    model, x = make(name), events(2, 3)
    keys = jax.random.split(jax.random.key(0), (2, 3))
    rows = log_prob(model, x, keys, 3)
    one = log_prob(model, x[1, 2], keys[1, 2], 3)
    assert rows.shape == (2, 3)
    np.testing.assert_allclose(rows[1, 2], one, rtol=1e-5)
    terms = jax.eval_shape(lambda m: m.elbo_terms(x, seed=keys), model)
    assert terms.kl.shape == (2, 3, GROUPS[name])
    assert terms.log_prior.shape == terms.log_posterior.shape == (2, 3)
    reconstructed = jax.eval_shape(lambda m: m.reconstruct(x, seed=keys[0, 0]), model)
    assert reconstructed.shape == x.shape
    with pytest.raises(TypeError, match="integer"):
        model.log_prob(jnp.zeros(SHAPE), seed=keys[0, 0])


def test_the_autoregressive_step_is_triangular_and_its_density_exact():
    layer = LadderLayer(4, 2, iaf_depth=3, rngs=nnx.Rngs(0))
    layer = cast(scramble(layer, jax.random.key(0), scale=1.0), jnp.float64)
    z, context = (
        jax.random.normal(key, (2, 3, channels), jnp.float64)
        for key, channels in zip(jax.random.split(jax.random.key(1)), (2, 4), strict=True)
    )
    new, log_det = layer.transform(z, context)
    jacobian = jax.jit(jax.jacfwd(lambda z: layer.transform(z, context)[0]))(z).reshape(12, 12)
    sign, expected = np.linalg.slogdet(jacobian)
    assert sign == 1.0
    np.testing.assert_allclose(log_det.sum(), expected, rtol=1e-10)
    np.testing.assert_array_equal(np.triu(jacobian, 1), 0.0)
    assert np.abs(np.tril(jacobian, -1)).max() > 0.01
    # A pixel later in raster order sees every pixel before it, but for the field of few layers.
    blocks = np.abs(jacobian).reshape(6, 2, 6, 2).max((1, 3))
    assert blocks[5, 4] > 0 and blocks[5, 1] > 0 and blocks[3, 1] > 0  # noqa: PT018
    moved = layer.transform(z, context.at[0, 0].add(1.0))[0]
    assert np.abs(moved - new)[0, 0].max() > 0  # the context of a pixel is seen at it


@pytest.mark.parametrize(("variant", "depth"), [("plain", 2), ("gated", 1)])
def test_the_window_of_a_pixel(variant, depth):
    """Jacobians: pixels outside the window and contexts of other pixels have no influence at all."""
    pixels = LocalPixelCNN(
        (9, 9, 1),
        LEVELS,
        variant=variant,
        depth=depth,
        width=8,
        context_channels=2,
        num_components=2,
        rngs=nnx.Rngs(0),
    )
    pixels = scramble(pixels, jax.random.key(0), scale=0.5)
    x = jax.random.normal(jax.random.key(1), (32, 9, 9, 1), jnp.float32)
    jacobian = jax.jit(jax.jacrev(lambda net, x: net(x)[:, 5, 4].sum(), argnums=1))(pixels.net, x)
    rows, columns = np.nonzero(np.abs(jacobian).max((0, 3)))
    above, beside = pixels.receptive_field
    assert (5 - rows.min(), 4 - columns.min(), columns.max() - 4) == (above, beside, beside)
    assert rows.max() == 5
    context = jax.random.normal(jax.random.key(2), (9, 9, 2), jnp.float32)
    levels = jnp.zeros((9, 9, 1), jnp.int32)
    params = jax.jit(jax.jacrev(lambda c: pixels.pixel_params(levels, c)[5, 4].sum()))(context)
    np.testing.assert_array_equal(np.argwhere(np.abs(params).max(-1) > 0), [[5, 4]])
    assert make("vlae").receptive_field == (2, 2)


def test_a_local_pixel_network_is_a_distribution_and_samples_with_and_without_cache():
    model = LocalPixelCNN(
        (2, 2, 1), LEVELS, context_channels=2, width=4, num_components=2, rngs=nnx.Rngs(0)
    )
    model = scramble(model, jax.random.key(0), scale=0.5)
    context = jax.random.normal(jax.random.key(1), (2, 2, 2, 2), jnp.float32)
    images = jnp.asarray(list(itertools.product(range(LEVELS), repeat=4))).reshape(-1, 2, 2, 1)
    masses = [np.exp(np.asarray(model.log_prob(images, row), np.float64)) for row in context]
    np.testing.assert_allclose(np.sum(masses, 1), 1.0, rtol=1e-5)
    cached, naive = (
        np.asarray(
            model.sample(seed=jax.random.key(2), sample_shape=5_000, context=context, cached=cached)
        )
        for cached in (True, False)
    )
    assert (cached.shape, cached.dtype) == ((5_000, 2, 2, 2, 1), np.uint8)
    assert (cached == naive).mean() > 0.999  # but for rounding
    for mass, samples in zip(masses, cached.swapaxes(0, 1), strict=True):
        counts = np.bincount(samples.reshape(-1, 4) @ [27, 9, 3, 1], minlength=81)
        chi2 = ((counts - 5_000 * mass) ** 2 / (5_000 * mass)).sum()
        assert chi2 < 80 + 5 * np.sqrt(160)


@pytest.mark.parametrize("name", GROUPS)
def test_samples_are_levels_and_follow_their_key(name):
    draw = jax.jit(lambda m, k: m.sample(seed=k, sample_shape=(4, 2)))
    samples = draw(make(name), jax.random.key(1))
    assert (samples.shape, samples.dtype) == ((4, 2, *SHAPE), jnp.uint8)
    assert set(np.unique(samples)) <= set(range(LEVELS))
    assert np.unique(samples.reshape(8, -1), axis=0).shape[0] > 1
    assert (samples != draw(make(name), jax.random.key(2))).any()


def test_samples_of_temperature_zero_are_one_latent():
    model = make("iaf")
    outputs = model.sample_outputs(jax.random.key(0), 3, temperature=0.0)
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert np.ptp(model.sample_outputs(jax.random.key(0), 3), axis=0).max() > 0


@pytest.mark.parametrize(
    "name", ["hvae, vamp", *(pytest.param(n, marks=pytest.mark.slow) for n in ("vlae", "iaf"))]
)
def test_fits_then_is_saved_and_loaded(name, tmp_path, x32):
    x = np.asarray(events(8))
    result = dgm.fit(
        make(name),
        x,
        seed=jax.random.key(0),
        steps=2,
        batch_size=4,
        eval_every=2,
        loss=NegativeELBO(free_bits=0.05, warmup_steps=1),
        watch=dgm.Watch(progress=False),
    )
    assert np.isfinite(result.history[-1]["loss"])
    dgm.save(tmp_path / "model", result.model)
    loaded = dgm.load(tmp_path / "model")
    assert jax.tree.structure(loaded) == jax.tree.structure(result.model)
    jax.tree.map(np.testing.assert_array_equal, loaded, result.model)


def test_a_ladder_of_several_resolutions():
    model = IAFVAE(
        (8, 8, 3), 16, resolutions=3, depth=1, width=6, latent_channels=1, iaf_depth=1,
        likelihood="discretized_logistic_mixture", rngs=nnx.Rngs(0),
    )  # fmt: skip
    x = jax.random.randint(jax.random.key(0), (2, 8, 8, 3), 0, 16)
    features = jax.eval_shape(lambda m: m.encode(x), model)
    assert [f.shape[:-1] for f in features] == [(2, 1, 4, 4), (2, 1, 2, 2), (2, 1, 1, 1)]
    terms = jax.eval_shape(lambda m: m.elbo_terms(x, seed=jax.random.key(0)), model)
    assert terms.kl.shape == (2, 3)
    with pytest.raises(ValueError, match="divisible by 2"):
        IAFVAE((6, 6, 1), 16, resolutions=3, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="num_levels"):
        IAFVAE((4, 4, 1), None, rngs=nnx.Rngs(0))


@functools.cache
def autoencoder(**options) -> SparseAutoencoder:
    settings = {"width": 8, "depth": 1, "num_levels": LEVELS} | options
    return scramble(SparseAutoencoder(SHAPE, 6, **settings, rngs=nnx.Rngs(0)), jax.random.key(0))


@pytest.mark.parametrize("options", [{}, {"sparsity": "top_k", "k": 2}], ids=["l1", "top_k"])
def test_the_loss_of_an_autoencoder(options, x32):
    """Row A4-01: without a price on the code the loss is the mean squared error."""
    model, batch, key = autoencoder(**options), {"x": events(7)}, jax.random.key(0)
    code = model.encode(batch["x"])
    error = np.asarray(model.reconstruct(batch["x"])) - np.asarray(batch["x"])
    squared = (error**2).sum((1, 2, 3)).mean()  # levels lie 1 apart, as in [-1, 1]
    plain, metrics = Reconstruction()(model, batch, key)
    np.testing.assert_allclose(plain, squared, rtol=1e-5)
    priced, _ = Reconstruction(l1=0.5)(model, batch, key)
    np.testing.assert_allclose(priced - plain, 0.5 * np.abs(code).sum(-1).mean(), rtol=1e-4)
    assert metrics["active"][0] == np.count_nonzero(code)
    params, fixed, merge = dgm.training.partition(model)
    grads = jax.jit(jax.grad(lambda p: Reconstruction(l1=0.1)(merge(p, fixed), batch, key)[0]))(
        params
    )
    assert all(np.abs(grad).max() > 0 for grad in grads.values())


def test_top_k_keeps_the_largest_entries(x32):
    sparse, x = autoencoder(sparsity="top_k", k=2), events(2, 5)
    dense = np.asarray(sparse.encoder(sparse.scaled(x)))
    code = np.asarray(sparse.encode(x))
    assert code.shape == (2, 5, 6)
    assert ((code != 0).sum(-1) == 2).all()
    np.testing.assert_array_equal(code[code != 0], dense[code != 0])
    smallest_kept = np.where(code != 0, np.abs(code), np.inf).min(-1)
    assert (np.where(code == 0, np.abs(dense), 0.0).max(-1) <= smallest_kept).all()


@pytest.mark.slow
def test_an_autoencoder_learns_and_is_saved(tmp_path, x32):
    model, x = autoencoder(sparsity="top_k", k=3), np.asarray(events(16))
    result = dgm.fit(
        model, x, seed=jax.random.key(0), steps=200, batch_size=16, eval_every=100,
        learning_rate=1e-2, execution=dgm.Execution(steps_per_call=50), loss=Reconstruction(l1=1e-3),
        watch=dgm.Watch(progress=False),
        validation=x, validation_loss=Reconstruction(dropout=False), monitor="squared_error",
    )  # fmt: skip
    before, after = (
        Reconstruction(dropout=False)(m, {"x": jnp.asarray(x)}, jax.random.key(0))[0]
        for m in (model, result.model)
    )
    assert after < 0.5 * before
    dgm.save(tmp_path / "model", result.model)
    np.testing.assert_array_equal(
        result.model.encode(events(3)), dgm.load(tmp_path / "model").encode(events(3))
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": "l0"}, "sparsity"),
        ({"sparsity": "top_k"}, "needs k"),
        ({"sparsity": "top_k", "k": 7}, "needs k"),
        ({"k": 2}, "is for sparsity='top_k'"),
    ],
)
def test_autoencoders_that_cannot_be_built_say_so(options, message):
    with pytest.raises(ValueError, match=message):
        SparseAutoencoder(SHAPE, 6, **options, rngs=nnx.Rngs(0))


def test_models_that_cannot_be_built_say_so():
    with pytest.raises(ValueError, match="negative|at least 0"):
        Reconstruction(l1=-1.0)
    with pytest.raises(ValueError, match="two numbers"):
        HierarchicalVAE(SHAPE, latent_dims=(3,), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"prior's event_shape is \(2,\), expected \(3,\)"):
        HierarchicalVAE(
            SHAPE,
            latent_dims=(2, 3),
            prior=dgm.priors.GaussianMixture(2, 2, rngs=nnx.Rngs(0)),
            rngs=nnx.Rngs(0),
        )
    with pytest.raises(ValueError, match="variant"):
        LocalPixelCNN(SHAPE, LEVELS, variant="pixelcnnpp", rngs=nnx.Rngs(0))
