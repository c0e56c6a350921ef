"""Planar, radial and Sylvester flows, and the root finder under them: facts beyond the laws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.bijectors.nonlinearity import NONLINEARITIES, bounded_coefficient, nonlinearity
from dgmjax.bijectors.planar import planar_constrain, planar_forward, planar_inverse
from dgmjax.bijectors.radial import radial_constrain, radial_forward, radial_inverse
from dgmjax.bijectors.sylvester import (
    householder_columns,
    sylvester_forward,
    sylvester_inverse,
    sylvester_triangles,
)
from dgmjax.layers.planar import Planar
from dgmjax.layers.radial import Radial
from dgmjax.layers.sylvester import Sylvester
from dgmjax.numerics.root import monotone_root
from dgmjax.testing import cast, scramble

COUNT = 10_000


def normals(seed, *shapes, scale=1.0):
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return [scale * jax.random.normal(key, s) for key, s in zip(keys, shapes, strict=True)]


# The root finder.


def cubic(x, params):
    return x**3 + params["slope"] * x


def steps(x, center):
    return jnp.tanh(50.0 * (x - center)) + 1e-3 * x


def overflowing(x, scale):
    return scale * jnp.exp(x)


@pytest.mark.parametrize(("dtype", "ulps"), [(jnp.float32, 8), (jnp.float64, 8)])
def test_root_is_exact_over_many_magnitudes(dtype, ulps):
    size = np.geomspace(1e-6, 1e4, 41)
    root = jnp.asarray(np.concatenate([-size, [0.0], size]), dtype)
    params = {"slope": jnp.full_like(root, 0.5)}
    found = monotone_root(cubic, params, cubic(root, params), -1e5, 1e5)
    assert found.dtype == dtype
    limits = jnp.finfo(dtype)
    assert (jnp.abs(found - root) <= ulps * limits.eps * jnp.abs(root) + 1e-12).all()


@pytest.mark.parametrize("f", [steps, overflowing])
def test_root_where_newton_alone_diverges(f):
    """Newton from the middle of the bracket leaves it: tanh is flat there, exp overflows."""
    root = jnp.linspace(-300.0, 290.0, 60)
    params = jnp.full_like(root, 0.7)
    target = f(root, params)
    found = monotone_root(f, params, target, -1e4, 1e3)
    assert jnp.allclose(f(found, params), target, rtol=1e-12, atol=1e-12)


def test_root_gradients_match_finite_differences_in_both_modes_and_twice():
    def solve(target, slope):
        return monotone_root(cubic, {"slope": slope}, target, -10.0, 10.0)

    target, slope, step = jnp.array([-3.0, 0.4, 7.0]), jnp.array([0.3, 1.0, 2.0]), 1e-5
    by_target = (solve(target + step, slope) - solve(target - step, slope)) / (2 * step)
    by_slope = (solve(target, slope + step) - solve(target, slope - step)) / (2 * step)
    for jacobian in (jax.jacfwd, jax.jacrev):
        got_target, got_slope = jacobian(solve, argnums=(0, 1))(target, slope)
        assert jnp.allclose(got_target, jnp.diag(by_target), atol=1e-8)
        assert jnp.allclose(got_slope, jnp.diag(by_slope), atol=1e-8)
    # x^3 + a x = t gives x' = 1 / (3 x^2 + a) and x'' = -6 x x'^3.
    x, second = solve(target, slope), jax.vmap(jax.grad(jax.grad(solve)))(target, slope)
    assert jnp.allclose(second, -6 * x / (3 * x**2 + slope) ** 3, atol=1e-12)


def test_root_propagates_nan_to_its_own_element_only():
    target = jnp.array([1.0, jnp.nan, 1.0])
    params = {"slope": jnp.array([1.0, 1.0, jnp.nan])}
    found = monotone_root(cubic, params, target, -2.0, 2.0)
    assert jnp.array_equal(jnp.isnan(found), jnp.array([False, True, True]))
    alone = monotone_root(cubic, {"slope": jnp.array([1.0])}, jnp.array([1.0]), -2.0, 2.0)
    assert found[0] == alone[0]


# The constraint.


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_slopes_of_nonlinearities_are_what_they_claim(name):
    h = nonlinearity(name)
    y = jnp.linspace(-40.0, 40.0, 8001)
    slope = h.derivative(y)
    assert jnp.allclose(jax.vmap(jax.grad(h.fn))(y), slope, atol=1e-14)
    assert jnp.allclose(jnp.max(slope), h.max_slope, rtol=1e-12)
    assert jnp.allclose(jnp.min(slope), h.min_slope, atol=1e-15)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", NONLINEARITIES)
def test_planar_determinant_is_positive_for_random_parameters(name, dtype):
    z, u, w, b = (
        a.astype(dtype) for a in normals(0, (COUNT, 3), (COUNT, 3), (COUNT, 3), (COUNT,), scale=3.0)
    )
    # Half of the points on the hyperplane w.z + b = 0, where tanh and the sigmoid are steepest.
    offset = ((w * z).sum(-1) + b) / (w**2).sum(-1)
    z = jnp.where(jnp.arange(COUNT)[:, None] % 2 == 0, z, z - offset[:, None] * w)
    u_hat = planar_constrain(u, w, name)
    _, log_det = planar_forward(z, u_hat, w, b, name)
    forward = functools.partial(planar_forward, h=name)
    jacobian = jax.vmap(jax.jacfwd(lambda *a: forward(*a)[0]))(z, u_hat, w, b)
    sign, exact = jnp.linalg.slogdet(jacobian.astype(jnp.float64))
    assert (sign > 0).all()
    assert jnp.isfinite(log_det).all()
    if dtype == jnp.float64:
        assert jnp.allclose(log_det, exact, atol=1e-8)
        # Without the constraint the same parameters fold the plane.
        assert ((1.0 + (w * u).sum(-1) * nonlinearity(name).max_slope) < 0).any()


def test_planar_bound_is_the_slope_of_h_and_not_its_supremum():
    """E-D3-7: printed ``w.v > -1 / sup h``, right ``w.v > -1 / sup h'``: -1 and -4 for the sigmoid."""
    u, w = normals(1, (COUNT, 2), (COUNT, 2), scale=3.0)
    along = (w * planar_constrain(u, w, "sigmoid")).sum(-1)
    assert along.min() > -4.0
    # With the printed bound no flow of the family would go below -1.
    assert along.min() < -3.9

    def determinant(c):
        z, w, b = jnp.zeros(2), jnp.array([1.0, 0.0]), jnp.zeros(())
        forward = lambda z: planar_forward(z, jnp.array([c, 0.5]), w, b, "sigmoid")[0]  # noqa: E731
        return jnp.linalg.det(jax.jacfwd(forward)(z))

    assert determinant(-3.99) > 0
    assert determinant(-4.01) < 0  # so -4 is the bound, neither more nor less
    # For tanh both suprema are 1: the coincidence behind the misprint.
    tanh_along = (w * planar_constrain(u, w, "tanh")).sum(-1)
    assert -1.0 < tanh_along.min() < -0.99


