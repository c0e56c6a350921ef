"""Maps that may be stochastic in either direction: laws over a table, exact densities, bounds, composition."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.distributions.conditional import ConditionalGaussian, NetworkDensity
from dgmjax.distributions.stochastic.base import StochasticMap, as_stochastic_map
from dgmjax.distributions.stochastic.encoder_decoder import EncoderDecoder
from dgmjax.distributions.stochastic.flow import StochasticChain, StochasticFlow
from dgmjax.distributions.stochastic.max_pool import MaxPool
from dgmjax.distributions.stochastic.surjections import AbsoluteValue, Augment, Slice
from dgmjax.testing import cast, scramble
from tests.instances import coupling


def mlp(
    in_size: int, out_shape: tuple[int, ...], seed: int = 0, dropout: float = 0.3
) -> dgm.nets.MLP:
    return dgm.nets.MLP(
        in_size, out_shape, width=8, activation="tanh", dropout=dropout, rngs=nnx.Rngs(seed)
    )


def gaussian(event: int, context: int, seed: int = 0) -> ConditionalGaussian:
    return ConditionalGaussian((event,), (context,), mlp(context, (event, 2), seed))


def conditional_flow(event: int, context: int) -> dgm.Flow:
    return dgm.Flow(coupling(event, "half", context_shape=(context,))(nnx.Rngs(1)))


def image_gaussian() -> ConditionalGaussian:
    net = dgm.nets.ConvNet((4, 2, 1), 4, width=4, rngs=nnx.Rngs(0))
    return ConditionalGaussian((4, 2, 2), (4, 2, 1), net)


class Bernoulli(nnx.Module):
    """A discrete decoder: one probability an element of the latent."""

    event_shape, context_shape, num_levels = (2,), (2,), 2

    def log_prob(self, value, context, *, key=None):
        del key
        return jax.nn.log_sigmoid(jnp.where(value == 1, context, -context)).sum(-1)

    def sample(self, *, seed, context):
        noise = dgm.numerics.prng.draw(jax.random.logistic, seed, context.shape)
        return (noise < context).astype(jnp.int32)


class Row(NamedTuple):
    make: Callable[[], StochasticMap]
    kind: str
    positive: bool = False  # latents


def _mixed() -> StochasticMap:
    half = functools.partial(coupling(3, "alternating"), nnx.Rngs(2))
    return StochasticChain(
        [half(), Slice((3,), 2, gaussian(1, 2)), Augment((2,), 2, gaussian(2, 2)),
         dgm.Permute.reverse((4,)), EncoderDecoder(gaussian(2, 4), gaussian(4, 2))]
    )  # fmt: skip


MAPS = {
    "bijector": Row(lambda: as_stochastic_map(coupling(3, "half")(nnx.Rngs(0))), "bijective"),
    "slice": Row(lambda: Slice((3,), 1, conditional_flow(2, 1)), "inference surjection"),
    "slice, gaussian": Row(lambda: Slice((3,), 2, gaussian(1, 2)), "inference surjection"),
    "slice, fixed": Row(
        lambda: Slice((3,), 2, dgm.distributions.standard_normal((1,))), "inference surjection"
    ),
    "slice, flow without context": Row(
        lambda: Slice((3,), 1, dgm.Flow(coupling(2, "half")(nnx.Rngs(0)))), "inference surjection"
    ),
    "slice, image": Row(lambda: Slice((4, 2, 3), 1, image_gaussian()), "inference surjection"),
    "abs": Row(lambda: AbsoluteValue((2,)), "inference surjection", positive=True),
    "abs, network": Row(
        lambda: AbsoluteValue((2,), mlp(2, (2,))), "inference surjection", positive=True
    ),
    "max pool": Row(lambda: MaxPool((4, 2, 3)), "inference surjection"),
    "max pool, exponential": Row(
        lambda: MaxPool((2, 4, 1), noise="exponential", scale=0.5), "inference surjection"
    ),
    "augment": Row(lambda: Augment((2,), 3, gaussian(3, 2)), "generative surjection"),
    "augment, flow": Row(lambda: Augment((2,), 2, conditional_flow(2, 2)), "generative surjection"),
    "augment, flow without context": Row(
        lambda: Augment((1,), 2, dgm.Flow(coupling(2, "half")(nnx.Rngs(0)))),
        "generative surjection",
    ),
    "encoder and decoder": Row(
        lambda: EncoderDecoder(gaussian(2, 3), gaussian(3, 2)), "stochastic"
    ),
    "mixed chain": Row(_mixed, "stochastic"),
}


@functools.cache
def make(name: str, dtype: type = jnp.float64) -> StochasticMap:
    return cast(scramble(MAPS[name].make(), jax.random.key(1)), dtype)


def events(layer: Any, batch: tuple[int, ...], dtype: type = jnp.float64) -> jax.Array:
    return jax.random.normal(jax.random.key(0), (*batch, *layer.event_shape), dtype)


@functools.cache
def there_and_back(name: str) -> Callable[..., Any]:
    layer = make(name)

    def run(x, seed, decode_seed):
        z, contribution = layer.encode(x, seed=seed)
        with_dropout = layer.encode(x, seed=seed, key=seed)[1]
        return z, contribution, layer.decode(z, seed=decode_seed), with_dropout

    return run


@pytest.mark.parametrize("name", MAPS)
def test_the_laws_of_its_kind(name):
    layer, kind = make(name), MAPS[name].kind
    assert layer.kind == kind
    assert layer.exact == (kind in ("bijective", "inference surjection"))
    assert layer.generates_deterministically == (kind in ("bijective", "generative surjection"))

    run = jax.jit(there_and_back(name))
    x, (seeds, others) = events(layer, (3,)), jax.random.split(jax.random.key(1), (2, 3))
    z, value, y, _ = together = run(x, seeds, seeds)
    assert jnp.isfinite(value).all()
    # Which direction is deterministic, and that it undoes the other.
    other_z, other_value, _, _ = run(x, others, seeds)
    assert jnp.array_equal(z, other_z) == layer.exact
    assert jnp.array_equal(value, other_value) == layer.exact
    other_y = run(x, seeds, others)[2]
    assert jnp.array_equal(y, other_y) == layer.generates_deterministically
    if layer.generates_deterministically:
        np.testing.assert_allclose(y, x, atol=1e-12)
    if layer.exact:
        np.testing.assert_allclose(run(y, seeds, seeds)[0], z, atol=1e-12)
    # An example with a key of its own does not see the batch.
    alone = jax.jit(jax.vmap(there_and_back(name)))(x, seeds, seeds)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.one_in(2)
def test_shapes_and_dtypes(name):
    for batch, dtype in [((2, 3), jnp.float64), ((3,), jnp.float32), ((), jnp.float32)]:
        layer, seed = make(name, dtype), jax.random.key(1)
        x = events(layer, batch, dtype)
        z, contribution = jax.eval_shape(functools.partial(layer.encode, seed=seed), x)
        y = jax.eval_shape(functools.partial(layer.decode, seed=seed), z)
        assert z.shape == (*batch, *layer.latent_shape)
        assert contribution.shape == batch
        assert y.shape == x.shape
        assert z.dtype == contribution.dtype == y.dtype == dtype


def flow_of(name: str) -> StochasticFlow:
    layer = MAPS[name].make()
    after = (
        [dgm.Elementwise(dgm.SoftplusTransformer(), layer.latent_shape)]
        if MAPS[name].positive
        else []
    )
    flow = StochasticFlow(
        [layer, *after, dgm.ConditionalAffine(layer.latent_shape, rngs=nnx.Rngs(0))]
    )
    return cast(scramble(flow, jax.random.key(1)), jnp.float64)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.one_in(2)
def test_every_parameter_gets_a_gradient(name):
    flow = flow_of(name)
    x = events(flow, (16,))
    params, fixed, merge = dgm.training.partition(flow)

    def loss(params):
        return -merge(params, fixed).log_prob(x, seed=jax.random.key(0)).mean()

    for path, grad in jax.device_get(jax.jit(jax.grad(loss))(params)).items():
        assert np.isfinite(grad).all(), path
        assert (grad != 0).any(), path


@pytest.mark.parametrize("name", ["slice, gaussian", "abs"])
def test_the_label_is_exact_and_no_seed_is_needed(name):
    flow = flow_of(name)
    likelihood = dgm.log_likelihood(flow, events(flow, (4,)))
    assert str(likelihood.bound) == "exact"
    assert jnp.array_equal(
        likelihood.log_prob,
        flow.log_prob(events(flow, (4,)), seed=jax.random.key(0), num_samples=3),
    )


def integral(flow: Any, low: float, high: float, num: int) -> float:
    """By the trapezoidal rule, in one or two dimensions."""
    axis = jnp.linspace(low, high, num)
    (size,) = flow.event_shape
    points = jnp.stack(jnp.meshgrid(*[axis] * size, indexing="ij"), -1).reshape(-1, size)
    density = jnp.exp(jax.jit(lambda flow, x: flow.log_prob(x))(flow, points))
    return float(density.sum() * (axis[1] - axis[0]) ** size)


def test_a_density_with_a_slice_integrates_to_one():
    around = [dgm.DenseLinear((2,), rngs=nnx.Rngs(0)), Slice((2,), 1, gaussian(1, 1))]
    flow = StochasticFlow([*around, dgm.ConditionalAffine((1,), rngs=nnx.Rngs(0))])
    flow = cast(scramble(flow, jax.random.key(0), scale=0.5), jnp.float64)
    assert math.isclose(integral(flow, -12.0, 12.0, 601), 1.0, rel_tol=1e-6)


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("size", [1, 2])
def test_a_density_with_an_absolute_value_integrates_to_one(size, logits):
    net = mlp(size, (size,)) if logits else None
    inner = [
        dgm.Elementwise(dgm.SoftplusTransformer(), (size,)),
        dgm.ConditionalAffine((size,), rngs=nnx.Rngs(0)),
    ]
    flow = StochasticFlow(
        [dgm.ConditionalAffine((size,), rngs=nnx.Rngs(0)), AbsoluteValue((size,), net), *inner]
    )
    flow = cast(scramble(flow, jax.random.key(0)), jnp.float64)
    # The density of |x| falls to 0 steeply at 0.
    num = 20_001 if size == 1 else 1_001
    assert math.isclose(integral(flow, -8.0, 8.0, num), 1.0, rel_tol=1e-3)


def test_fair_signs_halve_the_density_of_the_absolute_value():
    positive = dgm.Elementwise(dgm.SoftplusTransformer(), (1,))
    base = cast(dgm.distributions.standard_normal((1,)), jnp.float64)
    flow = StochasticFlow([AbsoluteValue((1,)), positive], base)
    x = jnp.asarray([[-1.3], [0.2], [2.0]])
    expected = dgm.Flow(positive, base).log_prob(jnp.abs(x)) - math.log(2.0)
    np.testing.assert_allclose(flow.log_prob(x), expected, rtol=1e-12)


def test_signs_are_drawn_with_the_probabilities_of_the_network():
    layer = make("abs, network")
    z = jnp.broadcast_to(jnp.asarray([0.4, 3.0]), (20_000, 2))
    x = jax.jit(layer.decode)(z, seed=jax.random.key(0))
    probability = jax.nn.sigmoid(layer.logits(z[0]))
    assert float(jnp.abs(probability - 0.5).min()) > 0.02
    np.testing.assert_allclose((x > 0).mean(0), probability, atol=0.01)


@pytest.mark.parametrize("noise", ["half_normal", "exponential"])
def test_max_pooling_adds_the_log_probability_of_the_place_and_of_the_others(noise):
    layer = cast(scramble(MaxPool((2, 4, 2), noise=noise), jax.random.key(0)), jnp.float64)
    x = np.asarray(events(layer, (3,)))
    scale = np.exp(np.asarray(layer.log_scale[...]))
    z, contribution = layer.encode(jnp.asarray(x))
    expected = np.zeros(3)
    for n, column, c in np.ndindex(3, 2, 2):
        block = np.sort(x[n, :, 2 * column : 2 * column + 2, c].ravel())
        assert z[n, 0, column, c] == block[-1]
        e = (block[-1] - block[:3]) / scale[c]
        log_prob = -e if noise == "exponential" else math.log(2 / math.sqrt(2 * math.pi)) - e**2 / 2
        expected[n] += math.log(0.25) + (log_prob - np.log(scale[c])).sum()
    np.testing.assert_allclose(contribution, expected, rtol=1e-12)


@pytest.mark.parametrize("noise", ["half_normal", "exponential"])
def test_samples_of_a_max_pooling_have_its_density(noise):
    """Over samples of a broad q the mean of p / q is 1, and that of h p / q the mean of h over samples of p."""
    flow = cast(StochasticFlow([MaxPool((2, 2, 1), noise=noise, scale=0.8)]), jnp.float64)
    x = np.asarray(flow.sample(seed=jax.random.key(0), sample_shape=100_000))
    broad = dgm.distributions.IID(distrax.Laplace(jnp.asarray(-0.5), jnp.asarray(1.2)), (2, 2, 1))
    y = broad.sample(seed=jax.random.key(1), sample_shape=100_000)
    weight = np.exp(np.asarray(flow.log_prob(y) - broad.log_prob(y)))
    y = np.asarray(y)
    _assert_mean(weight, 1.0)
    for statistic in (lambda v: v[:, 0, 0, 0], lambda v: v[:, 0, 1, 0] * v[:, 1, 0, 0]):
        ours = statistic(x)
        _assert_mean(weight * statistic(y), ours.mean(), ours.std() / math.sqrt(len(x)))


def _assert_mean(values, expected, error_of_expected=0.0):
    error = math.hypot(np.std(values) / math.sqrt(len(values)), error_of_expected)
    assert error < 0.05
    assert abs(np.mean(values) - expected) < 4 * error


class LinearGaussian(nnx.Module):
    """``N(matrix @ context, factor @ factor.T)``."""

    def __init__(self, matrix: np.ndarray, factor: np.ndarray):
        self.matrix, self.factor = nnx.data(jnp.asarray(matrix)), nnx.data(jnp.asarray(factor))
        self.event_shape, self.context_shape = matrix.shape[:1], matrix.shape[1:]

    def log_prob(self, value, context):
        e = (value - context @ self.matrix.T) @ jnp.linalg.inv(self.factor).T
        log_det = jnp.log(jnp.abs(jnp.diag(self.factor))).sum()
        return jax.scipy.stats.norm.logpdf(e).sum(-1) - log_det

    def sample_and_log_prob(self, *, seed, context):
        mean = context @ self.matrix.T
        z = mean + jax.random.normal(seed, mean.shape) @ self.factor.T
        return z, self.log_prob(z, context)


def centred(covariance: np.ndarray, x: jax.Array) -> jax.Array:
    size = len(covariance)
    normal = LinearGaussian(np.zeros((size, size)), np.linalg.cholesky(covariance))
    return normal.log_prob(x, jnp.zeros_like(x))


def posterior(joint: np.ndarray, size: int, widen: float) -> LinearGaussian:
    """``p(u | x)`` of a centred joint Gaussian of ``(x, u)``, its covariance times ``widen``."""
    xx, ux, uu = joint[:size, :size], joint[size:, :size], joint[size:, size:]
    matrix = ux @ np.linalg.inv(xx)
    factor = np.linalg.cholesky(widen * (uu - matrix @ ux.T))
    return LinearGaussian(matrix, factor)


def augmented(widen: float) -> tuple[StochasticFlow, np.ndarray]:
    layer = cast(
        scramble(dgm.DenseLinear((3,), rngs=nnx.Rngs(0)), jax.random.key(0), scale=0.3), jnp.float64
    )
    layer.bias[...] = jnp.zeros(3)
    weight = np.asarray(layer.matrix[...])
    joint = weight @ weight.T
    flow = StochasticFlow([Augment((2,), 1, posterior(joint, 2, widen)), layer])
    return cast(flow, jnp.float64), joint[:2, :2]


def factor_analysis(widen: float) -> tuple[StochasticFlow, np.ndarray]:
    rng = np.random.RandomState(0)
    loading, noise = rng.normal(size=(2, 1)), np.diag([0.5, 0.8])
    marginal = loading @ loading.T + noise**2
    joint = np.block([[marginal, loading], [loading.T, np.eye(1)]])
    decoder = LinearGaussian(loading, noise)
    flow = StochasticFlow([EncoderDecoder(posterior(joint, 2, widen), decoder)])
    return cast(flow, jnp.float64), marginal


@pytest.mark.parametrize("model", [augmented, factor_analysis])
def test_the_bound_is_exact_with_the_true_posterior(model):
    flow, covariance = model(1.0)
    x = events(flow, (5,))
    exact = centred(covariance, x)
    bound = jax.jit(lambda flow, x: flow.log_prob(x, seed=jax.random.key(0)))(flow, x)
    np.testing.assert_allclose(bound, exact, rtol=1e-11)


@pytest.mark.parametrize("model", [augmented, factor_analysis])
def test_weights_have_the_density_as_their_mean_and_the_bound_tightens(model):
    flow, covariance = model(1.7)
    x = events(flow, ())
    exact = float(centred(covariance, x))
    rows = jnp.broadcast_to(x, (20_000, 2))
    bound = jax.jit(
        lambda k: flow.log_prob(rows, seed=jax.random.key(0), num_samples=k), static_argnums=0
    )
    values = {k: np.asarray(bound(k)) for k in (1, 4, 32)}
    _assert_mean(np.exp(values[1] - exact), 1.0)
    means = [value.mean() for value in values.values()]
    assert means == sorted(means)
    assert means[0] < exact - 0.05
    assert exact - 0.01 < means[-1] < exact
    assert str(flow.bound(32)) == "importance-weighted bound, K=32 (stochastic layers)"


def test_the_importance_samples_do_not_depend_on_how_many_go_at_once():
    flow = flow_of("mixed chain")
    x, seed = events(flow, (4,)), jax.random.key(0)
    one = flow.log_prob(x, seed=seed, num_samples=5)
    np.testing.assert_allclose(
        one, flow.log_prob(x, seed=seed, num_samples=5, batch_size=5), rtol=1e-12
    )


def test_bijectors_alone_are_a_flow():
    layers = [dgm.Standardize((3,)), coupling(3, "half", context_shape=(2,))(nnx.Rngs(0))]
    base = dgm.Flow(coupling(3, "alternating")(nnx.Rngs(1)))
    ours, flow = (
        cast(scramble(model, jax.random.key(0)), jnp.float64)
        for model in (StochasticFlow(layers, base), dgm.Flow(dgm.Chain(layers), base))
    )
    x, context = events(flow, (4,)), jnp.ones((4, 2))
    assert ours.bound() == flow.bound()
    assert jnp.array_equal(ours.log_prob(x, context), flow.log_prob(x, context))
    drawn = ours.sample(seed=jax.random.key(0), sample_shape=(2,), context=context, temperature=0.5)
    assert drawn.shape == (2, 4, 3)
    assert ours.chain.kind == "bijective"


def test_an_autoencoder_of_integers_is_a_layer():
    flow = StochasticFlow([EncoderDecoder(gaussian(2, 2), Bernoulli())])
    flow = cast(scramble(flow, jax.random.key(0)), jnp.float64)
    y = jnp.asarray([[0, 1], [1, 1]])
    assert flow.num_levels == 2
    many = flow.log_prob(jnp.broadcast_to(y, (20_000, 2, 2)), seed=jax.random.key(0))
    # Logits of a symmetric prior: every pattern has probability 1/4.
    for values in np.exp(np.asarray(many)).T:
        _assert_mean(values, 0.25)
    assert flow.sample(seed=jax.random.key(0), sample_shape=(3,)).dtype == jnp.uint8
    with pytest.raises(TypeError, match="expected integer levels"):
        flow.log_prob(y.astype(float), seed=jax.random.key(0))


def test_a_posterior_and_a_likelihood_with_their_networks_are_a_layer():
    class Family(nnx.Module):
        """The contracts of posteriors and likelihoods: the network's output are the parameters."""

        event_shape = (2,)

        def log_prob(self, value, output):
            return jax.scipy.stats.norm.logpdf(value - output).sum(-1)

        def sample(self, output, *, seed):
            return self.sample_and_log_prob(output, seed=seed)[0]

        def sample_and_log_prob(self, output, *, seed):
            z = output + dgm.numerics.prng.draw(jax.random.normal, seed, output.shape)
            return z, self.log_prob(z, output)

    parts = [NetworkDensity(mlp(2, (2,), seed), Family(), (2,)) for seed in (0, 1)]
    flow = cast(scramble(StochasticFlow([EncoderDecoder(*parts)]), jax.random.key(0)), jnp.float64)
    x, seed = events(flow, (3,)), jax.random.key(0)
    layer = flow.chain.layers[0]
    z, value = layer.encode(x, seed=seed)
    log_q = Family().log_prob(z, layer.encoder.net(x))
    expected = Family().log_prob(x, layer.decoder.net(z)) - log_q
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert flow.sample(seed=seed, sample_shape=4).shape == (4, 2)


