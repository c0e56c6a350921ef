"""Uses of a trained flow: latents, interpolation, attributes, outlier scores, and their histogram."""

import functools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax import analysis
from dgmjax.testing import cast, scramble

KEY = jax.random.key(0)
LEVELS = 9


def flow(context_shape=None):
    made = dgm.RealNVP(
        (4,), depth=2, width=8, activation="tanh", context_shape=context_shape, rngs=nnx.Rngs(0)
    )
    return cast(scramble(made, KEY), np.float64)


def levels_of(event_shape, rngs):
    """Two levels with a learned prior between them."""
    fine = dgm.Squeeze(event_shape)
    half = (*fine.latent_shape[:-1], fine.latent_shape[-1] // 2)
    net = dgm.nets.ZeroConv(half[-1], 2 * half[-1], rngs=rngs)
    prior = dgm.ConditionalAffine(half, context_shape=half, net=net, rngs=rngs)
    return dgm.MultiScale([fine, dgm.Squeeze(half)], [prior])


def dequantized(event_shape=(4,)):
    logit, rngs = dgm.Logit(event_shape, float(LEVELS)), nnx.Rngs(0)
    if len(event_shape) == 1:
        made = dgm.RealNVP(
            event_shape, depth=2, width=8, activation="tanh", preprocess=logit, rngs=rngs
        )
    else:
        made = dgm.Flow(dgm.Chain([logit, levels_of(event_shape, rngs)]))
    return dgm.Dequantized(cast(scramble(made, KEY, scale=0.1), np.float64), LEVELS)


def events(model, batch, seed=0):
    random = np.random.default_rng(seed)
    if isinstance(model, dgm.Dequantized):
        return random.integers(0, LEVELS, (*batch, *model.event_shape), np.uint8)
    return random.normal(size=(*batch, *model.event_shape))


def contexts(model, batch):
    if model.context_shape is None:
        return None
    return np.random.default_rng(5).normal(size=(*batch, *model.context_shape))


def same(x, y):
    """Exactly for integers, to rounding for floats."""
    assert x.shape == y.shape
    if np.issubdtype(y.dtype, np.integer):
        assert x.dtype == np.uint8
        np.testing.assert_array_equal(x, y)
    else:
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-10)


