"""Transforms of images: exact where they are exact, distributions where they are random, keys of examples."""

import dataclasses
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax import data

IMAGES = jnp.asarray(np.random.RandomState(0).randint(0, 256, (12, 6, 8, 3)), jnp.uint8)
KEY = jax.random.key(0)
RANDOM = {
    "flip": data.random_flip,
    "shift": lambda x, key: data.random_shift(x, key, max_shift=2),
    "binarize": data.binarize,
    "augment": data.RandomWarp((6, 8, 3), warp=0.5, shift=0.5),
    "all": data.ImageTransform(flip=True, shift=1, n_bits=5, pad=(8, 8)),
}
COMPILED = {name: jax.jit(transform) for name, transform in RANDOM.items()}


@pytest.mark.parametrize("name", RANDOM)
def test_what_happens_to_an_image_depends_on_its_own_key_alone(name):
    transform = COMPILED[name]
    keys = jax.vmap(lambda i: jax.random.fold_in(KEY, i))(jnp.arange(12))
    whole = transform(IMAGES, keys)
    np.testing.assert_array_equal(whole, transform(IMAGES, KEY), "one key is folded")
    np.testing.assert_array_equal(whole[5:7], transform(IMAGES[5:7], keys[5:7]), "parts of a batch")
    order = np.random.RandomState(1).permutation(12)
    np.testing.assert_array_equal(whole[order], transform(IMAGES[order], keys[order]))
    assert whole.dtype == jnp.uint8
    assert not np.array_equal(whole, transform(IMAGES, jax.random.key(1)))


@pytest.mark.parametrize("name", RANDOM)
def test_jit_is_eager(name):
    np.testing.assert_array_equal(COMPILED[name](IMAGES, KEY), RANDOM[name](IMAGES, KEY))


def test_a_flip_is_an_involution_of_half_of_the_images():
    x = jnp.tile(IMAGES[:1], (2000, 1, 1, 1))
    once = data.random_flip(x, KEY)
    np.testing.assert_array_equal(data.random_flip(once, KEY), x)
    flipped = (np.asarray(once) != np.asarray(x)).any((1, 2, 3))
    np.testing.assert_array_equal(once[flipped], x[flipped][:, :, ::-1])
    assert abs(flipped.mean() - 0.5) < 4 * 0.5 / np.sqrt(2000)


def test_a_shift_moves_a_pixel_uniformly_and_fills_the_rest():
    point = jnp.zeros((5000, 7, 7, 1), jnp.uint8).at[:, 3, 3].set(9)
    shift = jax.jit(data.random_shift, static_argnames=("max_shift", "fill"))
    moved = np.asarray(shift(point, KEY, max_shift=1))
    assert (moved.sum((1, 2, 3)) == 9).all()
    counts = (moved[..., 0] > 0).sum(0)
    assert (counts[2:5, 2:5] > 0).all()
    assert counts[2:5, 2:5].sum() == 5000
    assert np.abs(counts[2:5, 2:5] - 5000 / 9).max() < 5 * np.sqrt(5000 / 9)
    filled = np.asarray(shift(point[:50], KEY, max_shift=2, fill=3))
    assert set(np.unique(filled)) == {0, 3, 9}
    np.testing.assert_array_equal(shift(IMAGES, KEY, max_shift=0), IMAGES)


@pytest.mark.parametrize("size", [(6, 8), (8, 8), (9, 11), (16, 16)])
def test_cropping_undoes_padding(size):
    padded = data.pad_to(IMAGES, *size, fill=7)
    assert padded.shape == (12, *size, 3)
    np.testing.assert_array_equal(data.crop_to(padded, 6, 8), IMAGES)
    ring = 12 * 3 * (size[0] * size[1] - 48) * 7
    assert int(padded.astype(jnp.int32).sum() - IMAGES.astype(jnp.int32).sum()) == ring
    np.testing.assert_array_equal(data.pad_to(IMAGES[0], *size, fill=7), padded[0])


def test_padding_is_centred_and_an_odd_pixel_goes_below_and_right():
    image = jnp.ones((1, 2, 3, 1), jnp.uint8)
    expected = np.zeros((5, 6), np.uint8)
    expected[1:3, 1:4] = 1
    np.testing.assert_array_equal(data.pad_to(image, 5, 6)[0, :, :, 0], expected)
    columns = jnp.broadcast_to(jnp.arange(6, dtype=jnp.uint8)[None, None, :, None], (1, 5, 6, 1))
    np.testing.assert_array_equal(data.crop_to(columns, 3, 3)[0, 0, :, 0], [1, 2, 3])