def test_data_dependent_layers_are_set_from_the_data_before_them():
    decoder = dgm.Flow(dgm.ActNorm((1,)))
    flow = cast(
        StochasticFlow(
            [dgm.ActNorm((3,)), Augment((3,), 1, dgm.distributions.standard_normal((1,))), Slice((4,), 3, decoder),
             dgm.ActNorm((3,))]
        ),
        jnp.float64,
    )  # fmt: skip
    x = 5.0 + 3.0 * events(flow, (500,))
    seed = jax.random.key(0)
    flow = flow.with_data_init(x, seed=seed)
    z, _ = flow.chain.encode(x, seed=seed)
    np.testing.assert_allclose(z.mean(0), 0.0, atol=1e-6)
    np.testing.assert_allclose(z.std(0), 1.0, atol=1e-6)
    assert flow.chain.layers[2].decoder.bijector is not decoder.bijector


def test_such_a_model_is_trained_and_reported_like_any_other():
    flow, seeds = flow_of("augment"), jax.random.split(jax.random.key(0), 8)
    batch = {"x": events(flow, (8,))}
    (loss, _), _ = jax.jit(
        jax.value_and_grad(dgm.objectives.maximum_likelihood, has_aux=True, allow_int=True)
    )(flow, batch, seeds)
    assert math.isfinite(loss)
    likelihood = dgm.log_likelihood(flow, batch["x"], seed=seeds, num_samples=3)
    assert likelihood.bound == dgm.densities.Bound("lower bound", 3, "stochastic layers")


