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
    # The second epoch of a seed is not the first of the next.
    assert not np.array_equal(a(a.per_epoch)["x"], other(0)["x"])


def test_the_order_of_rows_is_frozen():
    """Guards against a change of NumPy or of this code that would silently break every resumed run."""
    batches = data.Batches({"x": np.arange(8)}, batch_size=8, seed=2026)
    assert batches(0)["x"].tolist() == [1, 5, 2, 0, 4, 3, 7, 6]
    assert batches(3)["x"].tolist() == [3, 2, 1, 4, 7, 6, 0, 5]


def test_rows_left_over_come_up_in_other_epochs():
    batches = data.Batches({"x": np.arange(10)}, batch_size=4, seed=1)
    epochs = [{*batches(2 * e)["x"], *batches(2 * e + 1)["x"]} for e in range(6)]
    assert all(len(epoch) == 8 for epoch in epochs)
    assert set.union(*epochs) == set(range(10))
    assert batches.per_epoch == 2
    everything = data.Batches({"x": np.arange(3)}, batch_size=8, seed=1)
    assert (everything.batch_size, sorted(everything(0)["x"])) == (3, [0, 1, 2])


def test_slices_of_the_processes_in_turn_are_the_batch_of_one():
    arrays = {"x": np.arange(30)}
    one = data.Batches(arrays, batch_size=6, seed=3)
    three = [data.Batches(arrays, 6, 3, process, 3) for process in range(3)]
    for step in (0, 4, 5, 11):
        parts = [part(step)["x"] for part in three]
        assert [len(part) for part in parts] == [2, 2, 2]
        np.testing.assert_array_equal(np.concatenate(parts), one(step)["x"])


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
    from sklearn.datasets import load_digits

    file = load_digits()
    labels = np.concatenate([digits.labels[split] for split in ("train", "validation", "test")])
    np.testing.assert_array_equal(y, file.data)
    np.testing.assert_array_equal(labels, file.target)


def test_the_first_rows_of_a_set_are_those_of_every_split():
    digits = data.digits()
    few = digits.first(7)
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(few, split), getattr(digits, split)[:7])
        np.testing.assert_array_equal(few.labels[split], digits.labels[split][:7])
    images = few.as_images()
    np.testing.assert_array_equal(images.test[3].ravel(), digits.test[3])
    assert (images.event_shape, images.flattened().event_shape) == ((8, 8, 1), (64,))


@pytest.mark.parametrize("name", sorted(data.TOYS))
def test_toy_splits_are_fixed_and_disjoint(name):
    first = data.toy_dataset(name, num_train=20, num_held_out=10)
    assert first.train.dtype == np.float32
    parts = (first.train, first.validation, first.test)
    assert [len(part) for part in parts] == [20, 10, 10]
    assert len({tuple(row) for part in parts for row in part}) == 40
    second = data.toy_dataset(name, num_train=20, num_held_out=10)
    np.testing.assert_array_equal(first.train, second.train)


def test_files_keep_their_splits_or_are_split(tmp_path):
    x = np.random.RandomState(0).normal(size=(50, 3))
    np.save(tmp_path / "one.npy", x)
    one = data.load_dataset(str(tmp_path / "one.npy"))
    assert [len(part) for part in (one.train, one.validation, one.test)] == [40, 5, 5]
    rows = np.concatenate([one.train, one.validation, one.test])
    assert not np.array_equal(rows, x.astype(np.float32)), "files may be sorted"
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(x.astype(np.float32), axis=0))
    np.savez(tmp_path / "three.npz", test=x[40:], train=x[:30], validation=x[30:40])
    three = data.load_dataset(str(tmp_path / "three.npz"))
    for split, rows in (("train", x[:30]), ("validation", x[30:40]), ("test", x[40:])):
        np.testing.assert_array_equal(getattr(three, split), rows.astype(np.float32))


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
    same = data.RandomWarp((8, 8, 1), warp=0.0, shift=0.0)(y, jax.random.key(0))
    np.testing.assert_array_equal(same, y)
    warped = data.RandomWarp((8, 8, 1), warp=1.0, shift=0.0)(y, jax.random.key(0))
    assert warped.dtype == y.dtype
    assert int(warped.max()) <= 16
    changed = (warped != y).any(1)
    assert changed.mean() > 0.95
    floats = data.RandomWarp((8, 8, 1), warp=1.0)(y.astype(jnp.float32), jax.random.key(0))
    levels = data.RandomWarp((8, 8, 1), warp=1.0)(y, jax.random.key(0))
    off = jnp.abs(levels.astype(jnp.float32) - floats)
    assert 0.4 < off.max() <= 0.5, "to the nearest level"
    # A small warp keeps most of the ink where it was.
    assert jnp.abs(warped.astype(jnp.float32) - y.astype(jnp.float32)).mean() < 2.5