def test_a_transform_does_its_parts_in_order():
    """Flip and shift of the image as it is, then bits or a draw of pixels, then padding, with keys of their own."""
    keys = jax.vmap(lambda one: jax.random.split(one, 3))(jax.random.split(KEY, len(IMAGES)))
    moved = data.random_flip(IMAGES, keys[:, 0])
    moved = data.random_shift(moved, keys[:, 1], max_shift=2, fill="edge")
    transform = data.ImageTransform(flip=True, shift=2, fill="edge", n_bits=3, pad=(10, 11))
    found = transform(IMAGES, jax.random.split(KEY, len(IMAGES)))
    np.testing.assert_array_equal(found, data.pad_to(moved >> 5, 10, 11))
    assert found.shape[1:] == transform.image_shape(IMAGES.shape[1:])
    transform = data.ImageTransform(flip=True, binarize=True)
    found = transform(IMAGES, jax.random.split(KEY, len(IMAGES)))
    moved = data.random_flip(IMAGES, keys[:, 0])
    np.testing.assert_array_equal(found, data.binarize(moved, keys[:, 2]))


def test_an_edge_is_what_a_shift_leaves_behind():
    ramp = jnp.broadcast_to(jnp.arange(1, 8, dtype=jnp.uint8)[:, None, None], (200, 7, 5, 1))
    moved = np.asarray(data.random_shift(ramp, KEY, max_shift=2, fill="edge"))[..., 0]
    assert (moved == moved[:, :, :1]).all()
    steps = moved[:, 3, 0].astype(int) - 4
    assert set(steps) == {-2, -1, 0, 1, 2}
    expected = np.clip(np.arange(1, 8) + steps[:, None], 1, 7)
    np.testing.assert_array_equal(moved[:, :, 0], expected)


@pytest.mark.parametrize("n_bits", [1, 3, 5, 8])
def test_bits_are_those_of_glow(n_bits):
    x = jnp.arange(256, dtype=jnp.uint8)
    expected = np.floor(np.arange(256) / 2 ** (8 - n_bits))
    for levels in (x, x.astype(jnp.int32)):
        reduced = data.reduce_bits(levels, n_bits)
        assert reduced.dtype == levels.dtype
        np.testing.assert_array_equal(reduced, expected)


def test_dynamic_binarisation_draws_the_grey_level():
    levels = jnp.asarray([0, 1, 64, 128, 254, 255], jnp.uint8).reshape(1, 1, 6, 1)
    x = jnp.tile(levels, (4000, 1, 1, 1))
    bits = np.asarray(data.binarize(x, KEY))
    assert set(np.unique(bits)) == {0, 1}
    probability = np.asarray(levels).ravel() / 255
    error = np.sqrt(probability * (1 - probability) / 4000)
    assert (np.abs(bits.mean(0).ravel() - probability) <= 5 * error).all()
    uniform = jnp.full((400, 8, 8, 1), 128, jnp.uint8)
    drawn = np.asarray(data.binarize(uniform, KEY)).reshape(400, 64)
    assert len(np.unique(drawn, axis=0)) == 400, "every image has noise of its own"


def test_static_binarisation_is_frozen():
    """The draw of RandomState(0); guards results of "static binarisation, seed 0" against NumPy and this code."""
    x = np.random.RandomState(1).randint(0, 256, (2500, 4, 4), np.uint8)
    bits = data.static_binarization(x)
    expected = np.random.RandomState(0).random_sample(x.shape) * 255 < x
    np.testing.assert_array_equal(bits, expected.astype(np.uint8))
    digest = hashlib.sha256(np.packbits(bits).tobytes()).hexdigest()
    assert digest.startswith("64916a12cda6fbd707f00d1d3d791ba5")
    assert not np.array_equal(bits, data.static_binarization(x, seed=1))