def test_constraint_keeps_what_lies_across_w_and_is_differentiable_at_zero():
    u, w = normals(2, (7, 3), (7, 3))
    change = planar_constrain(u, w) - u
    across = change - (change * w).sum(-1, keepdims=True) / (w * w).sum(-1, keepdims=True) * w
    assert jnp.allclose(across, jnp.zeros_like(across), atol=1e-14)
    assert jnp.allclose(bounded_coefficient(jnp.zeros(()), 0.25), 0.0, atol=1e-14)
    gradient = jax.grad(lambda u, w: planar_constrain(u, w).sum(), (0, 1))(u[0], jnp.zeros(3))
    assert all(jnp.isfinite(g).all() for g in gradient)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_radial_determinant_is_positive_for_random_parameters(dtype):
    z, center, raw_alpha, raw_beta = (
        a.astype(dtype) for a in normals(3, (COUNT, 3), (COUNT, 3), (COUNT,), (COUNT,), scale=3.0)
    )
    z = jnp.where(
        jnp.arange(COUNT)[:, None] % 2 == 0, z, center
    )  # the slope is least at the centre
    alpha, beta = radial_constrain(raw_alpha, raw_beta)
    assert (beta > -alpha).all()
    assert (beta < 0).any()
    _, log_det = radial_forward(z, center, alpha, beta)
    jacobian = jax.vmap(jax.jacfwd(lambda *a: radial_forward(*a)[0]))(z, center, alpha, beta)
    sign, exact = jnp.linalg.slogdet(jacobian.astype(jnp.float64))
    assert (sign > 0).all()
    assert jnp.allclose(log_det, exact.astype(dtype), atol=1e-8 if dtype == jnp.float64 else 1e-2)