MODELS = {
    "flow": flow,
    "conditional flow": functools.partial(flow, (2,)),
    "vectors of integers": dequantized,
    "images of integers": functools.partial(dequantized, (4, 4, 1)),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return MODELS[request.param]()


encode, decode = jax.jit(analysis.encode), jax.jit(analysis.decode)
manipulate = jax.jit(analysis.manipulate)
lerp, slerp = jax.jit(analysis.lerp), jax.jit(analysis.slerp, static_argnames="event_ndim")
interpolate = jax.jit(analysis.interpolate, static_argnames=("num", "kind"))


def test_decode_inverts_encode(model):
    x, context = events(model, (2, 3)), contexts(model, (2, 3))
    eps = encode(model, x, context)
    assert eps.shape == (2, 3, np.prod(model.event_shape))
    assert eps.dtype == np.float64
    same(decode(model, eps, context), x)


def test_encoding_is_the_likelihoods_latent(model):
    """With the base and the log-determinant, eps gives log p back; integers are at the middle of their bin."""
    density = getattr(model, "density", model)
    x, context = events(model, (3,)), contexts(model, (3,))
    eps = encode(model, x, context)
    middle = x + 0.5 if density is not model else x
    log_det, expected = jax.jit(
        lambda density, *given: (density.bijector.inverse_log_det(*given), density.log_prob(*given))
    )(density, middle, context)
    np.testing.assert_allclose(density.base.log_prob(eps) + log_det, expected, rtol=1e-10)


def test_encode_under_vmap(model):
    x, context = events(model, (3,)), contexts(model, (3,))
    mapped = jax.vmap(encode, in_axes=(None, 0, None if context is None else 0))
    np.testing.assert_allclose(
        mapped(model, x, context), encode(model, x, context), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("batch_size", [3, 7, 100])
def test_batches_give_what_one_call_gives(model, batch_size):
    x, context = events(model, (7,)), contexts(model, (7,))
    eps = analysis.encode_in_batches(model, x, context, batch_size=batch_size)
    assert isinstance(eps, np.ndarray)
    np.testing.assert_allclose(eps, encode(model, x, context), rtol=0, atol=1e-12)


def test_batches_share_one_context_row():
    model = flow((2,))
    x, row = events(model, (5,)), contexts(model, ())
    eps = analysis.encode_in_batches(model, x, row, batch_size=2)
    np.testing.assert_allclose(eps, encode(model, x, row), rtol=0, atol=1e-12)


def test_interpolation_of_levels_is_spherical_in_each():
    model = dequantized((4, 4, 2))
    levels = model.density.multi_scale
    x1, x2 = events(model, (2,)), events(model, (2,), seed=1)
    path = interpolate(model, x1, x2, num=5, kind="spherical_levels")
    np.testing.assert_array_equal(path[0], x1)
    np.testing.assert_array_equal(path[-1], x2)
    ends = [levels.split_latents(encode(model, x)) for x in (x1, x2)]
    middle = [slerp(a, b, 0.5, event_ndim=3) for a, b in zip(*ends, strict=True)]
    np.testing.assert_array_equal(path[2], decode(model, levels.join_latents(middle)))
    whole = interpolate(model, x1, x2, num=5, kind="spherical")
    assert not np.array_equal(whole[2], path[2])


@pytest.mark.parametrize("kind", ["linear", "spherical"])
def test_interpolation_ends_at_its_events(model, kind):
    x1, x2, context = events(model, (2, 3)), events(model, (2, 3), 1), contexts(model, (2, 3))
    path = interpolate(model, x1, x2, num=4, kind=kind, context=context)
    assert path.shape == (4, 2, 3, *model.event_shape)
    same(path[0], x1)
    same(path[-1], x2)
    curve = lerp if kind == "linear" else slerp
    eps = curve(encode(model, x1, context), encode(model, x2, context), 1 / 3)
    np.testing.assert_allclose(path[1], decode(model, eps, context), rtol=0, atol=1e-10)


def test_one_context_row_serves_a_path():
    model = flow((2,))
    x1, x2, row = events(model, ()), events(model, (), 1), contexts(model, ())
    path = interpolate(model, x1, x2, num=3, context=row)
    assert path.shape == (3, 4)
    same(path[-1], x2)


def pair(name, dtype, shape=(5, 6)):
    random = np.random.default_rng(3)
    a, b = random.normal(size=(2, *shape))
    b = {"far": b, "near": a + 1e-7 * b, "same": a, "opposite": -a, "zero": 0 * a}[name]
    return jnp.asarray(a, dtype), jnp.asarray(b, dtype)


PAIRS = ["far", "near", "same", "opposite", "zero"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("curve", [lerp, slerp], ids=["lerp", "slerp"])
def test_paths_end_bitwise_and_stay_finite(curve, name, dtype):
    a, b = pair(name, dtype)
    path = curve(a, b, np.linspace(0, 1, 5))
    assert path.shape == (5, *a.shape)
    assert path.dtype == dtype
    np.testing.assert_array_equal(path[0], a)
    np.testing.assert_array_equal(path[-1], b)
    assert np.isfinite(path).all()


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.grad, argnums=(1, 2, 3))
def gradients_of(curve, a, b, t):
    path = curve(a, b, t)
    return jnp.square(path).sum() + path[0, 0]


@pytest.mark.parametrize("name", PAIRS)
def test_slerp_has_finite_gradients(name):
    a, b = pair(name, np.float64)
    for pair_of in ((a, b), (b, a), (0 * a, 0 * b)):
        for t in (0.0, 0.3, 1.0):
            gradients = gradients_of(analysis.slerp, *pair_of, t)
            assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("name", ["near", "same"])
def test_nearly_parallel_gradients_are_those_of_lines(name):
    """Rounding makes the angle of 32-bit events noise, which must not reach the gradients."""
    a, b = pair(name, np.float32)
    gradients = [gradients_of(curve, a, b, 0.3) for curve in (analysis.slerp, analysis.lerp)]
    for of_slerp, of_lerp in zip(gradients[0][:2], gradients[1][:2], strict=True):
        np.testing.assert_allclose(of_slerp, of_lerp, rtol=1e-4, atol=1e-4)


def test_slerp_keeps_unit_norms_and_divides_the_angle():
    a, b = pair("far", np.float64)
    a, b = (np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True)) for x in (a, b))
    t = np.array([0.0, 0.25, 0.9, 1.0])
    path = slerp(a, b, t)
    np.testing.assert_allclose(np.linalg.norm(path, axis=-1), 1, rtol=1e-12)
    angle = np.arccos((a * b).sum(-1))
    cosines = (np.asarray(path)[1:] * a).sum(-1)
    np.testing.assert_allclose(np.arccos(cosines), t[1:, None] * angle, rtol=1e-8)