def test_static_binarisation_compares_levels_with_numbers_up_to_the_largest():
    """RandomState(0) begins with 0.5488 and 0.7152: 8.8 and 11.4 of 16, 139.9 and 182.4 of 255."""
    for levels, low, high in ((17, (8, 11), (9, 12)), (256, (139, 182), (140, 183))):
        for values, bit in ((low, 0), (high, 1)):
            bits = data.static_binarization(np.asarray([values]), num_levels=levels)
            assert bits.tolist() == [[bit, bit]]


def test_binary_data_sets_do_not_depend_on_the_order_of_records():
    x = np.random.RandomState(2).randint(0, 256, (60, 5, 5, 1), np.uint8)
    labels = {"train": np.arange(40), "validation": np.arange(10), "test": np.arange(10)}
    grey = data.Dataset("grey", x[:40], x[40:50], x[50:], 256, (5, 5, 1), labels)
    order = np.random.RandomState(3).permutation(40)
    shuffled = data.Dataset("grey", x[:40][order], x[40:50], x[50:], 256, (5, 5, 1))
    one, other = data.binarized(grey), data.binarized(shuffled)
    np.testing.assert_array_equal(one.train[order], other.train)
    np.testing.assert_array_equal(one.test, other.test)
    assert (one.num_levels, one.train.dtype, one.train.shape) == (2, np.uint8, (40, 5, 5, 1))
    assert one.labels is labels
    drawn = np.concatenate([one.train, one.validation, one.test])
    assert drawn[x == 255].all()
    assert not drawn[x == 0].any()
    assert abs(drawn.mean() - x.mean() / 255) < 0.05
    again = data.binarized(one)  # of two levels there is nothing to draw
    np.testing.assert_array_equal(again.train, one.train)
    with pytest.raises(ValueError, match="expected integer levels, .* is continuous"):
        data.binarized(dataclasses.replace(one, num_levels=None))


def test_a_data_set_is_transformed_once_or_says_what_belongs_in_the_step():
    x = np.asarray(IMAGES)
    dataset = data.Dataset("x", x[:8], x[8:10], x[10:], 256, (6, 8, 3))
    small = data.ImageTransform(n_bits=5, pad=(8, 8)).apply(dataset)
    assert (small.num_levels, small.image_shape, small.event_shape) == (32, (8, 8, 3), (8, 8, 3))
    np.testing.assert_array_equal(small.train, data.pad_to(IMAGES[:8] >> 3, 8, 8))
    assert small.flattened().train.shape == (8, 192)
    with pytest.raises(ValueError, match="random transforms are drawn in the step"):
        data.ImageTransform(flip=True).apply(dataset)
    with pytest.raises(ValueError, match=r"expected images .* got events \(144,\)"):
        data.ImageTransform(n_bits=5).apply(dataset.flattened())
    with pytest.raises(ValueError, match="expected 256 levels, got 32"):
        data.ImageTransform(n_bits=5).apply(small)


def test_transforms_describe_themselves_alike_in_every_process():
    """`fit` compares the text when a run continues."""
    text = "ImageTransform(flip=True, shift=0, fill=0, n_bits=8, binarize=False, pad=None)"
    assert repr(data.ImageTransform(flip=True)) == text
    assert data.ImageTransform(binarize=True).num_levels == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.random_flip(IMAGES[0], KEY), r"expected images .n, height.* got shape \(6, 8, 3\)"),
        (lambda: data.random_flip(IMAGES, jax.random.split(KEY, 3)), "one for each of 12 images"),
        (lambda: data.random_shift(IMAGES, KEY, max_shift=-1), "max_shift >= 0, got -1"),
        (lambda: data.pad_to(IMAGES, 4, 8), "pad_to: images 6x8 do not fit in 4x8"),
        (lambda: data.crop_to(IMAGES, 7, 8), "crop_to: wanted sizes 7x8 do not fit in 6x8"),
        (lambda: data.reduce_bits(IMAGES, 9), "n_bits in 1 .. 8, got 9"),
        (lambda: data.ImageTransform(shift=1)(IMAGES), "random transforms need a key"),
        (lambda: data.ImageTransform(binarize=True, n_bits=5), "leave n_bits out, got 5"),
    ],
)  # fmt: skip
def test_impossible_requests_say_why(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_raw_keys_are_refused():
    with pytest.raises(TypeError, match="expected typed keys"):
        data.random_flip(IMAGES, jax.random.PRNGKey(0))