def test_a_shift_moves_the_picture_by_one_pixel():
    image = np.zeros((1, 5, 5), np.uint8)
    image[0, 2, 2] = 9
    shift = data.RandomWarp((5, 5, 1), warp=0.0, shift=1.0)
    places = set()
    for seed in range(20):
        moved = np.asarray(shift(jnp.asarray(image.reshape(1, 25)), jax.random.key(seed)))
        assert moved.sum() == 9
        places.add(tuple(int(i) for i in np.argwhere(moved.reshape(5, 5))[0]))
    assert places == {(1, 2), (3, 2), (2, 1), (2, 3)}


def test_a_warp_is_a_small_affine_map_of_the_plane():
    """The image is one of its own coordinates: they are those that the map takes a pixel from."""
    height, width, num = 14, 20, 400
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1)
    x = jnp.asarray(np.broadcast_to(grid.astype(np.float32).ravel(), (num, grid.size)))
    warped = data.RandomWarp((height, width, 2), warp=0.5, shift=0.0)(x, jax.random.key(0))
    warped = np.asarray(warped, np.float64).reshape(num, height, width, 2)
    inside = (slice(None), slice(4, 10), slice(6, 14))  # nothing comes from outside here
    places = (grid - [(height - 1) / 2, (width - 1) / 2])[inside[1:]].reshape(-1, 2)
    design = np.concatenate([places, np.ones((len(places), 1))], 1)
    moved = (warped[inside] - grid[inside[1:]]).reshape(num, len(places), 2)
    moved = moved.swapaxes(0, 1).reshape(len(places), 2 * num)
    found, errors, *_ = np.linalg.lstsq(design, moved, rcond=None)
    assert errors.max() < 1e-4
    found = found.reshape(3, num, 2)
    matrix, offset = found[:2].transpose(1, 2, 0) + np.eye(2), found[2]
    warp = np.abs(found).max((0, 2)) > 1e-3
    assert abs(warp.mean() - 0.5) < 0.1
    matrix, offset = matrix[warp], offset[warp]
    # rotation @ [[1 + scale_y, shear], [0, 1 + scale_x]]: angle from the first column, the rest from turning back.
    angle = np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0])
    cos, sin = np.cos(angle), np.sin(angle)
    upper = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], 1) @ matrix
    amounts = {
        "angle": (angle, 0.175),
        "height": (upper[:, 0, 0] - 1, 0.1),
        "width": (upper[:, 1, 1] - 1, 0.1),
        "shear": (upper[:, 0, 1], 0.1),
        "down": (offset[:, 0], 0.5),
        "right": (offset[:, 1], 0.5),
    }
    for name, (values, limit) in amounts.items():
        assert np.abs(values).max() < limit * 1.01, name
        assert min(values.max(), -values.min()) > 0.9 * limit, name
        assert abs(values.mean()) < 0.2 * limit, name
    independent = np.corrcoef([values for values, _ in amounts.values()]) - np.eye(6)
    assert np.abs(independent).max() < 0.3


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
    fewer = {"train": np.array([0, 2, 1]), "test": np.array([0, 1, 1])}
    np.testing.assert_array_equal(
        data.Dataset("mine", x, x, x, labels=fewer).contexts("test"), np.eye(3)[[0, 1, 1]]
    )
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
