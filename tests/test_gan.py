"""Adversarial models: the game of two losses, its optimum in closed form, networks, and training by the trainer."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax import objectives
from dgmjax.testing import cast

LOG4 = math.log(4)


def small(network="mlp", **options):
    shape = (8, 8, 1) if network == "conv" else (6,)
    widths = {"generator_widths": (12, 8), "discriminator_widths": (8, 12)}
    options = {"latent_dim": 5, "num_levels": 17, "network": network} | widths | options
    return dgm.GAN(shape, **options, rngs=nnx.Rngs(0))


def levels(model, rows, seed=0):
    return jax.random.randint(jax.random.key(seed), (rows, *model.event_shape), 0, 17)


def size(module):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def statistics(module):
    return jax.tree.leaves(nnx.state(module, nnx.BatchStat))


# The losses.


def test_the_saturating_loss_has_no_slope_where_the_generator_is_seen_through():
    """A4-20 and E-A4-11: at D = sigmoid(-10) it is the second term, log(1 - D), that is flat."""
    logit = jnp.asarray(-10.0)
    saturating = jax.grad(objectives.saturating_generator_loss)(logit)
    other = jax.grad(objectives.non_saturating_generator_loss)(logit)
    np.testing.assert_allclose(saturating, -4.5397868702e-5, rtol=1e-9)
    np.testing.assert_allclose(other, -0.9999546021, rtol=1e-9)
    # As the report prints it, the first term would be near 0: on data, D near 0 makes it huge.
    assert objectives.discriminator_loss(logit, logit) > 10
    assert abs(objectives.saturating_generator_loss(logit)) < 1e-4


@pytest.mark.parametrize("logit", [-3.0, 0.0, 2.0])
def test_losses_are_those_of_probabilities(logit):
    d, logit = jax.nn.sigmoid(logit), jnp.asarray(logit)
    real, fake = logit, logit + 1
    d_fake = jax.nn.sigmoid(fake)
    expected = -jnp.log(d) - jnp.log(1 - d_fake)
    np.testing.assert_allclose(objectives.discriminator_loss(real, fake), expected, rtol=1e-12)
    np.testing.assert_allclose(
        objectives.saturating_generator_loss(logit), jnp.log(1 - d), rtol=1e-12
    )
    np.testing.assert_allclose(
        objectives.non_saturating_generator_loss(logit), -jnp.log(d), rtol=1e-12
    )


def test_losses_and_slopes_are_finite_where_probabilities_round_to_0_and_1():
    logits = jnp.asarray([-1e4, -104.0, 0.0, 104.0, 1e4], jnp.float32)
    for loss in (
        objectives.saturating_generator_loss,
        objectives.non_saturating_generator_loss,
        lambda logit: objectives.discriminator_loss(logit, logit),
    ):
        value, slope = jax.vmap(jax.value_and_grad(loss))(logits)
        assert jnp.isfinite(value).all()
        assert jnp.isfinite(slope).all()
        assert jnp.abs(value).max() >= 1e4
        assert value.dtype == jnp.float32
    assert not jnp.isfinite(jnp.log(jax.nn.sigmoid(logits))).all()


def test_losses_need_as_many_samples_as_data():
    with pytest.raises(ValueError, match=r"as many logits of samples .* \(3,\) and \(2,\)"):
        objectives.discriminator_loss(jnp.zeros(2), jnp.zeros(3))


def test_r1_of_a_linear_discriminator_is_the_square_of_its_weights():
    weights = jnp.arange(6.0).reshape(2, 3)
    x = jax.random.normal(jax.random.key(0), (4, 2, 3))
    found = objectives.r1_penalty(lambda x: jnp.einsum("nij,ij->n", x, weights) + 7.0, x)
    np.testing.assert_allclose(found, jnp.full(4, (weights**2).sum()), rtol=1e-12)
    quadratic = objectives.r1_penalty(lambda x: 0.5 * (x**2).sum((1, 2)), x)
    np.testing.assert_allclose(quadratic, (x**2).sum((1, 2)), rtol=1e-12)


def test_instance_noise_has_its_scale_and_an_event_its_own():
    x, keys = jnp.zeros((400, 50)), jax.random.split(jax.random.key(0), 400)
    noisy = objectives.instance_noise(x, 0.3, keys)
    np.testing.assert_allclose(noisy.std(), 0.3, rtol=0.02)
    alone = objectives.instance_noise(x[7], 0.3, keys[7])
    np.testing.assert_array_equal(noisy[7], alone)


# The game where both densities are known.

POINTS = jnp.linspace(-14.0, 14.0, 4_001)


def normal(mean, scale):
    return jax.scipy.stats.norm.logpdf(POINTS, mean, scale)


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (1.5, 1.0), (0.0, 2.0), (9.0, 0.3)])
def test_the_optimum_is_minus_log_4_and_twice_the_divergence(mean, scale):
    """A4-19: V(D*, G) = -log 4 + 2 JSD, and -1.3862944 where the densities are equal."""
    p, q = normal(0.0, 1.0), normal(mean, scale)
    best = objectives.optimal_discriminator(p, q)
    value = objectives.minimax_value(p, q, best, POINTS)
    divergence = objectives.jensen_shannon_divergence(p, q, POINTS)
    np.testing.assert_allclose(value, -LOG4 + 2 * divergence, atol=1e-12)
    assert -1e-12 <= divergence <= math.log(2)
    if (mean, scale) == (0.0, 1.0):
        np.testing.assert_allclose(value, -1.3862944, atol=1e-7)
        np.testing.assert_allclose(jax.nn.sigmoid(best), 0.5, atol=0)
    else:
        assert divergence > 0.05
    for seed in range(3):
        other = best + 0.3 * jax.random.normal(jax.random.key(seed), POINTS.shape)
        assert objectives.minimax_value(p, q, other, POINTS) < value


def test_a_mean_of_one_half_says_nothing():
    """E-A4-10: E[D*] = 1/2 over data and samples for every generator; D* = 1/2 pointwise for the true one only."""
    p, q = normal(0.0, 1.0), normal(2.0, 0.5)
    d = jax.nn.sigmoid(objectives.optimal_discriminator(p, q))
    mean = jnp.trapezoid(0.5 * (jnp.exp(p) + jnp.exp(q)) * d, POINTS)
    np.testing.assert_allclose(mean, 0.5, atol=1e-12)
    assert objectives.jensen_shannon_divergence(p, q, POINTS) > 0.4
    assert jnp.abs(d - 0.5).max() > 0.4


def test_densities_apart_reach_the_upper_limit_without_nan():
    p = jnp.where(jnp.abs(POINTS + 3) < 1, -math.log(2), -jnp.inf)
    q = jnp.where(jnp.abs(POINTS - 3) < 1, -math.log(2), -jnp.inf)
    best = objectives.optimal_discriminator(p, q)
    np.testing.assert_allclose(objectives.minimax_value(p, q, best, POINTS), 0.0, atol=1e-12)
    divergence = objectives.jensen_shannon_divergence(p, q, POINTS)
    np.testing.assert_allclose(divergence, math.log(2), rtol=1e-2)
    with pytest.raises(
        ValueError, match=r"minimax_value: expected values at points .* \[\(3,\), \(4001,\)\]"
    ):
        objectives.minimax_value(p, q, best[:3], POINTS)


# The networks and the model.


def test_the_counts_of_the_lectures():
    """A4-21 with the batch norm of the code (E-A4-17): 3,584 scales and offsets beyond the dense layers."""
    model = jax.eval_shape(lambda: dgm.GAN((784,), num_levels=256, rngs=nnx.Rngs(0)))
    sizes = [100, 128, 256, 512, 1024, 784]
    dense = sum(a * b + b for a, b in zip(sizes[:-1], sizes[1:], strict=True))
    assert dense == 1_506_448
    assert size(model.generator) == dense + 2 * (256 + 512 + 1024) == 1_510_032
    assert size(model.discriminator) == (784 * 512 + 512) + (512 * 256 + 256) + 257 == 533_505
    assert model.discriminator.dropout == 0.3
    plain = jax.eval_shape(
        lambda: dgm.GAN((784,), num_levels=256, batch_norm=False, rngs=nnx.Rngs(0))
    )
    assert size(plain.generator) == dense


def test_the_last_hidden_layer_has_its_batch_norm_after_the_nonlinearity():
    """E-A4-17: its output is normalised, so it has negative values of every size; those of the others go through."""
    net = cast(dgm.nets.MLPGenerator(3, (2,), widths=(7, 9), rngs=nnx.Rngs(0)), jnp.float64)
    z = jax.random.normal(jax.random.key(0), (64, 3))
    first = jax.nn.leaky_relu(net.hidden[0](z), 0.2)
    after, _ = net.norms[0].apply_and_update(jax.nn.leaky_relu(net.hidden[1](first), 0.2))
    before = jax.nn.leaky_relu(net.norms[0].apply_and_update(net.hidden[1](first))[0], 0.2)
    found, _ = net.apply_and_update(z)
    np.testing.assert_allclose(found, jnp.tanh(net.last(after)), rtol=1e-12)
    assert jnp.abs(found - jnp.tanh(net.last(before))).max() > 1e-3


@pytest.mark.parametrize(("network", "spectral_norm"), [("mlp", True), ("conv", False)])
@pytest.mark.one_in(2)
def test_a_model_samples_levels_and_tells_events_apart(network, spectral_norm, tmp_path):
    model = small(network, spectral_norm=spectral_norm, dropout=0.3)
    draw = jax.jit(lambda model: model.sample(seed=jax.random.key(0), sample_shape=(4, 3)))
    x = draw(model)
    assert x.shape == (4, 3, *model.event_shape)
    assert x.dtype == jnp.uint8
    assert 0 <= x.min() < x.max() <= 16
    np.testing.assert_array_equal(model.unscaled(model.scaled(x)), x)
    scaled = model.scaled(x)
    np.testing.assert_allclose(scaled, 2 * x / 16 - 1, rtol=1e-6)
    tell = jax.jit(lambda model, x, key=None: model.discriminate(x, key=key))
    logits = tell(model, scaled)
    assert logits.shape == (4, 3)
    np.testing.assert_allclose(logits[1, 2], tell(model, scaled[1, 2]), rtol=1e-4, atol=1e-5)
    dropped = tell(model, scaled, jax.random.key(1))
    assert jnp.abs(dropped - logits).max() > 1e-3
    dgm.save(tmp_path / "model", model)
    np.testing.assert_array_equal(draw(dgm.load(tmp_path / "model")), x)
    assert str(objectives.bound_of(model)) == "no likelihood"


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.one_in(2)
def test_training_mode_returns_new_statistics_and_leaves_the_old(network):
    model = small(network, spectral_norm=True)
    z = 3.0 + jax.random.normal(jax.random.key(0), (64, 5), jnp.float32)
    before = [np.array(leaf) for leaf in statistics(model)]
    train = jax.jit(lambda model, z: model.generate_and_update(z))
    x, new = train(model, z)
    for old, kept in zip(before, statistics(model), strict=True):
        np.testing.assert_array_equal(old, kept)
    assert statistics(model.generator)
    for old, moved in zip(statistics(model.generator), statistics(new.generator), strict=True):
        assert jnp.abs(old - moved).max() > 1e-4
    # After many batches of one distribution the running statistics give what those of the batch give.
    for seed in range(60):
        _, new = train(new, 3.0 + jax.random.normal(jax.random.key(seed), (64, 5), jnp.float32))
    assert jnp.abs(new.generate(z) - x).mean() < 0.5 * jnp.abs(model.generate(z) - x).mean()
    logits, newer = jax.jit(lambda model, x: model.discriminate_and_update(x))(model, x)
    np.testing.assert_allclose(logits, model.discriminate(x), rtol=1e-5, atol=1e-6)
    vectors = statistics(model.discriminator), statistics(newer.discriminator)
    # The last layer has one output: nothing to iterate.
    assert [bool(jnp.abs(a - b).max() > 1e-3) for a, b in zip(*vectors, strict=True)].count(
        True
    ) == 2
    assert jax.tree.structure(newer) == jax.tree.structure(model)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_spectral_norm_makes_the_discriminator_lipschitz_with_constant_1(network):
    def stretched(model):
        graph, params, rest = nnx.split(cast(model, jnp.float64), nnx.Param, ...)
        return nnx.merge(graph, jax.tree.map(lambda leaf: 5 * leaf, params), rest)

    @jax.jit
    def steepest(model):
        return jnp.sqrt(objectives.r1_penalty(model.discriminate, x)).max()

    @jax.jit
    def iterated(model):
        def step(model, _):
            return model.discriminate_and_update(x[:1])[1], None

        return jax.lax.scan(step, model, length=100)[0]

    model = stretched(small(network, spectral_norm=True))
    x = jax.random.uniform(jax.random.key(0), (30, *model.event_shape), jnp.float64, -1, 1)
    assert steepest(stretched(small(network))) > 20
    assert 0.03 < steepest(iterated(model)) <= 1 + 1e-6
    if network == "mlp":
        layer = iterated(model).discriminator.layers[0]
        found = layer(jnp.eye(6)) - layer(jnp.zeros((1, 6)))
        kernel = layer.kernel[...]
        np.testing.assert_allclose(found, kernel / jnp.linalg.norm(kernel, 2), atol=1e-6)


def test_continuous_data_keep_their_scale():
    model = small(num_levels=None)
    x = model.sample(seed=jax.random.key(0), sample_shape=500)
    assert x.dtype == jnp.float32
    np.testing.assert_array_equal(model.scaled(x), x)
    wide = model.generate(50 * jax.random.normal(jax.random.key(1), (100, 5), jnp.float32))
    assert jnp.abs(wide).max() > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "mpl"}, r"network: expected one of \['mlp', 'conv'\], got 'mpl'"),
        ({"latent_dim": 0}, "expected latent_dim >= 1 .* got 0 and 17"),
        ({"num_levels": 1}, "got 5 and 1"),
        (
            {"generator_widths": ()},
            r"MLPGenerator: widths must be one or more numbers >= 1, got \[\]",
        ),
        ({"dropout": 1.0}, r"MLPDiscriminator: dropout must be in \[0, 1\), got 1.0"),
        (
            {"network": "conv", "generator_widths": (4,) * 5},
            r"ConvGenerator: 5 widths need images \(h, w, c\) with sides divisible by 16, got \(8, 8, 1\)",
        ),
    ],
)
def test_impossible_models_say_what_was_expected(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_wrong_shapes_say_where():
    model = small()
    with pytest.raises(ValueError, match=r"GAN.generate: expected .* \[\*batch, 5\], got \(2, 6\)"):
        model.generate(jnp.zeros((2, 6)))
    with pytest.raises(ValueError, match=r"GAN.discriminate: expected .* got \(2, 5\)"):
        model.discriminate(jnp.zeros((2, 5)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r1": -1.0}, "DiscriminatorLoss: r1 must be at least 0, got -1.0"),
        ({"noise": -0.1}, "GeneratorLoss: instance_noise must be at least 0"),
        ({"smoothing": 0.5}, r"smoothing must be in \[0, 0.5\), got 0.5"),
    ],
)
def test_impossible_losses_say_what_was_expected(options, message):
    with pytest.raises(ValueError, match=message):
        objectives.adversarial_losses(**options)


# The trainer.


def test_losses_are_means_over_rows_and_the_discriminator_sees_half_of_each():
    model = small(dropout=0.0)
    losses = objectives.adversarial_losses(r1=2.0, smoothing=0.1)
    keys = jax.random.split(jax.random.key(3), 32)
    batch = {"x": levels(model, 32)}
    value, metrics, new = jax.jit(losses["discriminator"])(model, batch, keys)
    mean = {name: float(total / count) for name, (total, count) in metrics.items()}
    x = model.scaled(batch["x"])
    z = jnp.stack(
        [jax.random.normal(jax.random.split(key, 3)[0], (5,), jnp.float32) for key in keys]
    )
    fake, _ = model.generate_and_update(z)
    real_d, fake_d = (jax.nn.sigmoid(model.discriminate(events)) for events in (x, fake))
    of_real = -0.9 * jnp.log(real_d) - 0.1 * jnp.log(1 - real_d)
    expected = (of_real - jnp.log(1 - fake_d)).mean() + mean["r1"]
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    right = jnp.concatenate([real_d > 0.5, fake_d < 0.5]).astype(jnp.float32).mean()
    np.testing.assert_allclose(mean["accuracy"], right, rtol=1e-6)
    np.testing.assert_allclose(mean["fake_probability"], fake_d.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        mean["r1"], objectives.r1_penalty(model.discriminate, x).mean(), rtol=1e-5
    )
    assert jax.tree.structure(new) == jax.tree.structure(model)
    value, metrics, new = jax.jit(losses["generator"])(model, batch, keys)
    np.testing.assert_allclose(value, -jnp.log(fake_d).mean(), rtol=1e-5)
    assert any(
        jnp.abs(a - b).max() > 0 for a, b in zip(statistics(model), statistics(new), strict=True)
    )


@pytest.mark.usefixtures("x32")
def test_a_step_updates_each_part_with_its_own_gradients():
    """The trainer's step is two updates by hand: the discriminator sees the new generator and draws new latents."""
    model = small(spectral_norm=True, generator_widths=(4, 4), discriminator_widths=(4,))
    losses = objectives.adversarial_losses(noise=0.1)
    optimizers = {"generator": optax.adam(1e-2, b1=0.5), "discriminator": optax.sgd(0.05)}
    params, fixed, merge = dgm.training.partition(model)
    seed, batch = jax.random.key(7), {"x": levels(model, 16)}
    step = dgm.training.make_train_step(losses, merge, optimizers, key=seed, ema_decay=0.0)
    state, _ = step(dgm.training.init_state(params, fixed, optimizers), batch)

    for index, (name, loss) in enumerate(losses.items()):
        base = jax.random.fold_in(seed, index) if index else seed
        row_key = jax.random.fold_in(base, 0)
        keys = jnp.stack([jax.random.fold_in(row_key, row) for row in range(16)])
        own = {path: leaf for path, leaf in params.items() if path.startswith(f"{name}/")}

        def value(own, loss=loss, keys=keys, params=params, fixed=fixed):
            found, _, new = loss(merge(params | own, fixed), batch, keys)
            return found, dgm.training.statistics_of(new)

        grads, statistics = jax.jit(jax.grad(value, has_aux=True))(own)
        updates, _ = optimizers[name].update(grads, optimizers[name].init(own), own)
        params, fixed = params | optax.apply_updates(own, updates), fixed | statistics
    for name, expected in (params | fixed).items():
        found = (state.params | state.fixed)[name]
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-6, err_msg=name)
    moved = {
        path
        for path in fixed
        if jnp.abs(state.fixed[path] - dgm.training.partition(model)[1][path]).max() > 0
    }
    assert {path.split("/")[0] for path in moved} == {"generator", "discriminator"}