def test_slerp_interpolates_norms_of_whole_events():
    a, b = pair("far", np.float64, (3, 2, 2))
    path = slerp(a, 5 * b, 0.3, event_ndim=2)
    norms = [np.linalg.norm(np.reshape(x, (3, 4)), axis=-1) for x in (a, 5 * b, path)]
    np.testing.assert_allclose(norms[2], 0.7 * norms[0] + 0.3 * norms[1], rtol=1e-12)
    flat = slerp(a.reshape(3, 4), 5 * b.reshape(3, 4), 0.3)
    np.testing.assert_allclose(path.reshape(3, 4), flat, rtol=1e-12)


def test_gradients_along_the_path_agree_with_differences_at_its_ends():
    a, b = pair("far", np.float64)
    tangents = jax.jit(jax.jacfwd(lambda t: slerp(a, b, t)))
    for t, step in ((0.0, 1e-6), (1.0, -1e-6)):
        moved = slerp(a, b, np.array([t, t + step]))
        np.testing.assert_allclose(tangents(t), (moved[1] - moved[0]) / step, atol=1e-4)


def test_slerp_is_smooth_across_its_series():
    """Just below and above the angle where the Taylor polynomial takes over."""
    threshold = np.finfo(np.float64).eps ** 0.25
    points = []
    for angle in (threshold * 0.999, threshold * 1.001):
        b = jnp.array([np.cos(angle), np.sin(angle)])
        value = slerp(jnp.array([1.0, 0.0]), b, 0.3)
        np.testing.assert_allclose(value, [np.cos(0.3 * angle), np.sin(0.3 * angle)], rtol=1e-14)
        points.append(value)
    assert not np.array_equal(*points)


def test_the_direction_of_a_known_flow():
    """Latents of an affine flow with the attribute along one axis; means by hand."""
    layer = dgm.Standardize((2,)).with_data_init(jnp.array([[1, -2], [5, 6]], jnp.float32))
    model = cast(dgm.Flow(layer), np.float64)  # mean (3, 2), std (2, 4)
    x = jnp.array([[1.0, 2.0], [3.0, 2.0], [5.0, 6.0]])
    eps = analysis.encode(model, x)
    np.testing.assert_allclose(eps, [[-1, 0], [0, 0], [1, 1]], atol=1e-6)
    direction = analysis.attribute_direction(eps, np.array([False, False, True]))
    np.testing.assert_allclose(direction, [1.5, 1], atol=1e-6)
    moved = analysis.manipulate(model, x[0], direction, [-1, 0, 2])
    np.testing.assert_allclose(moved, [[-2, -2], [1, 2], [7, 10]], atol=1e-5)
    under_jit = jax.jit(analysis.attribute_direction)(eps, np.array([False, False, True]))
    np.testing.assert_allclose(under_jit, direction)