# Inverses.


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.float64, 1e-13)])
@pytest.mark.parametrize("name", NONLINEARITIES)
def test_planar_round_trip_at_extreme_inputs(name, dtype, tolerance):
    u, w, b = (a.astype(dtype) for a in normals(4, (2000, 3), (2000, 3), (2000,)))
    scale = jnp.logspace(-4, 4, 2000, dtype=dtype)[:, None]
    x = scale * normals(5, (2000, 3))[0].astype(dtype)
    u_hat = planar_constrain(u, w, name)
    z, inverse_log_det = planar_inverse(x, u_hat, w, b, name)
    back, log_det = planar_forward(z, u_hat, w, b, name)
    assert back.dtype == dtype
    # Where the map contracts, rounding of z counts in units of x and of u h: both are inputs of x.
    size = 1.0 + jnp.abs(x).max(-1) + jnp.abs(z).max(-1)
    assert (jnp.abs(back - x).max(-1) <= tolerance * size * (1.0 + jnp.abs(u_hat).max(-1))).all()
    assert jnp.isfinite(log_det).all()
    if dtype == jnp.float64 and name != "leaky_relu":  # its slope jumps
        assert jnp.allclose(log_det, -inverse_log_det, atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.float64, 1e-13)])
def test_radial_round_trip_at_extreme_inputs_and_at_the_centre(dtype, tolerance):
    center, raw_alpha, raw_beta = (a.astype(dtype) for a in normals(6, (2000, 3), (2000,), (2000,)))
    scale = jnp.logspace(-4, 4, 2000, dtype=dtype)[:, None].at[0].set(0.0)
    x = center + scale * normals(7, (2000, 3))[0].astype(dtype)
    alpha, beta = radial_constrain(raw_alpha, raw_beta)
    z, inverse_log_det = radial_inverse(x, center, alpha, beta)
    back, log_det = radial_forward(z, center, alpha, beta)
    assert jnp.array_equal(z[0], center[0])
    assert jnp.allclose(back, x, rtol=tolerance, atol=10 * tolerance)
    assert jnp.allclose(log_det, -inverse_log_det, atol=1e4 * tolerance)
    gradient = jax.grad(lambda x: sum(out.sum() for out in radial_inverse(x, center, alpha, beta)))
    assert jnp.isfinite(gradient(x)).all()


def finite_difference(f, arguments, index, step=1e-6):
    """Derivative of the scalar ``f`` along one direction of one argument, and that direction."""
    direction = normals(20 + index, arguments[index].shape)[0]

    def moved(sign):
        changed = list(arguments)
        changed[index] = changed[index] + sign * step * direction
        return f(*changed)

    return (moved(1) - moved(-1)) / (2 * step), direction


def planar_loss(x, u, w, b):
    z, log_det = planar_inverse(x, planar_constrain(u, w, "sigmoid"), w, b, "sigmoid")
    return (jnp.sin(z).sum(-1) + log_det).sum()


