"""Facts of permutations, linear maps and normalization that the laws do not state."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.bijectors.linear import (
    cayley_matrix,
    householder_matrix,
    linear_forward,
    plu_factors,
    plu_forward,
    plu_matrix,
)
from dgmjax.layers.actnorm import ActNorm
from dgmjax.layers.batchnorm import BatchNorm
from dgmjax.layers.linear import (
    DenseLinear,
    DiagonalLinear,
    HouseholderLinear,
    OrthogonalLinear,
    PLULinear,
)
from dgmjax.layers.permute import Permute
from dgmjax.testing import cast, scramble


def eye(size: int, dtype=jnp.float64) -> jax.Array:
    return jnp.eye(size, dtype=dtype)


def data(*shape: int, dtype=jnp.float32) -> jax.Array:
    """Features (the last axis) with means and scales of their own."""
    values = np.random.RandomState(0).normal(size=shape)
    scales = np.array([0.02, 1.0, 30.0, 5.0])[: shape[-1]]
    return jnp.asarray(values * scales + np.array([0.1, -2.0, 40.0, 0.0])[: shape[-1]], dtype)


# Permutations.


def test_permute_moves_the_named_elements():
    x = Permute((4,), [2, 0, 3, 1]).forward(jnp.arange(4.0))
    assert x.tolist() == [2.0, 0.0, 3.0, 1.0]
    assert Permute.reverse((3,)).forward(jnp.arange(3.0)).tolist() == [2.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("permutation", "sign"), [([0, 1, 2, 3], 1), ([1, 0, 2, 3], -1), ([3, 2, 1, 0], 1)]
)
def test_permutations_keep_volume_exactly_and_swaps_flip_the_sign(permutation, sign):
    layer = Permute((4,), permutation)
    z = data(4, dtype=jnp.float64)
    assert jnp.linalg.slogdet(jax.jacfwd(layer.forward)(z)).sign == sign
    assert layer.forward_log_det(z) == 0.0
    assert layer.inverse_log_det(z) == 0.0


def test_shuffles_are_fixed_by_their_seed():
    z = jnp.arange(50.0)
    one, again, other = (Permute.shuffle((50,), seed=seed).forward(z) for seed in (1, 1, 2))
    assert jnp.array_equal(one, again)
    assert not jnp.array_equal(one, other)
    assert not jnp.array_equal(one, z)


@pytest.mark.parametrize("permutation", [[0, 1], [0, 1, 1], [0, 1, 3], [[0, 1, 2]]])
def test_what_is_no_permutation_is_refused(permutation):
    with pytest.raises(ValueError, match="each of the integers 0 .. 2 once"):
        Permute((3,), permutation)


# Linear maps.


def test_the_matrix_multiplies_the_latent():
    matrix, bias = jnp.array([[0.0, 2.0], [3.0, 0.0]]), jnp.array([10.0, 20.0])
    x, log_det = linear_forward(jnp.array([1.0, 5.0]), matrix, bias)
    assert x.tolist() == [20.0, 23.0]
    assert jnp.allclose(log_det, jnp.log(6.0))


@pytest.mark.parametrize(
    "matrix",
    [
        lambda key: householder_matrix(3.0 * jax.random.normal(key, (7, 7))),
        lambda key: householder_matrix(jax.random.normal(key, (3, 7))),
        lambda key: householder_matrix(jax.random.normal(key, (12, 7))),
        lambda key: cayley_matrix(4.0 * jax.random.normal(key, (7, 7))),
    ],
    ids=["7 reflections", "3 reflections", "12 reflections", "Cayley"],
)
def test_orthogonal_families_are_orthogonal_and_no_identity(matrix):
    q = matrix(jax.random.key(0))
    assert jnp.allclose(q @ q.T, eye(7), rtol=0, atol=1e-13)
    assert not jnp.allclose(q, eye(7), atol=0.1)


def test_householder_is_the_product_of_its_reflections_in_order():
    vectors = jax.random.normal(jax.random.key(0), (3, 5))
    reflections = [eye(5) - 2.0 * jnp.outer(v, v) / (v @ v) for v in vectors]
    product = functools.reduce(jnp.matmul, reflections)
    assert jnp.allclose(householder_matrix(vectors), product, rtol=0, atol=1e-13)
    assert jnp.allclose(jnp.linalg.det(product), -1.0)


def test_cayley_of_a_plane_is_the_rotation_of_the_formula():
    """A = [[0, -a], [a, 0]] gives the rotation by -2 arctan(a)."""
    q = cayley_matrix(jnp.array([[7.0, 8.0], [0.5, 9.0]]))
    angle = -2.0 * np.arctan(0.5)
    expected = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert jnp.allclose(q, jnp.asarray(expected), rtol=0, atol=1e-14)
    assert jnp.array_equal(cayley_matrix(jnp.zeros((3, 3))), eye(3))


@pytest.mark.parametrize(("dtype", "error"), [(jnp.float32, 1e-6), (jnp.float64, 1e-13)])
def test_plu_reconstructs_a_rotation(dtype, error):
    rotation = jax.random.orthogonal(jax.random.key(0), 48, dtype=dtype)
    plu = plu_factors(rotation)
    assert jnp.abs(plu_matrix(plu) - rotation).max() < error
    assert (plu.sign < 0).any()  # forgetting the signs would be seen
    z = jax.random.normal(jax.random.key(1), (48,), dtype)
    x, log_det = plu_forward(z, plu, jnp.zeros(48, dtype))
    assert jnp.allclose(x, rotation @ z, rtol=0, atol=20 * error)
    assert jnp.allclose(log_det, 0.0, atol=10 * error)


def test_plu_layer_starts_as_a_rotation_and_learns_its_determinant_alone():
    layer = PLULinear((16,), rngs=nnx.Rngs(0))
    w = plu_matrix(layer.factors)
    assert jnp.allclose(w @ w.T, eye(16, jnp.float32), rtol=0, atol=1e-6)
    moved = cast(scramble(layer, jax.random.key(0)), jnp.float64)
    before = jnp.linalg.slogdet(cast(w, jnp.float64))
    after = jnp.linalg.slogdet(plu_matrix(moved.factors))
    assert after.sign == before.sign
    assert jnp.allclose(after.logabsdet, moved.log_scale[...].sum(), rtol=0, atol=1e-12)
    assert jnp.allclose(moved.forward_log_det(jnp.zeros(16)), after.logabsdet, atol=1e-12)
    assert set(dgm.training.partition(layer)[1]) == {"permutation", "sign"}


def test_a_saved_plu_layer_keeps_its_permutation_and_signs(tmp_path):
    layer = scramble(PLULinear((6,), rngs=nnx.Rngs(3)), jax.random.key(0))
    dgm.save(tmp_path / "model", layer)
    z = data(5, 4)[:, :1] + jnp.arange(6, dtype=jnp.float32)[None]
    assert jnp.array_equal(dgm.load(tmp_path / "model").forward(z), layer.forward(z))


@pytest.mark.parametrize("layer", [DenseLinear, PLULinear, HouseholderLinear, OrthogonalLinear])
def test_matrices_are_for_vectors(layer):
    with pytest.raises(ValueError, match=rf"{layer.__name__}: expected a vector event"):
        layer((2, 3), rngs=nnx.Rngs(0))


def test_diagonal_scales_each_element():
    layer = DiagonalLinear((2,))
    assert layer.forward(jnp.ones(2, jnp.float32)).tolist() == [1.0, 1.0]
    layer.log_scale = nnx.Param(jnp.log(jnp.array([2.0, 5.0])))
    x, log_det = layer.forward_and_log_det(jnp.ones(2))
    assert jnp.allclose(x, jnp.array([2.0, 5.0]))
    assert jnp.allclose(log_det, jnp.log(10.0))


# Normalization.


@pytest.mark.parametrize("shape", [(256, 4), (16, 8, 4), (16, 4, 4, 4)])
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_actnorm_starts_with_normalized_features(shape, transform):
    event = shape[1:] if len(shape) == 4 else shape[-1:]
    x = data(*shape)
    layer = transform(lambda x: ActNorm(event).with_data_init(x))(x)
    z = layer.inverse(x).reshape(-1, 4)
    assert jnp.allclose(z.mean(0), 0.0, atol=1e-5)
    assert jnp.allclose(z.var(0), 1.0, atol=1e-5)


def test_actnorm_of_constant_and_tiny_features_stays_finite():
    x = jnp.stack([jnp.full(9, 0.1), jnp.zeros(9), 1e-30 * jnp.arange(9.0)], axis=-1)
    x = x.astype(jnp.float32)
    layer = ActNorm((3,)).with_data_init(x)
    assert layer.log_scale[...][:2].tolist() == [0.0, 0.0]
    z = layer.inverse(x)
    assert jnp.allclose(z.mean(0), 0.0, atol=1e-5)
    assert jnp.allclose(z.std(0), jnp.array([0.0, 0.0, 1.0], jnp.float32), atol=1e-5)


def test_actnorm_of_a_feature_that_varies_by_rounding_alone_keeps_its_scale():
    x = jnp.array([[1e3], [np.nextafter(np.float32(1e3), np.float32(2e3))]], jnp.float32)
    assert x[0] != x[1]
    assert ActNorm((1,)).with_data_init(x).log_scale[...].item() == 0.0


def test_data_init_leaves_the_module_as_it_is():
    for layer in (ActNorm((4,)), BatchNorm((4,))):
        new = layer.with_data_init(data(8, 4))
        x = data(3, 4)
        assert jnp.allclose(layer.inverse(x), x, rtol=1e-4)
        assert not jnp.allclose(new.inverse(x), x, rtol=1e-4)


def test_a_chain_initializes_actnorm_on_what_reaches_it():
    chain = dgm.Chain([DiagonalLinear((4,)), Permute.reverse((4,)), ActNorm((4,))])
    z = chain.with_data_init(data(64, 4)).inverse(data(64, 4))
    assert jnp.allclose(z.mean(0), 0.0, atol=1e-5)
    assert jnp.allclose(z.var(0), 1.0, atol=1e-5)


def test_batchnorm_normalizes_with_the_batch_and_averages_its_statistics():
    layer = cast(BatchNorm((4,), momentum=0.75, epsilon=1e-6), jnp.float64)
    x = data(32, 4, dtype=jnp.float64)
    z, log_det, new = jax.jit(lambda layer, x: layer.inverse_and_update(x))(layer, x)
    assert jnp.allclose(z.mean(0), 0.0, atol=1e-9)
    assert jnp.allclose(z.var(0), x.var(0) / (x.var(0) + 1e-6))
    assert jnp.allclose(log_det, -0.5 * jnp.log(x.var(0) + 1e-6).sum())
    assert log_det.shape == (32,)
    assert jnp.allclose(new.mean, 0.25 * x.mean(0))
    assert jnp.allclose(new.variance, 0.75 + 0.25 * x.var(0))
    assert jnp.array_equal(layer.mean, jnp.zeros(4))


def test_repeated_updates_converge_to_the_statistics_of_the_data():
    layer = cast(BatchNorm((4,), momentum=0.5), jnp.float64)
    x = data(32, 4, dtype=jnp.float64)
    update = jax.jit(lambda layer: layer.inverse_and_update(x)[2])
    for _ in range(60):
        layer = update(layer)
    at_once = BatchNorm((4,)).with_data_init(x)
    assert jnp.allclose(layer.mean, x.mean(0))
    assert jnp.allclose(layer.variance, x.var(0))
    assert jnp.allclose(at_once.mean, cast(layer.mean, jnp.float32), rtol=1e-6)
    trained, _, _ = layer.inverse_and_update(x)
    assert jnp.allclose(layer.inverse(x), trained)


def test_evaluation_of_batchnorm_does_not_depend_on_the_batch():
    layer = BatchNorm((4,)).with_data_init(data(32, 4))
    x = data(6, 4)
    assert jnp.allclose(layer.inverse(x)[0], layer.inverse(x[0]), rtol=1e-6)
    assert not jnp.allclose(layer.inverse_and_update(x)[0][0], layer.inverse(x)[0], atol=1e-2)


def test_gradients_reach_the_batch_statistics_but_not_the_running_ones():
    layer, x = cast(BatchNorm((4,)), jnp.float64), data(8, 4, dtype=jnp.float64)
    through_batch = jax.grad(lambda x: layer.inverse_and_update(x)[1].sum())(x)
    assert (through_batch != 0).all()
    through_running = jax.grad(lambda x: layer.inverse_and_update(x)[2].variance.sum())(x)
    assert (through_running == 0).all()


def test_gain_and_offset_are_scale_and_mean_of_the_latents():
    layer = cast(BatchNorm((4,)), jnp.float64)
    layer.offset = nnx.Param(jnp.full(4, 3.0))
    layer.log_gain = nnx.Param(jnp.full(4, jnp.log(2.0)))
    x = data(32, 4, dtype=jnp.float64)
    z = layer.inverse_and_update(x)[0]
    assert jnp.allclose(z.mean(0), 3.0)
    assert jnp.allclose(z.std(0), 2.0, rtol=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BatchNorm((4,)).inverse_and_update(data(4)), "at least 2 values a feature, got 1"),
        (lambda: BatchNorm((4,)).with_data_init(data(1, 4)), "at least 2 values a feature, got 1"),
        (lambda: BatchNorm((4,)).with_data_init(data(8, 3)), r"expected an array of shape"),
        (lambda: BatchNorm((4,), momentum=1.0), "0 <= momentum < 1"),
        (lambda: BatchNorm((4,), epsilon=0.0), "epsilon > 0"),
        (lambda: BatchNorm(()), "at least one axis"),
        (lambda: ActNorm(()), "at least one axis"),
        (lambda: ActNorm((4,)).with_data_init(data(8, 3)), "expected an array of shape"),
        (lambda: Permute.reverse(()), "at least one axis"),
        (lambda: HouseholderLinear((3,), num_reflections=0, rngs=nnx.Rngs(0)), ">= 1, got 0"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("size", [1, 5, 48])
def test_substitution_solves_triangular_systems(lower, size):
    random = np.random.RandomState(0)
    matrix = 0.3 * random.randn(size, size) + 2.0 * np.eye(size)
    b = random.randn(size, 3)

    def solve(function, matrix, b):
        return jnp.sin(function(matrix, b, lower=lower)).sum()

    own, library = (
        jax.value_and_grad(functools.partial(solve, function), argnums=(0, 1))
        for function in (dgm.numerics.solve_triangular, jax.scipy.linalg.solve_triangular)
    )
    got, expected = (
        own(jnp.asarray(matrix), jnp.asarray(b)),
        library(jnp.asarray(matrix), jnp.asarray(b)),
    )
    chex.assert_trees_all_close(got, expected, rtol=1e-10, atol=1e-12)
