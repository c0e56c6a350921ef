"""Properties of the pure functions under hypothesis: any values, far beyond what training meets.

Budgets are backward errors. Rounding moves the image ``y`` of a value by some units in its last place, so the way back
must land between the preimages of ``y - e`` and ``y + e``, and no closer agreement exists for any implementation. Where
a map saturates in floating point (``tanh(20) = 1``), the values are restricted and the line says so.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import dgmjax as dgm
from dgmjax import bijectors
from dgmjax.testing import cast, scramble

# The same examples every time, nothing kept on disk; the first example of a shape compiles, so no deadline.
settings.register_profile("dgmjax", derandomize=True, database=None, deadline=None, max_examples=20)
settings.load_profile("dgmjax")

DTYPES = ["float64", "float32"]
BATCH, SIZE = 3, 4
SLACK = 32.0  # units in the last place
seeds = st.integers(0, 2**31 - 1)


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    """Ordinary values as often as extreme ones, and the ends themselves; nothing that underflows when scaled."""
    middle = st.floats(max(low, -3.0), min(high, 3.0))
    values = st.one_of(middle, st.floats(low, high), st.sampled_from([low, high]))
    return values.map(lambda value: 0.0 if low <= 0.0 and abs(value) < 1e-20 else value)


def arrays(shape: tuple[int, ...], low: float = -1e4, high: float = 1e4):
    return hnp.arrays(np.float64, shape, elements=numbers(low, high))


def eps(dtype: Any) -> float:
    return float(jnp.finfo(dtype).eps)


def assert_finite(*values: Any) -> None:
    for value in values:
        assert np.isfinite(np.asarray(value)).all(), value


class Map(NamedTuple):
    """An increasing elementwise map under test.

    Attributes:
      forward: ``(z, params) -> (x, log_derivative)``.
      inverse: ``(x, params) -> (z, log_derivative)``.
      params: strategy of ``[SIZE, P]``.
      sizes: of params, size of what values are added to on the way.
      z: latents to try; the last two numbers are the open interval of all latents.
      x: data to try, likewise.
    """

    forward: Callable[..., Any]
    inverse: Callable[..., Any]
    params: Any
    sizes: Callable[[Any], Any] = lambda params: jnp.zeros_like(params[..., 0])
    z: tuple[float, ...] = (-1e4, 1e4, -math.inf, math.inf)
    x: tuple[float, ...] = (-1e4, 1e4, -math.inf, math.inf)


def columns(*ranges: tuple[float, float]):
    parts = [arrays((SIZE, 1), low, high) for low, high in ranges]
    return st.tuples(*parts).map(lambda parts: np.concatenate(parts, axis=-1))


def transformer(t: bijectors.Transformer, params: Any, sizes: Any = None) -> Map:
    return Map(t.forward, t.inverse, params, sizes or (lambda p: jnp.abs(p[..., 0])))


def fixed(forward: Callable[..., Any], inverse: Callable[..., Any], **ranges: Any) -> Map:
    return Map(lambda z, p: forward(z), lambda x, p: inverse(x), columns((0.0, 0.0)), **ranges)


def by_families(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda value, p: function(
        value, bijectors.NORMAL_MIXTURES, tuple(jnp.split(p, 3, axis=-1))
    )


BIG = (-1e4, 1e4)
# Raw log-scales go beyond the bound on both sides; where s reaches 0 or infinity they end at e^-30 and e^30.
RAW = {
    "tanh": BIG,
    "sigmoid": (-30.0, 1e4),
    "double_sigmoid": (-30.0, 1e4),
    "softplus": (-30.0, 1e4),
    "exp": (-30.0, 30.0),
}
SPLINE = bijectors.SplineTransformer(4, bound=3.0)
MAPS: dict[str, Map] = {
    f"affine, {name}": transformer(bijectors.AffineTransformer(name), columns(BIG, RAW[name]))
    for name in bijectors.SCALE_FNS
} | {
    "affine, shift first": transformer(
        bijectors.AffineTransformer("tanh", shift_first=True), columns(BIG, BIG)
    ),
    "affine, exp, shift first": transformer(
        bijectors.AffineTransformer("exp", shift_first=True), columns(BIG, RAW["exp"])
    ),
    "additive": transformer(bijectors.AdditiveTransformer(), columns(BIG)),
    "gated": transformer(bijectors.GatedTransformer(), columns(BIG, (-30.0, 1e4))),
    # Between components that are far apart and narrow the map is flat, hence moderate means and scales.
    "mixture cdf": transformer(
        bijectors.MixtureCDFTransformer(2),
        columns(BIG, BIG, BIG, BIG, (-2.0, 2.0), (-2.0, 2.0), (-1.0, 5.0), (-1.0, 5.0)),
        sizes=lambda p: jnp.abs(p[..., 0]) + 3.0,
    ),
    "spline": transformer(
        SPLINE,
        arrays((SIZE, SPLINE.num_params)),
        sizes=lambda p: jnp.full_like(p[..., 0], SPLINE.bound),
    ),
    "leaky relu": fixed(
        functools.partial(bijectors.leaky_relu_forward, negative_slope=0.01),
        functools.partial(bijectors.leaky_relu_inverse, negative_slope=0.01),
    ),
    # exp(z) underflows below -87 in float32.
    "softplus": fixed(
        bijectors.softplus_forward,
        bijectors.softplus_inverse,
        z=(-80.0, 1e4, -math.inf, math.inf),
        x=(1e-30, 1e4, 0.0, math.inf),
    ),
    # tanh(z) and sigmoid(z) round to 1 from 9 and 17 on in float32.
    "tanh": fixed(
        bijectors.tanh_forward,
        bijectors.tanh_inverse,
        z=(-7.0, 7.0, -math.inf, math.inf),
        x=(-0.999, 0.999, -1.0, 1.0),
    ),
    "sigmoid": fixed(
        functools.partial(bijectors.logit_forward, levels=1.0, alpha=0.0),
        functools.partial(bijectors.logit_inverse, levels=1.0, alpha=0.0),
        z=(-60.0, 12.0, -math.inf, math.inf),
        x=(1e-20, 0.999, 0.0, 1.0),
    ),
    "logit of pixels": fixed(
        functools.partial(bijectors.logit_forward, levels=256.0, alpha=0.05),
        functools.partial(bijectors.logit_inverse, levels=256.0, alpha=0.05),
        z=(-3.0, 3.0, -math.inf, math.inf),
        x=(0.0, 256.0, -math.inf, math.inf),
    ),
    # Data in the upper tail have latents that round to 1; in float32 that is 5 standard deviations.
    "inverse cdf": Map(
        by_families(bijectors.inverse_cdf_forward),
        by_families(bijectors.inverse_cdf_inverse),
        columns(BIG, BIG, (-2.0, 2.0), (-2.0, 2.0), (0.0, 2.0), (0.0, 2.0)),
        sizes=lambda p: jnp.full_like(p[..., 0], 1.0),
        z=(1e-25, 0.999, 0.0, 1.0),
        x=(-6.0, 2.0, -math.inf, math.inf),
    ),
}


@functools.partial(jax.jit, static_argnames=("name", "from_data"))
def probe(name: str, value: jax.Array, params: jax.Array, *, from_data: bool):
    """The image, its preimage, and the preimages of the ends of the interval of rounding around it."""
    m = MAPS[name]
    there, back = (m.inverse, m.forward) if from_data else (m.forward, m.inverse)
    low, high = (m.z if from_data else m.x)[2:]
    params = jnp.broadcast_to(params, (3, BATCH, *params.shape))
    image, log_derivative = there(value, params[0])
    size = jnp.broadcast_to(m.sizes(params[0]), value.shape)
    unit = SLACK * eps(value.dtype)
    move = unit * (jnp.abs(image) + size)
    ends = jnp.stack([image, image - move, image + move])
    inside = (ends > low) & (ends < high)
    # One call for the three, since it is compiled faster.
    preimages, back_logs = back(
        jnp.where(inside, ends, jnp.broadcast_to(image, ends.shape)), params
    )
    preimages = preimages.at[1].set(jnp.where(inside[1], preimages[1], -jnp.inf))
    preimages = preimages.at[2].set(jnp.where(inside[2], preimages[2], jnp.inf))
    return image, log_derivative, preimages, back_logs, unit * (jnp.abs(value) + size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("from_data", [False, True], ids=["from latent", "from data"])
@pytest.mark.parametrize("name", MAPS)
@pytest.mark.one_in(5)
def test_elementwise_maps_invert_within_rounding(name, from_data, dtype):
    ends = (MAPS[name].x if from_data else MAPS[name].z)[:2]

    @given(arrays((BATCH, SIZE), *ends), MAPS[name].params)
    def check(value, params):
        value, params = value.astype(dtype), params.astype(dtype)
        results = jax.device_get(probe(name, value, params, from_data=from_data))
        image, log_derivative, (again, low, high), logs, slack = results
        assert_finite(image, log_derivative, again, logs[0])
        for got in (value, again):
            assert (got >= low - slack).all(), (value, image, again, low)
            assert (got <= high + slack).all(), (value, image, again, high)
        least, most = logs.min(0), logs.max(0)
        spread = (most - least) + SLACK * eps(dtype) * (1.0 + np.abs(logs[0]))
        # Where one image stands for a whole range of values, so it does for a range of derivatives.
        apart = high - low > 1e-3 * (1.0 + np.abs(value))
        assert (apart | (-log_derivative >= least - spread)).all(), (value, log_derivative, logs)
        assert (apart | (-log_derivative <= most + spread)).all(), (value, log_derivative, logs)

    check()


@pytest.mark.parametrize("from_data", [False, True], ids=["from latent", "from data"])
@pytest.mark.parametrize("name", ["leaky relu", "softplus", "tanh", "sigmoid", "logit of pixels"])
def test_log_derivatives_are_exact_to_the_last_digits(name, from_data):
    """Cancellation cannot see this: where a map is steep or flat, both directions may lose the same digits."""
    m = MAPS[name]
    function, ends = (m.inverse, m.x[:2]) if from_data else (m.forward, m.z[:2])

    @given(arrays((BATCH, SIZE), *ends))
    def check(value):
        value = value.astype(np.float32)
        single, double = (function(v, None)[1] for v in (value, value.astype(np.float64)))
        np.testing.assert_allclose(single, double, rtol=SLACK * 1.2e-7, atol=SLACK * 1.2e-7)

    check()


@pytest.mark.parametrize("name", bijectors.SCALE_FNS)
@given(arrays((50,)))
def test_log_scales_are_finite_and_increase(name, raw):
    raw = np.sort(raw).astype(np.float32)
    log_scale = np.asarray(bijectors.scale_fn(name)(raw))
    assert_finite(log_scale)
    assert (np.diff(log_scale) >= -8 * eps(np.float32) * (1.0 + np.abs(log_scale[1:]))).all()


# The maps of vectors: budgets are eps times the sizes of what is added, times the condition of the map.


def vector_trip(forward: Callable[..., Any], inverse: Callable[..., Any]):
    """Both orders of the two directions from the same values, compiled."""

    @jax.jit
    def trip(value, params):
        x, forward_log = forward(value, params)
        z, inverse_log = inverse(value, params)
        return (x, forward_log, *inverse(x, params)), (z, inverse_log, *forward(z, params))

    return trip


def check_trip(trip: Any, value: Any, params: Any, budget: Callable[[Any, Any], tuple[Any, Any]]):
    """``budget(value, image)`` bounds the errors of values and of log-dets, both in units of eps."""
    for image, log_det, again, back_log in jax.device_get(trip(value, params)):
        assert_finite(image, log_det, again, back_log)
        of_values, of_log_dets = (SLACK * eps(value.dtype) * b for b in budget(value, image))
        assert np.abs(again - value).max() <= of_values.max(), (value, image, again)
        assert np.abs(log_det + back_log).max() <= of_log_dets.max(), (log_det, back_log)


def size(*arrays: Any) -> float:
    return np.float64(sum(np.abs(a).max() for a in arrays))


def _plu(params: Any) -> tuple[Any, Any]:
    matrix, bias = params
    permutation = jnp.eye(len(matrix), dtype=matrix.dtype)[::-1]
    sign = jnp.asarray([1.0, -1.0] * len(matrix), matrix.dtype)[: len(matrix)]
    return bijectors.PLU(permutation, sign, matrix, matrix, jnp.diag(matrix)), bias


LINEAR = {
    "dense": vector_trip(
        lambda z, p: bijectors.linear_forward(z, *p), lambda x, p: bijectors.linear_inverse(x, *p)
    ),
    "plu": vector_trip(
        lambda z, p: bijectors.plu_forward(z, *_plu(p)),
        lambda x, p: bijectors.plu_inverse(x, *_plu(p)),
    ),
    "householder": vector_trip(
        lambda z, p: bijectors.orthogonal_forward(z, bijectors.householder_matrix(p[0]), p[1]),
        lambda x, p: bijectors.orthogonal_inverse(x, bijectors.householder_matrix(p[0]), p[1]),
    ),
    "cayley": vector_trip(
        lambda z, p: bijectors.orthogonal_forward(z, bijectors.cayley_matrix(p[0]), p[1]),
        lambda x, p: bijectors.orthogonal_inverse(x, bijectors.cayley_matrix(p[0]), p[1]),
    ),
}


@functools.cache
def linear_values(size: int):
    return st.tuples(arrays((BATCH, size)), arrays((size, size), -2.0, 2.0), arrays((size,)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LINEAR)
@given(values=st.sampled_from([1, 4]).flatmap(linear_values))
def test_linear_maps_invert_as_well_as_their_matrix(name, dtype, values):
    value, matrix, bias = (a.astype(dtype) for a in values)
    exact = np.asarray(matrix, np.float64)
    if name == "dense":
        condition = np.linalg.cond(exact)
    elif name == "plu":
        lower, upper = np.tril(exact, -1) + np.eye(len(exact)), np.triu(exact, 1)
        upper = upper + np.diag(np.exp(np.diag(exact)))
        condition = np.linalg.cond(lower) * np.linalg.cond(upper)
    elif name == "householder":
        norms = np.linalg.norm(exact, axis=-1)
        assume((norms > 1e-3).all())  # a reflection needs a direction
        condition = 1.0
    else:
        condition = np.linalg.cond(np.eye(len(exact)) + np.tril(exact, -1) - np.tril(exact, -1).T)
    assume(condition < 1e3)

    def budget(value, image):
        # The bias passes through the matrix once more on the way back.
        return condition**2 * size(value, image, bias), np.float64(condition)

    check_trip(LINEAR[name], value, (matrix, bias), budget)


@pytest.mark.parametrize("dtype", DTYPES)
@given(st.integers(1, 4), arrays((4, 4)), arrays((4,), 1.0, 1e4), arrays((4, 4), -10.0, 10.0))
def test_orthogonal_matrices_are_orthogonal(dtype, count, vectors, diagonal, raw):
    """Reflections of any length, and rotations by any angle."""
    vectors = (np.triu(vectors, 1) + np.diag(diagonal))[:count].astype(dtype)
    determinants = {"householder": (-1.0) ** count, "cayley": 1.0}
    matrices = {
        "householder": bijectors.householder_matrix(vectors),
        "cayley": bijectors.cayley_matrix(raw.astype(dtype)),
    }
    for name, matrix in matrices.items():
        q = np.asarray(matrix, np.float64)
        # I + A has a condition of up to 40 sqrt(6) / 1.
        allowed = SLACK * eps(dtype) * (100.0 if name == "cayley" else 4.0)
        np.testing.assert_allclose(q.T @ q, np.eye(4), atol=allowed)
        np.testing.assert_allclose(np.linalg.det(q), determinants[name], atol=4 * allowed)


@given(st.permutations(range(SIZE)), arrays((BATCH, SIZE)))
def test_permutations_lose_nothing(permutation, value):
    permutation = np.array(permutation)
    image, log_det = bijectors.permute_forward(value, permutation)
    again, back_log = bijectors.permute_inverse(image, permutation)
    np.testing.assert_array_equal(image, value[:, permutation])
    np.testing.assert_array_equal(again, value)
    assert not np.any(log_det)
    assert not np.any(back_log)


def _planar(function: Callable[..., Any], h: str):
    def call(value, params):
        u, w, b = params
        return function(value, bijectors.planar_constrain(u, w, h), w, b, h)

    return call


PLANAR = {
    h: vector_trip(_planar(bijectors.planar_forward, h), _planar(bijectors.planar_inverse, h))
    for h in bijectors.NONLINEARITIES
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("h", PLANAR)
@given(
    arrays((BATCH, 2)),
    arrays((2,), -10.0, 10.0),
    arrays((2,), -10.0, 10.0),
    arrays((), -100.0, 100.0),
)
def test_planar_maps_invert_within_their_steepness(h, dtype, value, u, w, b):
    value, u, w, b = (a.astype(dtype) for a in (value, u, w, b))
    u_hat = np.asarray(bijectors.planar_constrain(u, w, h))
    c, slopes = float(u_hat @ w), bijectors.NONLINEARITIES[h]
    steep = 1.0 / (1.0 + min(0.0, c * slopes.max_slope))
    assert 1.0 <= steep <= 1.01e3

    def budget(value, image):
        argument = size(w) * size(value, image) + size(b)  # of h, and of what it is recovered from
        values = steep * (1.0 + size(u_hat)) * (argument + size(value, image))
        # d log(1 + c h') = c h'' / (1 + c h') dy
        return values, steep * (1.0 + steep * abs(c) * argument)

    check_trip(PLANAR[h], value, (u, w, b), budget)


RADIAL = vector_trip(
    lambda z, p: bijectors.radial_forward(z, p[0], *bijectors.radial_constrain(*p[1:])),
    lambda x, p: bijectors.radial_inverse(x, p[0], *bijectors.radial_constrain(*p[1:])),
)


@pytest.mark.parametrize("dtype", DTYPES)
@given(arrays((BATCH, 3)), arrays((3,)), arrays((), -5.0, 1e3), arrays((), -1e4, 20.0))
def test_radial_maps_invert_within_their_steepness(dtype, value, center, raw_alpha, raw_beta):
    value, *params = (a.astype(dtype) for a in (value, center, raw_alpha, raw_beta))
    alpha, beta = (float(a) for a in bijectors.radial_constrain(*params[1:]))
    steep = max((alpha + beta) / alpha, alpha / (alpha + beta))
    assert 1.0 <= steep <= 1.01e3

    def budget(value, image):
        sizes = size(value, image, center) + alpha + abs(beta)
        return steep * sizes, steep * (1.0 + sizes * steep / alpha)

    check_trip(RADIAL, value, params, budget)


def _sylvester(function: Callable[..., Any]):
    def call(value, params):
        vectors, matrix, diagonal, b = params
        q = bijectors.householder_columns(vectors, 2)
        return function(value, q, *bijectors.sylvester_triangles(matrix, diagonal), b)

    return call


SYLVESTER = vector_trip(
    _sylvester(bijectors.sylvester_forward), _sylvester(bijectors.sylvester_inverse)
)


@pytest.mark.parametrize("dtype", DTYPES)
@given(arrays((BATCH, 3)), seeds, arrays((2, 2), -2.0, 2.0), arrays((2,), -2.0, 2.0))
def test_sylvester_maps_invert_within_their_steepness(dtype, value, seed, matrix, diagonal):
    random = np.random.default_rng(seed)
    vectors, b = random.normal(size=(2, 3)), random.normal(size=2)
    value, *params = (a.astype(dtype) for a in (value, vectors, matrix, diagonal, b))
    r1, r2 = (np.asarray(r) for r in bijectors.sylvester_triangles(*params[1:3]))
    # Two triangular steps, of which each may be that flat; the second passes the error of the first on.
    steep = np.prod(1.0 / (1.0 + np.minimum(0.0, np.diag(r1) * np.diag(r2))))

    def budget(value, image):
        factor = (1.0 + size(r1)) * (1.0 + size(r2))
        values = steep * factor**2 * (1.0 + size(value, image, b))
        return values, steep * (1.0 + values)

    check_trip(SYLVESTER, value, params, budget)


masks = st.lists(st.booleans(), min_size=SIZE, max_size=SIZE).filter(lambda m: 0 < sum(m) < SIZE)


@given(masks, arrays((BATCH, SIZE)), arrays((SIZE, SIZE, 2)))
def test_couplings_of_any_mask_invert_and_keep(mask, value, kernel):
    mask, transformer = np.array(mask), bijectors.AffineTransformer()

    def conditioner(kept):
        return jnp.tensordot(jnp.tanh(kept), kernel[mask][:, ~mask], 1)

    x, log_det = bijectors.coupling_forward(value, mask, conditioner, transformer)
    again, back_log = bijectors.coupling_inverse(x, mask, conditioner, transformer)
    assert_finite(x, log_det)
    np.testing.assert_array_equal(x[:, mask], value[:, mask])
    np.testing.assert_array_equal(log_det, -back_log)
    # Both directions call the same conditioner with the same input: only the scale enlarges errors.
    np.testing.assert_allclose(again, value, rtol=0, atol=SLACK * eps(float) * math.e**2 * 5e4)


# Programs depend on the order and on the widths, so a few are drawn beforehand.
ORDERS = [
    (tuple(np.random.default_rng(seed).permutation(size).tolist()), width, layers)
    for seed, (size, width, layers) in enumerate([(1, 1, 1), (3, 2, 1), (4, 5, 2), (5, 16, 2)])
]


@functools.cache
def autoregressive(order: tuple[int, ...], width: int, layers: int):
    degrees = bijectors.made_degrees(order, width, context=False)
    masks = bijectors.made_masks(degrees, layers, 2)
    transformer = bijectors.AffineTransformer()

    def forward(z, kernels):
        kernels = [jnp.where(m, k, jnp.zeros_like(k)) for m, k in zip(masks, kernels, strict=True)]
        offsets = [jnp.zeros(k.shape[1], k.dtype) for k in kernels]
        return bijectors.sequential_forward(z, kernels, offsets, degrees, jnp.tanh, transformer)

    def inverse(x, kernels):
        hidden = x
        for m, k in zip(masks, kernels, strict=True):
            hidden = jnp.tanh(hidden) if hidden is not x else hidden
            hidden = hidden @ jnp.where(m, k, jnp.zeros_like(k))
        z, log_derivative = transformer.inverse(x, hidden.reshape(*x.shape, 2))
        return z, log_derivative.sum(-1)

    return masks, vector_trip(forward, inverse)


@pytest.mark.parametrize("dtype", DTYPES)
@given(st.sampled_from(ORDERS), seeds, st.floats(0.01, 0.7), st.floats(0.01, 3.0))
def test_autoregressive_maps_of_any_order_invert(dtype, settings, seed, scale, spread):
    """Elements of moderate size: the sequential direction multiplies errors by the slopes of the network."""
    masks, trip = autoregressive(*settings)
    random = np.random.default_rng(seed)
    kernels = [scale * random.normal(size=m.shape).astype(dtype) for m in masks]
    value = (spread * random.normal(size=(BATCH, len(settings[0])))).astype(dtype)

    def budget(value, image):
        # Each element enlarges the errors of those before it by slopes of about the product of the kernels.
        slope = math.prod(1.0 + np.linalg.norm(np.asarray(k, np.float64), 2) for k in kernels)
        growth = sum((slope * (1.0 + size(value, image))) ** k for k in range(2))
        return growth * (1.0 + size(value, image)), growth * (1.0 + size(value, image))

    check_trip(trip, value, [k.astype(dtype) for k in kernels], budget)


@functools.cache
def pool() -> list[dgm.Bijector]:
    """Layers of one shape to compose, with parameters of their own."""
    rngs = nnx.Rngs(0)
    make = functools.partial(dgm.nets.MLP, width=4, depth=1, rngs=rngs)
    layers = [
        dgm.ActNorm((SIZE,)),
        dgm.Permute.shuffle((SIZE,), seed=0),
        dgm.Elementwise(dgm.LeakyReLUTransformer(0.2), (SIZE,)),
        dgm.layers.PLULinear((SIZE,), rngs=rngs),
        dgm.Coupling(
            (SIZE,),
            mask="half",
            make_conditioner=make,
            transformer=bijectors.AffineTransformer(),
        ),
    ]
    return [scramble(layer, jax.random.key(i)) for i, layer in enumerate(layers)]


indices = st.lists(st.integers(0, 4), min_size=1, max_size=4)


@given(indices, arrays((BATCH, SIZE), -100.0, 100.0))
def test_chains_of_any_layers_compose_from_last_to_first(order, value):
    layers = [pool()[i] for i in order]
    value = value.astype(np.float32)
    chain = dgm.Chain(layers)
    x, log_det = chain.forward_and_log_det(jnp.asarray(value))
    by_hand, total, smooth = jnp.asarray(value), 0.0, np.ones(BATCH, bool)
    for layer in reversed(layers):
        if isinstance(layer, dgm.Elementwise):
            # Rounding on the way back may cross the kink at 0, where the slope jumps.
            near = 1e3 * eps(np.float32) * size(value, by_hand)
            smooth &= (np.abs(np.asarray(by_hand)) > near).all(-1)
        by_hand, one = layer.forward_and_log_det(by_hand)
        total = total + np.asarray(one, np.float64)
    # One program for the chain, one a layer by hand: XLA may round a product and its sum once or twice.
    np.testing.assert_allclose(x, by_hand, rtol=0, atol=8 * eps(np.float32) * size(value, x))
    np.testing.assert_allclose(log_det, total, rtol=1e-5, atol=1e-5)
    z, back_log = chain.inverse_and_log_det(x)
    scale = size(value, x)
    np.testing.assert_allclose(z, value, rtol=0, atol=1e3 * eps(np.float32) * scale)
    back, forth = np.asarray(back_log)[smooth], -np.asarray(log_det)[smooth]
    np.testing.assert_allclose(back, forth, rtol=0, atol=1e3 * eps(np.float32) * scale)
    turned, turned_log = dgm.Inverse(chain).forward_and_log_det(x)
    np.testing.assert_array_equal(turned, z)
    np.testing.assert_array_equal(turned_log, back_log)


@jax.jit
def stacked_and_chained(pairs, value):
    stack, chain = dgm.Stack(pairs), dgm.Chain(pairs)
    x, log_det = stack.forward_and_log_det(value)
    return (x, log_det), chain.forward_and_log_det(value), stack.inverse_and_log_det(x)


@given(seeds, st.floats(0.0, 0.5), arrays((BATCH, SIZE), -100.0, 100.0))
def test_stacks_are_chains_for_any_parameters(seed, scale, value):
    key = jax.random.key(seed)
    layer = cast(dgm.Chain([pool()[0], pool()[4], pool()[1]]), jnp.float64)
    pairs = [scramble(layer, jax.random.fold_in(key, k), scale=scale) for k in range(3)]
    stacked, chained, (z, back_log) = stacked_and_chained(pairs, value)
    for got, expected in zip(stacked, chained, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(z, value, atol=1e-8)
    np.testing.assert_allclose(back_log, -stacked[1], atol=1e-8)