def test_wrong_use_says_what_to_do():
    layer = make("augment")
    with pytest.raises(ValueError, match="Augment.encode draws noise; pass seed="):
        layer.encode(jnp.zeros(2))
    with pytest.raises(ValueError, match="Slice.decode draws noise"):
        make("slice").decode(jnp.zeros(1))
    with pytest.raises(TypeError, match="expected floating-point values"):
        layer.encode(jnp.zeros(2, int), seed=jax.random.key(0))
    with pytest.raises(ValueError, match="expected keep in 1 .. 2, got 3"):
        Slice((3,), 3, gaussian(1, 2))
    with pytest.raises(
        ValueError, match=r"the decoder has events of shape \(1,\), expected \(2,\)"
    ):
        Slice((3,), 1, gaussian(1, 1))
    with pytest.raises(
        ValueError, match=r"the encoder has contexts of shape \(2,\), expected \(3,\)"
    ):
        Augment((3,), 1, gaussian(1, 2))
    with pytest.raises(ValueError, match="which draws noise; the density of a layer must be exact"):
        Slice((3,), 1, StochasticFlow([Augment((2,), 1, gaussian(1, 2))]))
    with pytest.raises(ValueError, match="even sides"):
        MaxPool((3, 2, 1))
    with pytest.raises(ValueError, match="layers are listed from data to latent"):
        StochasticFlow([Augment((2,), 1, gaussian(1, 2)), AbsoluteValue((2,))])
    with pytest.raises(ValueError, match="append its layers to the layers instead"):
        StochasticFlow([AbsoluteValue((2,))], StochasticFlow([layer]))