def test_strength_zero_changes_nothing(model):
    x, context = events(model, (2, 3)), contexts(model, (2, 3))
    direction = np.random.default_rng(4).normal(size=np.prod(model.event_shape))
    moved = manipulate(model, x, direction, np.array([0.0, 0.7]), context)
    assert moved.shape == (2, 2, 3, *model.event_shape)
    same(moved[0], x)
    eps = np.asarray(encode(model, x, context))
    expected = decode(model, eps + 0.7 * direction, context)
    np.testing.assert_allclose(moved[1], expected, rtol=0, atol=1e-10)
    assert not np.array_equal(moved[1], x)


def test_auroc_is_the_probability_of_an_order():
    random = np.random.default_rng(0)
    inside, outside = random.integers(0, 9, 40), random.integers(3, 12, 30)
    difference = outside[:, None] - inside
    expected = (difference > 0).mean() + (difference == 0).mean() / 2
    assert 0.5 < expected < 1
    assert analysis.auroc(inside, outside) == pytest.approx(expected, abs=1e-15)
    assert analysis.auroc(outside, inside) == pytest.approx(1 - expected, abs=1e-15)
    assert analysis.auroc([0.0, 1.0], [2.0, np.inf]) == 1
    assert analysis.auroc([1.0], [1.0]) == 0.5


def test_typicality_of_a_gaussian():
    """Both the mode and the far tail are outlying; the likelihood calls the mode the least outlying of all."""
    random = np.random.default_rng(0)
    ends = np.stack([np.zeros(100), np.full(100, 2.0)])
    train, typical, ends = (
        -0.5 * (np.square(x) + np.log(2 * np.pi)).sum(-1)
        for x in (random.normal(size=(500, 100)), random.normal(size=(500, 100)), ends)
    )
    scores = analysis.typicality(typical, train)
    assert scores.shape == (500,)
    assert analysis.typicality(ends, train).min() > scores.max()
    assert analysis.auroc(-typical, -ends[:1]) == 0
    np.testing.assert_allclose(analysis.typicality(ends[0], train), 50, atol=1)


def test_code_lengths_order_images_by_complexity():
    random = np.random.default_rng(0)
    constant = np.full((28, 28, 1), 200)
    ramp = np.broadcast_to(4 * np.arange(28)[:, None, None], (28, 28, 1))
    smooth = np.cumsum(random.integers(0, 2, (28, 28, 1)), axis=1)
    noise = random.integers(0, 256, (28, 28, 1))
    images = np.stack([constant, ramp, smooth, noise]).astype(np.uint8)
    lengths = analysis.code_length(images)
    assert lengths[0] < 200
    assert lengths[1] < 300  # without filters about 28 times the first row
    assert lengths[1] < lengths[2] < lengths[3]
    assert 0.95 * 8 * 784 < lengths[3] < 1.05 * 8 * 784
    np.testing.assert_array_equal(analysis.code_length(images[..., 0]), lengths)
    np.testing.assert_array_equal(analysis.code_length(images[2:3]), lengths[2:3])


def test_the_correction_is_in_bits():
    images = np.zeros((2, 4, 4), np.uint8)
    length = analysis.code_length(images)
    score = analysis.complexity_corrected(jnp.array([0.0, -3 * np.log(2)]), images)
    np.testing.assert_allclose(score + length, [0, 3], atol=1e-12)


