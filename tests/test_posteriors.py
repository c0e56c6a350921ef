"""Posteriors: one table, crossed with their laws; closed-form divergences; mixtures of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.densities.normal import (
    normal_kl,
    normal_kl_standard,
    normal_log_prob,
    tril_normal_kl_standard,
    tril_normal_log_prob,
)
from dgmjax.distributions.posteriors import (
    AmortizedFlow,
    DiagonalGaussian,
    FlowPosterior,
    FullCovarianceGaussian,
    PosteriorMixture,
    posterior,
)
from dgmjax.layers.serialization.recorded import build, record_of
from dgmjax.testing import cast, scramble
from tests.instances import coupling

FLOWS = ["planar", "radial", "sylvester", "coupling", "iaf"]
NAMES = ["gaussian", "full_covariance", *FLOWS]
close = functools.partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-8)


@functools.cache
def make(name: str, dim: int = 2):
    """In float64, away from initialization; three steps, so that pairs and a single layer are met."""
    if name == "shared flow":
        made = FlowPosterior(DiagonalGaussian(dim), coupling(dim, "alternating")(nnx.Rngs(0)))
    else:
        made = posterior(name, dim, depth=3, width=8, context_size=3, rngs=nnx.Rngs(0))
    return cast(scramble(made, jax.random.key(1)), jnp.float64)


def features_of(q, batch: tuple[int, ...], seed: int = 2) -> jax.Array:
    return 0.5 * jax.random.normal(jax.random.key(seed), (*batch, q.feature_size))


@functools.partial(jax.jit, static_argnames="sample_shape")
def draw(q, features, key, sample_shape=()):
    return q.sample_and_log_prob(features, seed=key, sample_shape=sample_shape)


@jax.jit
def log_prob(q, z, features):
    return q.log_prob(z, features)


def grid(count: int = 200, width: float = 10.0) -> tuple[jax.Array, float]:
    """Midpoints of a square ``[count^2, 2]``, and the area of a cell."""
    axis = (np.arange(count) + 0.5) * (2 * width / count) - width
    return jnp.asarray(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)), (
        2 * width / count
    ) ** 2


@pytest.mark.parametrize("name", [*NAMES, "shared flow"])
def test_a_posterior_integrates_to_one_and_its_draws_carry_their_density_and_follow_it(name):
    q = make(name)
    features = features_of(q, (2,))
    z, log_q = draw(q, features, jax.random.key(3), sample_shape=(4000,))
    close(log_prob(q, z, features), log_q)
    points, area = grid()
    weights = area * jnp.exp(log_prob(q, points[:, None], features))
    close(weights.sum(0), 1.0, rtol=1e-4)
    for power in (1, 2):
        moments = jnp.einsum("nb,nd->bd", weights, points**power)
        error = (z**power).std(0) / np.sqrt(4000)
        assert (np.abs((z**power).mean(0) - moments) < 5 * error).all()
    assert q.centre_is_mean == (name in {"gaussian", "full_covariance"})
    if q.centre_is_mean:
        close(q.centre(features), jnp.einsum("nb,nd->bd", weights, points), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_draws_have_the_axes_of_the_samples_and_then_those_of_the_features(name):
    q = make(name)
    for sample_shape, batch in [((), ()), ((), (3,)), ((4,), (2, 3)), (2, (3,)), ((2, 4), ())]:
        z, log_q = jax.eval_shape(
            functools.partial(q.sample_and_log_prob, sample_shape=sample_shape),
            features_of(q, batch),
            seed=jax.random.key(4),
        )
        shape = (sample_shape,) if isinstance(sample_shape, int) else sample_shape
        assert z.shape == (*shape, *batch, 2)
        assert log_q.shape == (*shape, *batch)


@pytest.mark.parametrize("name", NAMES)
def test_batch_axes_broadcast_and_all_pairs_are_the_broadcast_form(name):
    q = make(name)
    z, features = jax.random.normal(jax.random.key(5), (4, 2)), features_of(q, (5,))
    pairs = log_prob(q, z[:, None], features)
    assert pairs.shape == (4, 5)
    close(jax.jit(lambda q: q.pairwise_log_prob(z, features))(q), pairs)
    close(log_prob(q, z[1], features), pairs[1])
    close(log_prob(q, z, features[2]), pairs[:, 2])


@pytest.mark.parametrize("name", NAMES)
def test_one_key_an_example_gives_each_its_own_noise(name):
    q = make(name)
    features, keys = features_of(q, (3,)), jax.random.split(jax.random.key(6), 3)
    z, _ = draw(q, features, keys)
    close(z[1], draw(q, features[1], keys[1])[0])


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_all_parameters_and_features(name):
    q = make(name)

    def loss(q, features):
        z, log_q = q.sample_and_log_prob(features, seed=jax.random.key(7))
        return (jnp.sin(z).sum(-1) + log_q**2 + q.log_prob(jnp.sin(z), features)).sum()

    bars = jax.jit(jax.grad(loss, argnums=(0, 1)))(q, features_of(q, (3,)))
    for bar in jax.tree.leaves(bars):
        assert np.isfinite(bar).all()
        assert np.any(bar != 0)
    assert np.all(bars[1] != 0)


@pytest.mark.parametrize("name", NAMES)
def test_float32_stays_float32(name):
    q = posterior(name, 2, depth=2, width=8, context_size=3, rngs=nnx.Rngs(0))

    def everything(features):
        z, log_q = q.sample_and_log_prob(features, seed=jax.random.key(0))
        kl = q.kl_standard_normal(features)
        return [z, log_q, q.log_prob(z, features), q.pairwise_log_prob(z, features), kl]

    out = jax.eval_shape(everything, jnp.zeros((5, q.feature_size), jnp.float32))
    assert {leaf.dtype for leaf in jax.tree.leaves(out)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_posterior_is_standard_normal_or_a_gentle_squeeze_of_it(name, depth):
    q = cast(
        posterior(name, 3, depth=depth, width=8, context_size=2, rngs=nnx.Rngs(0)), jnp.float64
    )
    features = jnp.zeros(q.feature_size)
    z, _ = draw(q, features, jax.random.key(8))
    noise = DiagonalGaussian(3).sample(jnp.zeros(6), seed=jax.random.key(8))
    squeeze = (1.0 + np.exp(-2.0)) ** -depth if name == "iaf" else 1.0
    close(z, squeeze * noise)


def test_a_posterior_remembers_how_it_was_built():
    q = posterior("iaf", 4, depth=3, width=8, context_size=2, rngs=nnx.Rngs(0))
    again = build(record_of(q), rngs=nnx.Rngs(1))
    assert jax.tree.structure(again) == jax.tree.structure(q)


def test_the_parts_of_a_flow_make_its_density():
    q = make("planar")
    features = features_of(q, (3,))
    z0, log_q0, z, log_det = q.sample_parts(features, seed=jax.random.key(9), sample_shape=(4,))
    same, log_q = q.sample_and_log_prob(features, seed=jax.random.key(9), sample_shape=(4,))
    close(z, same)
    close(log_q, log_q0 - log_det)
    close(log_q0, q.base.log_prob(z0, features[:, :4]))
    assert np.abs(log_det).min() > 0


def test_a_flow_moves_with_its_context_only_if_it_has_one():
    for name, moves in {"coupling": True, "shared flow": False}.items():
        q = make(name)
        rows = jnp.zeros((2, q.feature_size)).at[1, 4:].set(1.0)
        z = jnp.ones(2)
        assert (q.log_prob(z, rows)[0] != q.log_prob(z, rows)[1]) == moves
    shared = AmortizedFlow("iaf", 2, depth=2, width=8, context_size=0, rngs=nnx.Rngs(0))
    assert shared.feature_size == 4


def test_one_latent_is_enough_except_for_couplings():
    for name in set(NAMES) - {"coupling"}:
        q = posterior(name, 1, depth=2, width=8, context_size=2, rngs=nnx.Rngs(0))
        features = jnp.zeros((3, q.feature_size), jnp.float32)
        assert jax.eval_shape(
            functools.partial(q.sample, seed=jax.random.key(0)), features
        ).shape == (3, 1)
    with pytest.raises(ValueError, match="dim >= 2"):
        posterior("coupling", 1, rngs=nnx.Rngs(0))


def test_errors_say_what_fits():
    with pytest.raises(ValueError, match="full_covariance"):
        posterior("normal", 2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="depth >= 1"):
        posterior("planar", 2, depth=0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="at least one latent"):
        DiagonalGaussian(0)
    q = DiagonalGaussian(2)
    with pytest.raises(ValueError, match=r"features.*\[\*batch, 4\]"):
        q.sample(jnp.zeros((3, 5)), seed=jax.random.key(0))
    with pytest.raises(ValueError, match="pairwise_log_prob"):
        q.log_prob(jnp.zeros((3, 2)), jnp.zeros((4, 4)))
    with pytest.raises(ValueError, match="from latents"):
        FlowPosterior(q, coupling(3, "half")(nnx.Rngs(0)))
    with pytest.raises(ValueError, match="n >= 1"):
        PosteriorMixture(q, jnp.zeros((0, 4)))


# Divergences.


def test_the_examples_of_the_report_near_and_far():
    """A4-07: (sigma, mu) = (1 + 1e-5, 1e-5) and (1 + 1e5, 1e5); the naive form has no digit right in float32."""
    small, big = 1.4999966667e-10, 1.00000999884870645e10
    close(normal_kl_standard(jnp.asarray(1e-5), np.log1p(1e-5)), small, rtol=1e-10, atol=0)
    close(normal_kl_standard(jnp.asarray(1e5), np.log1p(1e5)), big, rtol=1e-14, atol=0)
    mean, log_scale = jnp.float32(1e-5), jnp.float32(np.log1p(1e-5))
    got = normal_kl_standard(mean, log_scale)
    assert got.dtype == jnp.float32
    close(got, small, rtol=1e-6, atol=0)
    scale = np.float32(1.0 + 1e-5)
    naive = (scale**2 - np.float32(1) - 2 * np.log(scale) + np.float32(1e-5) ** 2) / 2
    assert abs(naive / small - 1) > 0.3


def test_the_divergence_is_smooth_through_the_change_of_formula():
    """d KL / d log s = s^2 - 1, d^2 = 2 s^2; in float64 to rounding, on both sides and at the ends of the range."""
    log_scale = jnp.asarray(
        [-300.0, -0.26, -0.25, -0.24, -1e-9, 0.0, 1e-9, 0.24, 0.25, 0.26, 300.0]
    )
    kl = functools.partial(normal_kl_standard, jnp.zeros(()))
    first, second = jax.grad(kl), jax.grad(jax.grad(kl))
    close(jax.vmap(first)(log_scale), np.expm1(2 * log_scale), rtol=1e-13, atol=0)
    close(jax.vmap(second)(log_scale), 2 * np.exp(2 * log_scale), rtol=1e-13, atol=1e-15)
    assert np.isfinite(jax.grad(kl)(jnp.float32(30.0)))


def quadrature(log_q, log_p) -> float:
    """``KL(q || p)`` in two dimensions by the midpoint rule."""
    points, area = grid(400, 14.0)
    values = log_q(points)
    return float((jnp.exp(values) * (values - log_p(points))).sum() * area)


def standard(z):
    return normal_log_prob(z, 0.0, 0.0).sum(-1)


@pytest.mark.parametrize("name", ["gaussian", "full_covariance"])
def test_the_closed_form_is_the_integral_and_the_mean_of_draws(name):
    q = make(name)
    features = features_of(q, (3,), seed=12)
    kl = q.kl_standard_normal(features)
    assert kl.shape == ((3, 2) if name == "gaussian" else (3, 1))
    for row in range(3):
        log_q = functools.partial(q.log_prob, features=features[row])
        close(kl[row].sum(), quadrature(log_q, standard), rtol=1e-8)
    z, log_q = q.sample_and_log_prob(features, seed=jax.random.key(13), sample_shape=(20_000,))
    terms = log_q - standard(z)
    error = np.asarray(terms.std(0)) / np.sqrt(len(terms))
    assert (np.abs(terms.mean(0) - kl.sum(-1)) < 4.5 * error).all()


def test_the_trace_of_the_inverse_is_no_divergence():
    """E-A4-5: the report prints Tr(Sigma^-1); it agrees at Sigma = I and nowhere else, and falls below zero."""
    tril = jnp.asarray([[1.3, 0.0], [0.4, 0.7]])
    mean = jnp.asarray([0.5, -0.2])
    sigma = tril @ tril.T
    exact = quadrature(lambda z: tril_normal_log_prob(z, mean, tril), standard)

    def form(trace):
        return 0.5 * (trace + mean @ mean - 2 - jnp.linalg.slogdet(sigma)[1])

    close(tril_normal_kl_standard(mean, tril), exact)
    close(form(jnp.trace(sigma)), exact)
    assert abs(form(jnp.trace(jnp.linalg.inv(sigma))) - exact) > 0.1
    printed = [0.5 * (1 / v - 1 - np.log(v)) for v in (1.0, 2.0, np.e)]
    close(printed, [0.0, -0.597, -0.816], atol=5e-4)
    right = [normal_kl_standard(jnp.zeros(()), 0.5 * np.log(v)) for v in (1.0, 2.0, np.e)]
    assert min(right) >= 0


def test_draws_have_the_covariance_and_not_its_square():
    """E-A4-6: z = sigma eps + mean, where the report prints diag(Sigma) eps + mean."""
    q = DiagonalGaussian(2)
    std = np.asarray([0.5, 2.0])
    raw = 7 * np.arctanh(np.log(std) / 7)
    z = q.sample(jnp.asarray([1.0, -1.0, *raw]), seed=jax.random.key(14), sample_shape=20_000)
    close(z.mean(0), [1.0, -1.0], atol=0.07)
    close(z.var(0), std**2, rtol=0.05)
    assert (np.abs(z.var(0) / std**4 - 1) > 0.5).all()
    full = FullCovarianceGaussian(2)
    z = full.sample(
        jnp.asarray([0.0, 0.0, *raw, 0.8]), seed=jax.random.key(15), sample_shape=20_000
    )
    tril = np.asarray([[0.5, 0.0], [0.8, 2.0]])
    close(np.cov(z.T), tril @ tril.T, rtol=0.05, atol=0.02)
    close(full.moments(jnp.asarray([0.0, 0.0, *raw, 0.8]))[1], tril)


def test_the_divergence_of_two_normals():
    """Against quadrature, and against the standard normal."""
    axis = jnp.linspace(-15.0, 15.0, 4001)
    log_q, log_p = normal_log_prob(axis, 0.3, -0.4), normal_log_prob(axis, -0.5, 0.2)
    exact = (jnp.exp(log_q) * (log_q - log_p)).sum() * (axis[1] - axis[0])
    close(normal_kl(jnp.asarray(0.3), -0.4, -0.5, 0.2), exact)
    close(normal_kl(jnp.asarray(0.3), -0.4, 0.0, 0.0), normal_kl_standard(jnp.asarray(0.3), -0.4))
    assert normal_kl(jnp.zeros((3, 1)), jnp.zeros(4), 0.0, 0.0).shape == (3, 4)


def test_no_features_overflow_a_gaussian():
    """The log-scale is bounded, and the identity near zero."""
    for q in (DiagonalGaussian(2), FullCovarianceGaussian(2)):
        for value in (-1e4, 1e4):
            features = jnp.zeros(q.feature_size, jnp.float32).at[2:4].set(value)
            z, log_q = q.sample_and_log_prob(features, seed=jax.random.key(0))
            assert np.isfinite([*z, log_q, *q.kl_standard_normal(features)]).all()
    log_std = DiagonalGaussian(1).moments(jnp.asarray([0.0, 0.1]))[1]
    close(log_std, [0.1], atol=1e-5)


def test_flows_have_no_closed_form():
    assert make("planar").kl_standard_normal(jnp.zeros(7)) is None


# Mixtures.


def test_all_pairs_in_float32_keep_a_thousandth_of_a_nat():
    """Means far from the origin and close together relative to it, sigmas down to 0.05."""
    q, size = DiagonalGaussian(40), 200
    keys = jax.random.split(jax.random.key(16), 3)
    mean = 30.0 + jax.random.normal(keys[0], (size, 40), jnp.float32)
    raw = jax.random.uniform(keys[1], (size, 40), jnp.float32, minval=-3.0, maxval=0.0)
    features = jnp.concatenate([mean, raw], -1)
    z = q.sample(features, seed=keys[2])
    near = np.eye(size, dtype=bool)
    got = np.asarray(q.pairwise_log_prob(z, features))
    assert got.dtype == np.float32
    exact = q.log_prob(z.astype(jnp.float64)[:, None], features.astype(jnp.float64))
    np.testing.assert_allclose(got[near], np.asarray(exact)[near], atol=3e-3, rtol=0)
    np.testing.assert_allclose(got, exact, rtol=1e-5, atol=3e-3)


@pytest.mark.parametrize(("name", "sizes"), [("gaussian", [1, 3, 100]), ("coupling", [3])])
def test_a_mixture_does_not_depend_on_its_batches_and_differentiates_through_them(name, sizes):
    q = make(name)
    features, z = features_of(q, (7,)), jax.random.normal(jax.random.key(17), (2, 3, 2))

    @functools.partial(jax.jit, static_argnames="batch_size")
    def value_and_bars(features, z, batch_size):
        def total(features, z):
            log_q = PosteriorMixture(q, features).log_prob(z, batch_size=batch_size)
            return log_q.sum(), log_q

        return jax.grad(total, argnums=(0, 1), has_aux=True)(features, z)

    bars, log_q = value_and_bars(features, z, None)
    pairs = np.asarray(log_prob(q, z[:, :, None], features))
    close(log_q, np.log(np.exp(pairs).mean(-1)))
    assert np.all(bars[0] != 0)
    for batch_size in sizes:
        again, log_q_again = value_and_bars(features, z, batch_size)
        close(log_q_again, log_q)
        jax.tree.map(close, again, bars)


def test_the_log_sum_exp_over_components_comes_after_the_sum_over_dimensions():
    """The other order, as in public notebooks, is the product of the marginals of the mixture."""
    q = DiagonalGaussian(2)
    features = jnp.asarray([[2.0, 2.0, 0.0, 0.0], [-2.0, -2.0, 0.0, 0.0]])
    at = jnp.asarray([[2.0, 2.0], [2.0, -2.0]])
    dense = np.exp(normal_log_prob(at[:, None], features[:, :2], features[:, 2:]))
    right = np.log(dense.prod(-1).mean(1))
    wrong = np.log(dense.mean(1)).sum(-1)
    got = PosteriorMixture(q, features).log_prob(at)
    close(got, right)
    assert np.abs(got - wrong).max() > 1
    assert got[0] - got[1] > 6  # no mode where a coordinate of one component meets one of the other


def test_a_mixture_draws_all_components_equally_with_one_key_a_draw_too():
    q = DiagonalGaussian(1)
    mixture = PosteriorMixture(q, jnp.asarray([[0.0, -6.0], [10.0, -6.0], [20.0, -6.0]]))
    z = jax.jit(functools.partial(mixture.sample, sample_shape=3000))(seed=jax.random.key(19))
    counts = np.bincount(np.round(np.asarray(z)[:, 0] / 10).astype(int), minlength=3)
    assert (np.abs(counts - 1000) < 5 * np.sqrt(3000 * 2 / 9)).all()
    keys = jax.random.split(jax.random.key(20), 4)
    many = mixture.sample(seed=keys, sample_shape=(4,))
    close(many[2], mixture.sample(seed=keys[2]))
    with pytest.raises(ValueError, match="batch_size"):
        mixture.log_prob(z, batch_size=0)
    assert dgm.objectives.bound_of(mixture) == dgm.densities.EXACT
