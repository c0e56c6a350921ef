"""Batch normalization of flows in training: the losses of densities use a batch's statistics and keep running ones."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax import training
from dgmjax.distributions.stochastic.encoder_decoder import EncoderDecoder
from dgmjax.distributions.stochastic.surjections import Slice
from dgmjax.objectives import NegativeELBO, maximum_likelihood, negative_log_likelihood
from dgmjax.testing import scramble
from tests.instances import coupling

pytestmark = pytest.mark.usefixtures("x32")

KEY = jax.random.key(0)
X = np.random.RandomState(0).normal(5.0, 3.0, (12, 2)).astype(np.float32)
LEVELS = np.random.RandomState(1).randint(2, 5, (12, 2))


def norm(size: int = 2, context: int | None = None, momentum: float = 0.5) -> dgm.Flow:
    """A flow of batch normalization, and of a coupling if it has a context; ``N(0, I)`` of what is normalised."""
    layers: list = [dgm.BatchNorm((size,), momentum=momentum)]
    if context is not None:
        layers.append(coupling(size, "half", context_shape=(context,))(nnx.Rngs(0)))
    return dgm.Flow(dgm.Chain(layers))


def net(in_size: int, out_shape: tuple[int, ...]) -> dgm.nets.MLP:
    return dgm.nets.MLP(in_size, out_shape, width=4, depth=1, rngs=nnx.Rngs(0))


def vae(kind: type = dgm.VAE, **options) -> nnx.Module:
    dims = {"latent_dim": 2} if kind is dgm.VAE else {"latent_dims": (2, 2)}
    return kind((2,), **dims, **({"likelihood": "gaussian"} | options), width=4, rngs=nnx.Rngs(0))


def realnvp(**options) -> dgm.Flow:
    small = {"depth": 2, "width": 4, "hidden_layers": 1}
    return dgm.ImageRealNVP(
        (4, 4, 1), **({"normalization": "batch"} | small | options), rngs=nnx.Rngs(0)
    )


MODELS = {
    "flow": lambda: (norm(), X, None),
    "stack, context": lambda: (
        dgm.Flow(dgm.Stack([norm(2, 3).bijector, norm(2, 3).bijector])),
        X,
        np.ones((12, 3), np.float32),
    ),
    "base": lambda: (dgm.Flow(dgm.DiagonalLinear((2,)), norm()), X, None),
    "encoded context": lambda: (
        dgm.Flow(dgm.layers.EncodedContext(norm(2, 3).bijector, net(1, (3,)), (1,))),
        X,
        np.ones((12, 1), np.float32),
    ),
    "RealNVP": lambda: (
        scramble(realnvp(), jax.random.key(3)),
        np.random.RandomState(2).normal(3, 2, (6, 4, 4, 1)).astype(np.float32),
        None,
    ),
    "dequantized": lambda: (dgm.Dequantized(norm(), 5), LEVELS, None),
    "stochastic flow": lambda: (dgm.StochasticFlow([norm().bijector], norm()), X, None),
    "slice": lambda: (dgm.StochasticFlow([Slice((2,), 1, norm(1))]), X, None),
    "encoder and decoder": lambda: (
        dgm.StochasticFlow(
            [EncoderDecoder(dgm.Flow(coupling(2, "half", context_shape=(2,))(nnx.Rngs(0))), norm(2, 2))]
        ),
        X,
        None,
    ),
    "prior": lambda: (vae(prior=norm()), X, None),
    "hierarchical prior": lambda: (vae(dgm.HierarchicalVAE, prior=norm()), X, None),
    "likelihood": lambda: (
        vae(likelihood=dgm.likelihoods.ConditionalModel(norm(2, 2))),
        X,
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_every_density_with_batch_norm_inside_updates_its_statistics(name):
    model, x, context = MODELS[name]()
    batch = {"x": jnp.asarray(x, jnp.float32 if x.dtype.kind == "f" else jnp.int32)}
    batch |= {} if context is None else {"context": jnp.asarray(context)}
    losses = [maximum_likelihood, NegativeELBO()] if name == "prior" else [maximum_likelihood]
    for loss in losses:
        value, metrics, new = jax.jit(loss)(model, batch, KEY)
        assert math.isfinite(value)
        assert metrics["nats"][1] == len(x)
        before, after = training.statistics_of(model), training.statistics_of(new)
        assert set(before) == set(after) != set()
        for path, array in before.items():
            assert not np.array_equal(after[path], array), path
        chex.assert_trees_all_equal(training.partition(new)[0], training.partition(model)[0])
    assert len(negative_log_likelihood(model, batch, KEY)) == 2


def test_training_uses_the_statistics_of_the_batch_and_evaluation_the_running_ones():
    model, batch = norm(), {"x": jnp.asarray(X)}
    mean, variance = X.mean(0), X.var(0)

    def nats(mean, variance):
        z = (X - mean) / np.sqrt(variance + 1e-5)
        terms = 0.5 * z**2 + 0.5 * np.log(2 * np.pi * (variance + 1e-5))
        return terms.sum(-1).mean()

    loss, _, new = maximum_likelihood(model, batch, KEY)
    np.testing.assert_allclose(loss, nats(mean, variance), rtol=1e-5)
    np.testing.assert_allclose(new.bijector.layers[0].mean[...], 0.5 * mean, rtol=1e-6)
    np.testing.assert_allclose(
        new.bijector.layers[0].variance[...], 0.5 + 0.5 * variance, rtol=1e-6
    )
    found, _ = negative_log_likelihood(new, batch, KEY)
    np.testing.assert_allclose(found, nats(0.5 * mean, 0.5 + 0.5 * variance), rtol=1e-5)


WAYS = {
    "plain": {},
    "two parts": {"accumulate": 2},
    "three steps a call": {"steps_per_call": 3},
    "shard_map": {"parallel": training.Parallel("shard_map", num_devices=1)},
    "pmap": {"parallel": training.Parallel("pmap", num_devices=1)},
}


@pytest.mark.parametrize("name", WAYS)
def test_fit_keeps_the_moving_averages_of_mean_and_variance(name):
    """``m <- (m + mean) / 2`` over the parts of the batches of the run, and the variance likewise, worked by hand."""
    one = {"parallel": training.Parallel(num_devices=1)}
    result = dgm.fit(
        norm(), X, seed=KEY, steps=3, eval_every=3, batch_size=8, init_rows=0,
        validation=X, execution=dgm.Execution(**(one | WAYS[name])),
    )  # fmt: skip
    batches = dgm.data.Batches({"x": X}, 8, seed=int(jax.random.bits(jax.random.split(KEY, 4)[0])))
    parts = WAYS[name].get("accumulate", 1)
    mean, variance = np.zeros(2), np.ones(2)
    for rows in (batches(step)["x"][part::parts] for step in range(3) for part in range(parts)):
        mean, variance = 0.5 * (mean + rows.mean(0)), 0.5 * (variance + rows.var(0))
    layer = result.model.bijector.layers[0]
    np.testing.assert_allclose(layer.mean[...], mean, rtol=1e-5)
    np.testing.assert_allclose(layer.variance[...], variance, rtol=1e-5)
    found = float(negative_log_likelihood(result.model, {"x": jnp.asarray(X)}, KEY)[0])
    np.testing.assert_allclose(result.history[-1]["nats"], found, rtol=1e-5)


def test_a_realnvp_follows_data_whose_statistics_drift():
    """The first normalization sees the data as they are, since couplings start as the identity and the rate is 0."""
    model, optimizer = realnvp(levels=1), optax.sgd(0.0)
    params, fixed, merge = training.partition(model)
    step = training.make_train_step(
        maximum_likelihood, merge, optimizer, key=KEY, ema_decay=0.9,
        parallel=training.Parallel(num_devices=1),
    )  # fmt: skip
    state = training.init_state(params, fixed, optimizer)
    noise = np.random.RandomState(3).normal(size=(8, 4, 4, 1)).astype(np.float32)
    mean, variance = 0.0, 1.0
    for number in range(4):
        x = (1.0 + number) * noise + 2.0 * number
        state, _ = step(state, {"x": jnp.asarray(x)})
        mean = 0.9 * mean + 0.1 * x.mean()
        variance = 0.9 * variance + 0.1 * x.var()
    names = sorted(name for name in training.statistics_of(model) if "layer" in name)
    first_mean, first_variance = (
        np.asarray(state.fixed[name]).reshape(-1)[0]
        for name in (names[0], names[0].removesuffix("mean") + "variance")
    )
    np.testing.assert_allclose(first_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(first_variance, variance, rtol=1e-5)
    averaged = training.averaged_params(state, statistics=tuple(names))
    np.testing.assert_array_equal(averaged[names[0]], state.fixed[names[0]])


@pytest.mark.parametrize("model", ["RealNVP", "VAE", "dequantized"])
def test_models_without_statistics_have_the_program_that_they_had(model):
    made, x = {
        "RealNVP": lambda: (dgm.RealNVP((2,), depth=2, width=4, dropout=0.5, rngs=nnx.Rngs(0)), X),
        "VAE": lambda: (vae(), X),
        "dequantized": lambda: (
            dgm.Dequantized(dgm.Flow(dgm.DiagonalLinear((2,))), 5),
            LEVELS.astype(np.int32),
        ),
    }[model]()

    def plain(model, x, key):
        seed, dropout = dgm.numerics.prng.split(key)
        log_probs = dgm.objectives.log_prob(model, x, seed=seed, key=dropout)
        total, count = -log_probs.sum(), jnp.asarray(log_probs.size, log_probs.dtype)
        metrics = {"nats": (total, count)}
        if jnp.issubdtype(x.dtype, jnp.integer):
            metrics["bits_per_dim"] = dgm.densities.bits_per_dim(total, 2), count
        return total / count, metrics

    found = jax.make_jaxpr(lambda *args: maximum_likelihood(args[0], {"x": args[1]}, args[2]))
    args = (made, jnp.asarray(x), KEY)
    assert str(found(*args)) == str(jax.make_jaxpr(plain)(*args))


def test_with_a_key_training_drops_the_units_that_the_likelihood_drops():
    """And without batch statistics the two are one number."""
    model = realnvp(normalization="actnorm", dropout=0.5, scale_fn="exp")
    params, fixed, merge = training.partition(model)
    model = merge(jax.tree.map(lambda a: a + 0.1, params), fixed)
    x = jax.random.normal(KEY, (3, 4, 4, 1))
    expected = jax.jit(lambda model, key: model.log_prob(x, key=key))(model, KEY)
    found, new = jax.jit(lambda model, key: model.log_prob_and_update(x, key=key))(model, KEY)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert jax.tree.structure(new) == jax.tree.structure(model)
    assert not np.allclose(expected, model.log_prob(x))


def test_a_reversible_stack_of_batch_norm_says_what_to_do():
    flow = dgm.Flow(dgm.Stack([dgm.BatchNorm((2,)), dgm.BatchNorm((2,))], reversible=True))
    with pytest.raises(NotImplementedError, match="build the model with reversible=False"):
        dgm.fit(flow, X, seed=KEY, steps=1)