ERRORS = {
    "another model": (
        lambda: analysis.encode(distrax.Normal(0.0, 1.0), jnp.zeros(3)),
        TypeError,
        "expected a model with latents, such as a dgmjax.Flow.*got Normal; wrap",
    ),
    "floats for integers": (
        lambda: analysis.encode(dequantized(), np.zeros(4)),
        TypeError,
        "encode: expected integer levels, got float64",
    ),
    "integers for floats": (
        lambda: analysis.encode(flow(), np.zeros(4, int)),
        TypeError,
        "encode: expected floating-point values, got int64",
    ),
    "event shape": (
        lambda: analysis.encode(flow(), np.zeros((2, 3))),
        ValueError,
        r"encode: expected an array of shape \[\*batch, 4\], got \(2, 3\)",
    ),
    "latent shape": (
        lambda: analysis.decode(flow(), np.zeros((2, 3))),
        ValueError,
        r"decode: expected an array of shape \[\*batch, 4\], got \(2, 3\)",
    ),
    "no context": (
        lambda: analysis.encode(flow((2,)), np.zeros(4)),
        ValueError,
        "encode: this model is conditional; pass context=",
    ),
    "no batch": (
        lambda: analysis.encode_in_batches(flow(), np.zeros(4)),
        ValueError,
        r"expected events \[n, 4\], got \(4,\); one event is x\[None\]",
    ),
    "batch size": (
        lambda: analysis.encode_in_batches(flow(), np.zeros((1, 4)), batch_size=0),
        ValueError,
        "batch_size must be at least 1, got 0",
    ),
    "superfluous context in batches": (
        lambda: analysis.encode_in_batches(flow(), np.zeros((1, 4)), np.zeros((1, 2))),
        ValueError,
        "this model takes none",
    ),
    "different shapes": (
        lambda: analysis.interpolate(flow(), np.zeros(4), np.zeros((2, 4)), 3),
        ValueError,
        r"x1 and x2 of one shape, got \(4,\) and \(2, 4\)",
    ),
    "one position": (
        lambda: analysis.interpolate(flow(), np.zeros(4), np.zeros(4), 1),
        ValueError,
        "expected at least 2, got 1",
    ),
    "kind": (
        lambda: analysis.interpolate(flow(), np.zeros(4), np.zeros(4), 3, kind="slerp"),
        ValueError,
        r"'spherical', 'spherical_levels'\], got 'slerp'",
    ),
    "integers on a line": (
        lambda: analysis.lerp(np.arange(3), np.arange(3), 0.5),
        TypeError,
        "lerp: expected two floating-point arrays of one dtype, got int64 and int64",
    ),
    "lines of different shapes": (
        lambda: analysis.slerp(np.zeros(3), np.zeros(4), 0.5),
        ValueError,
        r"slerp: expected two arrays of one shape, got \(3,\) and \(4,\)",
    ),
    "event axes": (
        lambda: analysis.slerp(np.zeros(3), np.zeros(3), 0.5, event_ndim=2),
        ValueError,
        "expected 0 <= event_ndim <= 1.*got 2",
    ),
    "labels of classes": (
        lambda: analysis.attribute_direction(np.zeros((3, 2)), np.arange(3)),
        TypeError,
        "expected boolean labels, got int64; compare classes.*labels == 3",
    ),
    "latents of integers": (
        lambda: analysis.attribute_direction(np.zeros((3, 2), int), np.arange(3) > 0),
        TypeError,
        "expected latents of a floating dtype, got int64; encode the data first",
    ),
    "an empty class": (
        lambda: analysis.attribute_direction(np.zeros((3, 2)), np.arange(3) > 5),
        ValueError,
        "with and without the attribute, got 0 with it of 3",
    ),
    "too few labels": (
        lambda: analysis.attribute_direction(np.zeros((3, 2)), np.arange(2) > 0),
        ValueError,
        r"got \(3, 2\) and \(2,\)",
    ),
    "direction": (
        lambda: analysis.manipulate(flow(), np.zeros(4), np.zeros(3), [1.0]),
        ValueError,
        r"expected a direction of shape \(4,\).*got \(3,\)",
    ),
    "strengths": (
        lambda: analysis.manipulate(flow(), np.zeros(4), np.zeros(4), 1.0),
        ValueError,
        r"expected alphas of shape \[num_alphas\], got \(\); one strength is \[alpha\]",
    ),
    "no training data": (
        lambda: analysis.typicality(np.zeros(3), np.zeros(0)),
        ValueError,
        "at least one train_log_prob, got none",
    ),
    "images of floats": (
        lambda: analysis.code_length(np.zeros((1, 2, 2))),
        TypeError,
        "expected integer images, got float64",
    ),
    "flat images": (
        lambda: analysis.code_length(np.zeros((1, 4), int)),
        ValueError,
        r"got \(1, 4\); reshape vectors to images first",
    ),
    "more than bytes": (
        lambda: analysis.code_length(np.full((1, 2, 2), 256)),
        ValueError,
        r"levels in 0 \.\. 255, got 256 \.\. 256",
    ),
    "one likelihood an image": (
        lambda: analysis.complexity_corrected(np.zeros(3), np.zeros((2, 4, 4), int)),
        ValueError,
        r"one log-likelihood an image, \(2,\), got \(3,\)",
    ),
    "no scores": (
        lambda: analysis.auroc([], [1.0]),
        ValueError,
        r"expected inside scores of shape \[n\] with n > 0, got \(0,\)",
    ),
    "scores that are NaN": (
        lambda: analysis.auroc([1.0], [1.0, np.nan]),
        ValueError,
        "1 of 2 outside scores are NaN",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_to_do(name):
    call, error, message = ERRORS[name]
    with pytest.raises(error, match=message):
        call()


class TestHistogram:
    matplotlib = pytest.importorskip("matplotlib")

    def pixels(self, path):
        return np.rint(255 * self.matplotlib.image.imread(path)[..., :3]).astype(int)

    def draw(self, path, inside, outside, **options):
        return self.pixels(dgm.plots.score_histogram(inside, outside, path, **options))

    def coloured(self, picture):
        """Columns of the area of the axes that are blue, and those that are orange, above the base line."""
        red, blue = picture[:420, 100:, 0], picture[:420, 100:, 2]
        return [np.flatnonzero(mask.sum(0) > 5) for mask in (blue > red + 40, red > blue + 40)]

    def test_sets_lie_where_their_scores_are(self, tmp_path):
        random = np.random.default_rng(0)
        low, high = random.uniform(0, 1, 500), random.uniform(2, 3, 500)
        blue, orange = self.coloured(self.draw(tmp_path / "a.png", low, high))
        assert blue.max() < orange.min()
        blue, orange = self.coloured(self.draw(tmp_path / "b.png", high, low))
        assert orange.max() < blue.min()

    def test_single_extremes_do_not_squeeze_the_rest(self, tmp_path):
        scores = np.random.default_rng(0).uniform(0, 1, 1_000)
        usual = self.draw(tmp_path / "a.png", scores, scores + 2)
        extreme = self.draw(tmp_path / "b.png", np.append(scores, 1e9), scores + 2)
        assert (usual[:300] != extreme[:300]).mean() < 0.005
        assert (usual[-60:] != extreme[-60:]).any()  # the legend counts it

    def test_nothing_is_clipped_and_files_are_reproducible(self, tmp_path):
        options = {"labels": ("mnist test", "fashion_mnist test"), "title": "scores"}
        draw = functools.partial(self.draw, inside=np.zeros(3), outside=np.zeros(1), **options)
        picture = draw(tmp_path / "new" / "a.png")
        assert picture.std() > 0
        assert (picture[[0, -1]] == 255).all()
        np.testing.assert_array_equal(picture, draw(tmp_path / "b.png"))

    @pytest.mark.parametrize(
        ("inside", "outside", "message"),
        [
            ([], [1.0], r"expected inside scores of shape \[n\] with n > 0, got \(0,\)"),
            ([1.0], [[1.0]], r"expected outside scores.*got \(1, 1\)"),
            ([1.0], [np.inf, 1.0], "1 of 2 outside scores are NaN or infinite"),
        ],
    )
    def test_errors(self, inside, outside, message, tmp_path):
        with pytest.raises(ValueError, match=message):
            dgm.plots.score_histogram(inside, outside, tmp_path / "a.png")
        assert not list(tmp_path.iterdir())