def sylvester_loss(x, vectors, matrix, diagonal, b):
    q = householder_columns(vectors, 2)
    z, log_det = sylvester_inverse(x, q, *sylvester_triangles(matrix, diagonal), b)
    return (jnp.sin(z).sum(-1) + log_det).sum()


@pytest.mark.parametrize(
    ("loss", "shapes"),
    [
        (planar_loss, [(5, 3), (3,), (5, 3), (5,)]),
        (sylvester_loss, [(4, 3), (2, 3), (4, 2, 2), (4, 2), (2,)]),
    ],
)
def test_gradients_through_the_inverse_are_implicit_derivatives(loss, shapes):
    arguments = normals(8, *shapes)
    loss = jax.jit(loss)
    reverse = jax.jit(jax.grad(loss, argnums=tuple(range(len(shapes)))))(*arguments)
    for index, gradient in enumerate(reverse):
        expected, direction = finite_difference(loss, arguments, index)
        assert jnp.allclose((gradient * direction).sum(), expected, rtol=1e-7, atol=1e-7), index
        tangents = [jnp.zeros_like(a) for a in arguments]
        tangents[index] = direction
        _, forward = jax.jvp(loss, tuple(arguments), tuple(tangents))
        assert jnp.allclose(forward, (gradient * direction).sum(), rtol=1e-11), index


# Sylvester.


def test_householder_columns_are_orthonormal_and_one_reflection_is_the_formula():
    (vectors,) = normals(9, (6, 3, 5))
    q = householder_columns(vectors, 3)
    gram = jnp.einsum("bij,bik->bjk", q, q)
    assert jnp.allclose(gram, jnp.broadcast_to(jnp.eye(3), gram.shape), atol=1e-14)
    v = vectors[0, :1]
    expected = jnp.eye(5) - 2.0 * v.T @ v / (v**2).sum()
    assert jnp.allclose(householder_columns(v, 5), expected, atol=1e-14)


def test_sylvester_determinant_is_positive_for_random_parameters():
    z, vectors, matrix, diagonal, b = normals(
        10, (COUNT, 3), (COUNT, 2, 3), (COUNT, 2, 2), (COUNT, 2), (COUNT, 2), scale=3.0
    )
    r1, r2 = sylvester_triangles(matrix, diagonal, "sigmoid")
    assert jnp.array_equal(jnp.tril(r1, -1), jnp.zeros_like(r1))
    assert jnp.array_equal(jnp.tril(r2, -1), jnp.zeros_like(r2))
    q = householder_columns(vectors, 2)
    forward = functools.partial(sylvester_forward, h="sigmoid")
    _, log_det = forward(z, q, r1, r2, b)
    jacobian = jax.vmap(jax.jacfwd(lambda *a: forward(*a)[0]))(z, q, r1, r2, b)
    sign, exact = jnp.linalg.slogdet(jacobian)
    assert (sign > 0).all()
    assert jnp.allclose(log_det, exact, atol=1e-6)


def test_sylvester_with_one_unit_is_planar():
    z, vectors, matrix, diagonal, b = normals(11, (6, 4), (1, 4), (1, 1), (1,), (1,))
    q = householder_columns(vectors, 1)
    r1, r2 = sylvester_triangles(matrix, diagonal)
    x, log_det = sylvester_forward(z, q, r1, r2, b)
    direction = q[:, 0]
    expected, expected_log_det = planar_forward(z, r1[0, 0] * direction, r2[0, 0] * direction, b[0])
    assert jnp.allclose(x, expected, atol=1e-14)
    assert jnp.allclose(log_det, expected_log_det, atol=1e-14)