@pytest.mark.usefixtures("x32")
@pytest.mark.slow
def test_fit_plays_the_game_and_the_generator_finds_the_data(tmp_path):
    """A normal distribution on the line: mean and deviation of samples come to those of the data."""
    x = np.random.default_rng(0).normal(2.0, 0.5, (2_000, 1)).astype(np.float32)
    model = dgm.GAN(
        (1,),
        latent_dim=2,
        generator_widths=(16,),
        discriminator_widths=(32, 32),
        batch_norm=False,
        dropout=0.0,
        rngs=nnx.Rngs(0),
    )
    result = dgm.fit(
        model,
        x,
        seed=jax.random.key(0),
        steps=2_000,
        steps_per_call=500,
        batch_size=100,
        eval_every=1_000,
        loss=objectives.adversarial_losses(r1=0.1),
        optimizer=dict.fromkeys(("generator", "discriminator"), optax.adam(3e-3, b1=0.5)),
        workdir=tmp_path,
        progress=False,
    )
    samples = result.model.sample(seed=jax.random.key(1), sample_shape=2_000)
    np.testing.assert_allclose(samples.mean(), 2.0, atol=0.15)
    np.testing.assert_allclose(samples.std(), 0.5, atol=0.2)
    last = result.history[-1]
    assert last["bound"] == "no likelihood"
    np.testing.assert_allclose(last["discriminator_loss"], LOG4, atol=0.2)
    np.testing.assert_allclose(last["generator_loss"], LOG4 / 2, atol=0.2)
    for name in ("accuracy", "real_probability", "fake_probability", "r1"):
        assert 0 <= last[f"discriminator_{name}"] < 1
