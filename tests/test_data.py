"""Data: batches as a function of (seed, step), splits, files, augmentation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax import data


def test_an_epoch_visits_every_row_at_most_once_and_epochs_differ():
    batches = data.Batches({"x": np.arange(10)}, batch_size=3, seed=1)
    epochs = [np.concatenate([batches(step)["x"] for step in range(e, e + 3)]) for e in (0, 3)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert not np.array_equal(*epochs)


def test_batches_depend_on_seed_and_step_alone():
    arrays = {"x": np.arange(100), "context": np.arange(100) * 2}
    a, b = (data.Batches(arrays, batch_size=7, seed=5) for _ in range(2))
    for step in range(60):
        a(step)
    for step in (33, 2, 59):
        np.testing.assert_array_equal(a(step)["x"], b(step)["x"])
        np.testing.assert_array_equal(b(step)["context"], 2 * b(step)["x"])
    other = data.Batches(arrays, batch_size=7, seed=6)
    assert not np.array_equal(a(0)["x"], other(0)["x"])


def test_the_order_of_rows_is_frozen():
    """Guards against a change of NumPy or of this code that would silently break every resumed run."""
    batches = data.Batches({"x": np.arange(8)}, batch_size=8, seed=2026)
    assert batches(0)["x"].tolist() == [1, 5, 2, 0, 4, 3, 7, 6]


def test_rows_must_agree():
    with pytest.raises(ValueError, match="equally many rows, got {'x': 3, 'context': 2}"):
        data.Batches({"x": np.zeros(3), "context": np.zeros(2)}, batch_size=1, seed=0)


def test_digits_are_the_known_ones():
    digits = data.digits()
    parts = (digits.train, digits.validation, digits.test)
    assert [len(part) for part in parts] == [1000, 350, 447]
    assert digits.event_shape == (64,)
    y = np.concatenate(parts)
    assert y.dtype == np.uint8
    assert (y.min(), y.max(), digits.num_levels) == (0, 16, 17)
    assert abs(y.mean() / 16 - 0.3053) < 5e-5
    assert digits.train[0].reshape(8, 8)[0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


@pytest.mark.parametrize("name", sorted(data.TOYS))
@pytest.mark.one_in(3)
def test_toy_splits_are_fixed_and_disjoint(name):
    first, again = data.toy_dataset(name, num_train=20, num_held_out=10), data.load_dataset(name)
    assert again.train.dtype == np.float32
    assert len({*map(tuple, first.train), *map(tuple, first.test)}) == 30
    second = data.toy_dataset(name, num_train=20, num_held_out=10)
    np.testing.assert_array_equal(first.train, second.train)


def test_files_keep_their_splits_or_are_split(tmp_path):
    x = np.random.RandomState(0).normal(size=(50, 3))
    np.save(tmp_path / "one.npy", x)
    one = data.load_dataset(str(tmp_path / "one.npy"))
    assert [len(part) for part in (one.train, one.validation, one.test)] == [40, 5, 5]
    rows = np.concatenate([one.train, one.validation, one.test])
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(x.astype(np.float32), axis=0))
    np.savez(tmp_path / "three.npz", train=x[:30], validation=x[30:40], test=x[40:])
    three = data.load_dataset(str(tmp_path / "three.npz"))
    np.testing.assert_array_equal(three.test, x[40:].astype(np.float32))


def test_bad_files_and_names_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="unknown data set 'two_moon'; did you mean two_moons"):
        data.load_dataset("two_moon")
    with pytest.raises(FileNotFoundError, match="none.npy does not exist"):
        data.load_dataset(str(tmp_path / "none.npy"))
    (tmp_path / "bad.npz").write_text("hello")
    with pytest.raises(ValueError, match="is not a .npy or .npz file of plain arrays"):
        data.load_dataset(str(tmp_path / "bad.npz"))
    np.savez_compressed(tmp_path / "whole.npz", x=np.random.RandomState(0).normal(size=(99, 9)))
    whole = (tmp_path / "whole.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for damaged in (whole[: len(whole) // 2], bytes(flipped)):
        (tmp_path / "damaged.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged.npz is not a .npy or .npz file"):
            data.load_dataset(str(tmp_path / "damaged.npz"))
    np.save(tmp_path / "pickled.npy", np.array([{}], object))
    with pytest.raises(ValueError, match="plain arrays"):
        data.load_dataset(str(tmp_path / "pickled.npy"))
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    with pytest.raises(ValueError, match=r"holds arrays \['a', 'b'\]; expected one array, or"):
        data.load_dataset(str(tmp_path / "two.npz"))
    np.save(tmp_path / "short.npy", np.zeros((3, 2)))
    with pytest.raises(ValueError, match="n >= 10 to split"):
        data.load_dataset(str(tmp_path / "short.npy"))


def test_augmentation_keeps_levels_and_can_be_switched_off():
    y = jnp.asarray(data.digits().train[:200])
    same = data.Augment((8, 8, 1), warp=0.0, shift=0.0)(y, jax.random.key(0))
    np.testing.assert_array_equal(same, y)
    warped = data.Augment((8, 8, 1), warp=1.0, shift=0.0)(y, jax.random.key(0))
    assert warped.dtype == y.dtype
    assert int(warped.max()) <= 16
    changed = (warped != y).any(1)
    assert changed.mean() > 0.95
    # A small warp keeps most of the ink where it was.
    assert jnp.abs(warped.astype(jnp.float32) - y.astype(jnp.float32)).mean() < 2.5


def test_a_shift_moves_the_picture_by_one_pixel():
    image = np.zeros((1, 5, 5), np.uint8)
    image[0, 2, 2] = 9
    shift = data.Augment((5, 5, 1), warp=0.0, shift=1.0)
    places = set()
    for seed in range(20):
        moved = np.asarray(shift(jnp.asarray(image.reshape(1, 25)), jax.random.key(seed)))
        assert moved.sum() == 9
        places.add(tuple(int(i) for i in np.argwhere(moved.reshape(5, 5))[0]))
    assert places == {(1, 2), (3, 2), (2, 1), (2, 3)}


@pytest.mark.parametrize(
    "labels", [np.array([0, 1, -1]), np.array([0.0, 1.0, 1.0])], ids=["hidden", "floats"]
)
def test_labels_that_are_no_classes_are_refused(labels):
    x = np.zeros((3, 2), np.float32)
    dataset = data.Dataset("mine", x, x, x, labels=dict.fromkeys(("train", "test"), labels))
    with pytest.raises(ValueError, match=r"labels of train must be classes 0, 1, ..."):
        dataset.contexts("test")


def test_contexts_of_labels_are_one_hot_and_conditions_stay():
    x = np.zeros((3, 2), np.float32)
    classes = data.Dataset("mine", x, x, x, labels={"train": np.array([0, 2, 1])})
    np.testing.assert_array_equal(classes.contexts("train"), np.eye(3)[[0, 2, 1]])
    conditions = data.Dataset("mine", x, x, x, labels={"train": np.ones((3, 5), np.int32)})
    assert conditions.context_shape == (5,)
    assert conditions.contexts("train").dtype == np.float32
    with pytest.raises(ValueError, match="'mine' has no labels"):
        data.Dataset("mine", x, x, x).contexts("train")


def test_files_hold_images_and_labels(tmp_path):
    x = np.arange(20 * 3 * 2 * 3).reshape(20, 3, 2, 3) % 256
    classes, names = np.arange(20) % 3, np.array(["a", "b", "c"])
    np.savez(tmp_path / "one.npz", x=x.astype(np.uint8), labels=classes, label_names=names)
    one = data.load_dataset(str(tmp_path / "one.npz"), num_levels=256)
    assert one.image_shape == (3, 2, 3)
    assert (one.context_shape, one.label_names) == ((3,), ("a", "b", "c"))
    for split in ("train", "validation", "test"):  # rows keep their labels when they are shuffled
        first = getattr(one, split)[:, 0, 0, 0]
        row = np.array([np.flatnonzero(x[:, 0, 0, 0] == value)[0] for value in first])
        np.testing.assert_array_equal(one.labels[split], classes[row])
        assert one.labels[split].dtype == np.int32
    splits = {"train": x[:10], "validation": x[10:15], "test": x[15:]}
    conditions = {f"{name}_labels": np.ones((len(part), 2)) for name, part in splits.items()}
    np.savez(tmp_path / "three.npz", **splits, **conditions)
    three = data.load_dataset(str(tmp_path / "three.npz"), num_levels=256)
    assert three.context_shape == (2,)
    assert three.contexts("test").dtype == np.float32
    del conditions["test_labels"]
    np.savez(tmp_path / "part.npz", **splits, **conditions)
    with pytest.raises(ValueError, match="holds train_labels, validation_labels; expected labels"):
        data.load_dataset(str(tmp_path / "part.npz"))
    np.savez(tmp_path / "short.npz", x=x, labels=classes[:7])
    with pytest.raises(ValueError, match="expected one label for each"):
        data.load_dataset(str(tmp_path / "short.npz"))
    np.save(tmp_path / "table.npy", np.zeros((20, 3)))
    assert data.load_dataset(str(tmp_path / "table.npy")).image_shape is None