def test_sylvester_round_trip_at_extreme_inputs():
    vectors, matrix, diagonal, b = normals(12, (4, 4), (4, 4), (4,), (4,))
    parameters = (householder_columns(vectors, 4), *sylvester_triangles(matrix, diagonal), b)
    x = jnp.logspace(-4, 4, 200)[:, None] * normals(13, (200, 4))[0]
    z, inverse_log_det = sylvester_inverse(x, *parameters)
    back, log_det = sylvester_forward(z, *parameters)
    assert jnp.allclose(back, x, rtol=1e-12, atol=1e-11)
    assert jnp.allclose(log_det, -inverse_log_det, atol=1e-7)


# Layers.

LAYERS = {"planar": Planar, "radial": Radial, "sylvester": Sylvester}


def amortized(cls, rngs):
    net = functools.partial(dgm.nets.MLP, width=8, depth=1, dropout=0.5, rngs=rngs)
    return cls((3,), context_shape=(2,), make_conditioner=net, rngs=rngs)


@pytest.mark.parametrize("cls", LAYERS.values(), ids=LAYERS)
def test_fresh_layers_are_the_identity_and_can_learn(cls):
    layer = cls((3,), rngs=nnx.Rngs(0))
    z = jax.random.normal(jax.random.key(0), (5, 3), jnp.float32)
    x, log_det = layer.forward_and_log_det(z)
    assert jnp.allclose(x, z, atol=1e-6)
    assert jnp.allclose(log_det, jnp.zeros_like(log_det), atol=1e-6)
    gradient = nnx.grad(lambda layer: (layer.forward(z) ** 2).sum())(layer)
    assert any((leaf != 0).any() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("cls", LAYERS.values(), ids=LAYERS)
def test_amortized_layers_follow_the_context(cls):
    layer = cast(scramble(amortized(cls, nnx.Rngs(1)), jax.random.key(1)), jnp.float64)
    x, context = normals(14, (2, 4, 3), (4, 2))
    z, log_det = layer.inverse_and_log_det(x, context)  # one context row for each of 4 columns
    full = jnp.broadcast_to(context, (2, 4, 2))
    again, log_det_again = layer.inverse_and_log_det(x, full)
    assert jnp.allclose(z, again, atol=1e-12)
    assert jnp.allclose(log_det, log_det_again, atol=1e-12)
    row, _ = layer.inverse_and_log_det(x[:, 1], context[1])
    assert jnp.allclose(row, z[:, 1], atol=1e-12)
    assert not jnp.allclose(layer.inverse(x, full + 1.0), z)
    key = jax.random.key(2)
    dropped, _ = layer.inverse_and_log_det(x, full, key=key)
    assert not jnp.allclose(dropped, z)
    assert jnp.allclose(layer.forward_and_log_det(dropped, full, key=key)[0], x, atol=1e-10)


@pytest.mark.parametrize("cls", LAYERS.values(), ids=LAYERS)
def test_layers_say_what_is_wrong_with_their_arguments(cls):
    with pytest.raises(ValueError, match="vector event"):
        cls((2, 2), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="go together"):
        cls((2,), context_shape=(3,), rngs=nnx.Rngs(0))
    if cls is not Radial:
        with pytest.raises(ValueError, match="unknown name 'sine'"):
            cls((2,), h="sine", rngs=nnx.Rngs(0))
    if cls is Sylvester:
        with pytest.raises(ValueError, match="num_units"):
            cls((2,), num_units=3, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("cls", [dgm.PlanarFlow, dgm.RadialFlow])
def test_two_batch_axes_with_a_context_along_one(cls, x32):
    """Some releases of XLA are wrong in over 32,768 sums of products that are broadcast along the first axis."""
    flow = scramble(cls((2,), depth=2, context_shape=(3,), rngs=nnx.Rngs(0)), jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (200, 200, 2), jnp.float32)
    context = jax.random.normal(jax.random.key(2), (200, 3), jnp.float32)
    together = flow.log_prob(x, context)  # of the second axis
    alone = jax.lax.map(lambda x: flow.log_prob(x, context), x)
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)
