"""Prepared sets of TensorFlow Datasets: found, decoded, streamed, prepared; never downloaded by accident."""

import contextlib
import functools
import gzip
import hashlib
import http.server
import json
import os
import pathlib
import pickle
import shutil
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent import futures

import jax
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax import data

tfds = pytest.importorskip("tensorflow_datasets", reason="needs the extra tfds")
pytest.importorskip("grain", reason="needs the extra tfds")


def images(num: int, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (num, *shape)).astype(np.uint8)


def write_set(root, name, splits, shape, *, label="label", config=None, file_format="array_record"):
    """A prepared set as TFDS writes it, without TensorFlow."""
    from PIL import Image
    from tensorflow_datasets.core import registered

    features = {"image": tfds.features.Image(shape=shape)}
    if label == "label":
        features["label"] = tfds.features.ClassLabel(names=["cat", "dog", "owl"])
    elif label == "attributes":
        features["attributes"] = tfds.features.FeaturesDict({"Young": np.bool_, "Bald": np.bool_})

    def generate_examples(_, split):
        for index, image in enumerate(images(splits[split], shape, seed=len(split))):
            example = {"image": Image.fromarray(image.squeeze())}
            if label == "label":
                example["label"] = int(image.sum()) % 3
            elif label == "attributes":
                example["attributes"] = {"Young": image[0, 0, 0] > 99, "Bald": image[1, 0, 0] > 99}
            yield index, example

    members = {
        "VERSION": tfds.core.Version("1.0.0"),
        "_info": lambda self: tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        ),
        "_split_generators": lambda self, _: {
            split: generate_examples(self, split) for split in splits
        },
        "_generate_examples": generate_examples,
        "name": name,
        "__module__": __name__,
    }
    if config is not None:
        members["BUILDER_CONFIGS"] = [tfds.core.BuilderConfig(name=config)]
    with registered.skip_registration():
        builder = type("Tiny", (tfds.core.GeneratorBasedBuilder,), members)
    builder(data_dir=root).download_and_prepare(file_format=file_format)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Small sets with the features and splits of the real ones."""
    tfds.disable_progress_bar()
    root = tmp_path_factory.mktemp("tfds")
    write_set(root, "cifar10", {"train": 100, "test": 20}, (8, 8, 3))
    write_set(
        root, "celeb_a", {"train": 30, "validation": 10, "test": 10}, (6, 4, 3), label="attributes"
    )
    write_set(root, "imagenet_resized", {"train": 40, "validation": 8}, (8, 8, 3), config="8x8")
    write_set(root, "mine", {"train": 50}, (5, 5, 1), label=None)
    return root


@pytest.fixture(autouse=True)
def own_directories(monkeypatch, tmp_path):
    """No test reads the user's data or fills the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def multiset(x: np.ndarray) -> list[bytes]:
    return sorted(row.tobytes() for row in x)


def test_a_set_by_name_is_uint8_images_with_labels(root, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(root))
    cifar = data.load_dataset("cifar10")
    assert (cifar.name, cifar.num_levels, cifar.image_shape) == ("cifar10", 256, (8, 8, 3))
    assert cifar.event_shape == (8, 8, 3)
    assert [len(x) for x in (cifar.train, cifar.validation, cifar.test)] == [90, 10, 20]
    assert cifar.train.dtype == np.uint8
    whole = np.concatenate([cifar.train, cifar.validation])
    assert multiset(whole) == multiset(images(100, (8, 8, 3), seed=5))
    assert multiset(cifar.test) == multiset(images(20, (8, 8, 3), seed=4))
    assert cifar.label_names == ("cat", "dog", "owl")
    for split in ("train", "validation", "test"):
        x = getattr(cifar, split)
        np.testing.assert_array_equal(cifar.labels[split], x.sum((1, 2, 3), dtype=int) % 3)
        assert cifar.labels[split].dtype == np.int32
    assert cifar.flattened().event_shape == (192,)
    data.check_data(cifar.train, (8, 8, 3), num_levels=256)


def test_any_prepared_set_is_read_by_name(root):
    for name in ("mine", "tfds:mine", "tfds:mine:1.0.0"):
        mine = data.load_dataset(name, data_dir=root)
        assert [len(x) for x in (mine.train, mine.validation, mine.test)] == [40, 5, 5]
        assert (mine.labels, mine.label_names) == (None, None)
    whole = np.concatenate([mine.train, mine.validation, mine.test])
    assert multiset(whole) == multiset(images(50, (5, 5, 1), seed=5)), "splits are disjoint"
    small = data.load_dataset("imagenet_resized/8x8", data_dir=root)
    assert [len(x) for x in (small.train, small.validation, small.test)] == [36, 4, 8]
    assert multiset(small.test) == multiset(images(8, (8, 8, 3), seed=10))


def test_attributes_are_conditions(root):
    faces = data.tfds_dataset("celeb_a", data_dir=root, labels="attributes")
    assert faces.label_names == ("Bald", "Young")
    expected = np.stack([faces.train[:, 1, 0, 0] > 99, faces.train[:, 0, 0, 0] > 99], axis=1)
    np.testing.assert_array_equal(faces.labels["train"], expected)
    assert data.load_dataset("celeb_a", data_dir=root).labels is None


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ({"train": 60_000, "test": 10}, ("train[:54000]", "train[54000:60000]", "test")),
        ({"train": 9, "valid": 3, "test": 1}, ("train", "valid", "test")),
        ({"train": 20, "validation": 5}, ("train[:18]", "train[18:20]", "validation")),
        ({"train": 20}, ("train[:16]", "train[16:18]", "train[18:]")),
    ],
)
def test_the_rule_of_splits(sizes, parts):
    assert tuple(data.split_parts(sizes).values()) == parts


def test_decoded_arrays_are_kept_until_the_records_change(root, tmp_path):
    shutil.copytree(root / "mine", tmp_path / "mine")
    load = functools.partial(data.tfds_dataset, "mine", data_dir=tmp_path)
    cache = tmp_path / "cache" / "dgmjax" / "decoded"
    first = load(cache=False)
    assert not cache.exists()
    load()
    files = sorted(cache.iterdir())
    assert len(files) == 3, "one a split, and nothing half-written"
    planted = images(40, (5, 5, 1), seed=99)
    train = next(file for file in files if len(np.load(file)["x"]) == 40)
    np.savez(train, x=planted)
    np.testing.assert_array_equal(load().train, planted)
    whole = train.read_bytes()
    for damaged in (whole[:100], b"", whole[:300] + bytes([whole[300] ^ 255]) + whole[301:]):
        train.write_bytes(damaged)
        np.testing.assert_array_equal(load().train, first.train)
    np.savez(train, x=planted)
    record = next((tmp_path / "mine" / "1.0.0").glob("*array_record*"))
    os.utime(record, ns=(0, 0))
    np.testing.assert_array_equal(load().train, first.train)
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("no directory can be made here")
    np.testing.assert_array_equal(load().train, first.train)


# Sets too large for memory

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """More rows than are decoded at a time."""
    tfds.disable_progress_bar()
    root = tmp_path_factory.mktemp("many")
    write_set(root, "many", {"train": 1_400}, (3, 2, 1))
    return root


@pytest.fixture
def load_large(many, tmp_path):
    """Loads a copy of ``many`` as a set that is too large."""
    shutil.copytree(many / "many", tmp_path / "many")
    return functools.partial(data.tfds_dataset, "many", data_dir=tmp_path, max_bytes=1000)


def decoded(tmp_path) -> dict[str, pathlib.Path]:
    files = (tmp_path / "cache" / "dgmjax" / "decoded").iterdir()
    return {file.name: file for file in files}


def assert_equal_sets(one: data.Dataset, other: data.Dataset):
    for split in SPLITS:
        np.testing.assert_array_equal(getattr(one, split), getattr(other, split))
        np.testing.assert_array_equal(one.labels[split], other.labels[split])


def refuse_to_decode(*_):
    raise AssertionError("decoded again")


def test_a_large_set_is_decoded_once_and_mapped(load_large, tmp_path, monkeypatch, caplog):
    small = load_large(max_bytes=10**6, cache=False)
    large = load_large()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "many is decoded once, 0.0 GB into" in caplog.text
    assert len(decoded(tmp_path)) == 6, "images and labels of each split, and nothing half-written"
    assert len(large.train) == 1_120, "several chunks"
    assert_equal_sets(large, small)
    for view in (large, large.flattened(), large.flattened().as_images()):
        for split in SPLITS:
            assert isinstance(getattr(view, split), np.memmap)
            assert np.shares_memory(getattr(view, split), getattr(large, split))
    with pytest.raises(ValueError, match="read-only"):
        large.train[0] = 0
    monkeypatch.setattr(data.ImageRecords, "__getitem__", refuse_to_decode)
    caplog.clear()
    assert_equal_sets(load_large(), small)
    assert not caplog.records


def test_what_was_half_written_or_damaged_is_decoded_again(load_large, tmp_path, monkeypatch):
    expected = load_large(max_bytes=10**6, cache=False)

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"must hold, but: .*No space left.*Set XDG_CACHE_HOME"):
            load_large()
    assert not decoded(tmp_path), "nothing half-written"
    first = load_large()
    names = set(decoded(tmp_path))
    for name, file in decoded(tmp_path).items():
        whole, rows = file.read_bytes(), np.load(file)
        # Another number of labels, or as many images of another shape.
        np.save(tmp_path / "other.npy", rows[:3] if rows.ndim == 1 else rows[:, :2])
        other = (tmp_path / "other.npy").read_bytes()
        for damaged in (whole[:-1], b"", other):
            file.unlink()  # what is mapped stays what it was
            file.write_bytes(damaged)
            assert_equal_sets(load_large(), expected)
            assert file.read_bytes() == whole, name
    (tmp_path / "cache" / "dgmjax" / "decoded" / "tmp.partial").write_bytes(whole[:200])
    assert_equal_sets(load_large(), expected)
    assert set(decoded(tmp_path)) == names | {"tmp.partial"}
    assert_equal_sets(first, expected)


def test_a_large_set_is_decoded_again_if_its_records_change(load_large, tmp_path):
    first = load_large()
    planted = np.full_like(first.train, 7)
    for file in decoded(tmp_path).values():
        if file.name.endswith("x.npy") and len(np.load(file)) == len(planted):
            file.unlink()
            np.save(file, planted)
    np.testing.assert_array_equal(load_large().train, planted)
    record = next((tmp_path / "many" / "1.0.0").glob("*array_record*"))
    os.utime(record, ns=(0, 0))
    assert_equal_sets(load_large(), first)


def test_two_may_decode_at_once(load_large, tmp_path):
    expected = load_large(max_bytes=10**6, cache=False)
    with futures.ThreadPoolExecutor(4) as pool:
        for result in [pool.submit(load_large) for _ in range(4)]:
            assert_equal_sets(result.result(), expected)
    assert len(decoded(tmp_path)) == 6


def test_a_large_set_without_room_says_what_to_do(load_large, tmp_path, monkeypatch):
    cache = tmp_path / "cache" / "dgmjax" / "decoded"
    with monkeypatch.context() as patch:
        usage = type(shutil.disk_usage(tmp_path))(10**9, 10**9, 1_000)
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(OSError, match="but: 0.0 GB are free") as caught:
            load_large()
    message = str(caught.value)
    assert message.startswith(f"many decodes to 0.0 GB, which {cache} must hold")
    assert "Set XDG_CACHE_HOME to a directory on another disk" in message
    assert (
        "dgmjax.data.Stream(dgmjax.data.ImageRecords(dgmjax.data.find_prepared('many'), " in message
    )
    assert not decoded(tmp_path)
    with pytest.raises(ValueError, match=r"more than max_bytes.*Stream it.*leave cache=False out"):
        load_large(cache=False)
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("no directory can be made here")
    with pytest.raises(OSError, match="must hold, but:.*Set XDG_CACHE_HOME"):
        load_large()


def test_faces_of_high_quality_are_known_by_name(tmp_path):
    """One split, no labels, and files that TFDS does not download."""
    write_set(tmp_path, "celeb_a_hq", {"train": 20}, (8, 8, 3), label=None, config="8")
    faces = data.load_dataset("celeb_a_hq/8", data_dir=tmp_path)
    assert (faces.name, faces.image_shape, faces.labels) == ("celeb_a_hq/8", (8, 8, 3), None)
    assert [len(getattr(faces, split)) for split in SPLITS] == [16, 2, 2]
    with pytest.raises(
        data.DataNotFound, match="data256x256.tar into .*/downloads/celeb_a_hq/256/manual"
    ):
        data.load_dataset("celeb_a_hq/256", data_dir=tmp_path)
    with pytest.raises(data.DataNotFound, match=r"(?s)There is: celeb_a_hq/8\..*data1024x1024.tar"):
        data.load_dataset("celeb_a_hq", data_dir=tmp_path)


@pytest.fixture
def mapped(tmp_path):
    """48 MB of zeros that take no disk."""
    file = tmp_path / "mapped.npy"
    return np.lib.format.open_memmap(file, "w+", np.float32, (6_000, 2_000))


def test_a_mapped_array_is_checked_without_a_copy(mapped):
    levels = mapped.view(np.int32)
    tracemalloc.start()
    for array, num_levels in ((mapped, None), (levels, 3)):
        assert np.shares_memory(data.check_data(array, (2_000,), num_levels=num_levels), mapped)
    batch = data.Batches({"x": mapped}, 100, seed=0)(0)["x"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < mapped.nbytes / 4
    assert not isinstance(batch, np.memmap)
    mapped[4_000, 3] = mapped[5_900, 7] = mapped[5_990, 1] = np.nan  # in the last two of its chunks
    with pytest.raises(ValueError, match=r"3 of 12000000 .* the first at index \(4000, 3\)"):
        data.check_data(mapped, (2_000,))
    levels[:] = 0
    levels[5_999, 0] = 3
    with pytest.raises(ValueError, match=r"for num_levels=3, got 0 .. 3"):
        data.check_data(levels, (2_000,), num_levels=3)


@pytest.mark.usefixtures("x32")
def test_fit_takes_a_mapped_array_as_the_array(tmp_path):
    """Layers that look at the data see as many rows of it as of records."""
    x = np.random.RandomState(0).normal(size=(5_000, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    fit = functools.partial(dgm.fit, seed=jax.random.key(0), steps=1, batch_size=16)

    def mean(x, **options):
        model = dgm.RealNVP(
            (2,), depth=2, width=4, preprocess=dgm.Standardize((2,)), rngs=nnx.Rngs(0)
        )
        return fit(model, x, **options).model.bijector.layers[0].mean[...]

    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    some = mean(mapped, workdir=tmp_path / "run")
    np.testing.assert_array_equal(some, mean(x, init_rows=4_096))
    assert np.abs(some - x.mean(0)).max() > 1e-4
    # The same call, as far as the run directory can tell: the digest is that of the rows.
    np.testing.assert_array_equal(some, mean(x, workdir=tmp_path / "run"))


# Missing data


def test_missing_data_are_an_error_in_no_time_and_never_a_download(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    started = time.perf_counter()
    with pytest.raises(data.DataNotFound) as caught:
        data.load_dataset("mnist")
    assert time.perf_counter() - started < 1.0
    home = tmp_path / "home" / "tensorflow_datasets"
    for part in (
        f"Data set 'mnist' is not prepared under {home}.",
        f"Looked for {home}/mnist/<version>/dataset_info.json with *.array_record-* files",
        "pass data_dir=DIR or set TFDS_DATA_DIR=DIR",
        f"python -m dgmjax.data prepare mnist --data-dir {home}   (no TensorFlow needed)",
        "use a set that needs no files: 'digits'",
    ):
        assert part.lower() in str(caught.value).lower()
    with pytest.raises(FileNotFoundError, match="t.builder.'cifar10', data_dir='/none'.") as caught:
        data.load_dataset("cifar10", data_dir="/none")
    assert "tensorflow-cpu" in str(caught.value)
    with pytest.raises(ValueError, match="unknown data set 'minst'; did you mean mnist"):
        data.load_dataset("minst")
    with pytest.raises(ValueError, match="expected SET, SET/CONFIG or SET:VERSION"):
        data.load_dataset("tfds:mnist:new")


def test_missing_versions_and_configs_are_listed(root):
    with pytest.raises(data.DataNotFound, match=r"There is: cifar10:1\.0\.0\."):
        data.find_prepared("cifar10:3.0.2", root)
    with pytest.raises(data.DataNotFound, match=r"There is: imagenet_resized/8x8\."):
        data.find_prepared("imagenet_resized", root)


def test_the_highest_version_is_read_unless_one_is_named(root, tmp_path):
    """By its numbers: 1.10.0 comes after 1.9.0."""
    for version in ("1.0.0", "1.9.0", "1.10.0"):
        shutil.copytree(root / "cifar10" / "1.0.0", tmp_path / "cifar10" / version)
    assert data.find_prepared("cifar10", tmp_path).directory.name == "1.10.0"
    assert data.find_prepared("cifar10:1.9.0", tmp_path).directory.name == "1.9.0"


def test_other_formats_and_missing_files_say_so(root, tmp_path):
    shutil.copytree(root / "cifar10", tmp_path / "cifar10")
    folder = tmp_path / "cifar10" / "1.0.0"
    info = folder / "dataset_info.json"
    text = info.read_text()
    info.write_text(text.replace('"array_record"', '"tfrecord"'))
    with pytest.raises(data.DataNotFound, match=r"is in tfrecord format.*array_record is needed"):
        data.load_dataset("cifar10", data_dir=tmp_path)
    info.write_text(text)
    (record,) = folder.glob("*-test.*")
    whole = record.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole.replace(b"PNG", b"GNP")):
        record.write_bytes(damaged)
        with pytest.raises(ValueError, match="split 'test' could not be read and decoded"):
            data.load_dataset("cifar10", data_dir=tmp_path)
    record.unlink()
    with pytest.raises(data.DataNotFound, match=r"1 of 1 record files of split 'test' are missing"):
        data.load_dataset("cifar10", data_dir=tmp_path)
    info.write_text(text[:50])
    with pytest.raises(ValueError, match=r"dataset_info.json is damaged"):
        data.load_dataset("cifar10", data_dir=tmp_path)


def test_impossible_requests_say_why(root):
    found = data.find_prepared("cifar10", root)
    with pytest.raises(ValueError, match=r"has no feature 'age'; its features are \['image', 'la"):
        data.ImageRecords(found, "train", context="age")
    with pytest.raises(ValueError, match="Unknown split 'validation'"):
        data.ImageRecords(found, "validation")
    with pytest.raises(
        ValueError, match="more than max_bytes = 0.0 GB. Stream it: dgmjax.data.Str"
    ):
        data.tfds_dataset("cifar10", data_dir=root, max_bytes=1000, cache=False)
    with pytest.raises(ValueError, match="one label for each of the 3 events of test, got 2"):
        data.Dataset("x", *3 * [np.zeros((3, 1))], labels={"test": np.zeros(2)})


def test_missing_packages_are_named_with_the_extra(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"needs pillow: pip install 'dgmjax\[tfds\]'"):
        data.load_dataset("cifar10", data_dir=root)
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(ImportError, match=r"grain: pip install 'dgmjax\[tfds\]'"):
        data.Stream([], 1, seed=0)


# Streams


@pytest.fixture(scope="module")
def records(root):
    return data.ImageRecords(data.find_prepared("cifar10", root), "train", context="label")


@pytest.fixture(scope="module")
def in_memory(records):
    arrays = records[np.arange(len(records))]
    return data.Batches(arrays, 24, seed=5)


def assert_equal_batches(one, other):
    assert one.keys() == other.keys() == {"x", "context"}
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_a_stream_is_the_batches_of_the_same_rows_from_any_step(records, in_memory):
    with data.Stream(records, 24, seed=5) as stream:
        assert (stream.num_rows, stream.batch_size, stream.per_epoch) == (100, 24, 4)
        for step in (0, 1, 2, 3, 4, 5, 17, 18, 8, 9, 3, 4, 10_000_000):
            assert_equal_batches(stream(step), in_memory(step))
    assert_equal_batches(stream(7), in_memory(7))
    stream.close()


def test_records_go_to_other_processes(records, in_memory):
    sent = pickle.loads(pickle.dumps(records))
    rows = np.array([3, 99, 0, 3])
    assert_equal_batches(sent[rows], records[rows])


def test_processes_share_every_batch(records, in_memory):
    streams = [data.Stream(records, 24, seed=5, process=p, processes=4) for p in range(4)]
    batches = [data.Batches(in_memory.arrays, 24, 5, process=p, processes=4) for p in range(4)]
    for step in (0, 5):
        parts = [stream(step) for stream in streams]
        assert [len(part["x"]) for part in parts] == [6] * 4
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        assert_equal_batches(whole, in_memory(step))
        for part, batch in zip(parts, batches, strict=True):
            assert_equal_batches(part, batch(step))
    for stream in streams:
        stream.close()
    with pytest.raises(ValueError, match="batch_size 24 must be a multiple of the 5 processes"):
        data.Stream(records, 24, seed=5, processes=5)
    with pytest.raises(ValueError, match=r"expected a process in 0 .. 1, got 2 of 2"):
        data.Order(10, 2, 0, process=2, processes=2)
    with pytest.raises(ValueError, match="batch_size at least 1, got 10 rows and batch_size 0"):
        data.Order(10, 0, 0)


WORKERS = """
import sys
import numpy as np
from dgmjax import data

if __name__ == "__main__":
    records = data.ImageRecords(data.find_prepared("cifar10", sys.argv[1]), "train")
    with data.Stream(records, 24, seed=5, workers=2) as stream:
        np.save(sys.argv[2], np.stack([stream(step)["x"] for step in range(2, 9)]))
"""


def test_reading_leaves_the_log_level_alone(records):
    from absl import logging

    before = logging.get_verbosity()
    with data.Stream(records, 8, seed=0, threads=4) as stream:
        for step in range(20):
            stream(step)
    assert logging.get_verbosity() == before


@pytest.mark.slow
def test_workers_do_not_change_a_stream(root, in_memory, tmp_path):
    """In a program of its own, as users write it: flags unparsed, workers started afresh."""
    (tmp_path / "program.py").write_text(WORKERS)
    command = [sys.executable, "program.py", str(root), "out.npy"]
    paths = os.pathsep.join(sys.path)
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = np.stack([in_memory(step)["x"] for step in range(2, 9)])
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


# Preparing


def idx(values: np.ndarray) -> bytes:
    header = np.array([0x800 + values.ndim, *values.shape], ">u4").tobytes()
    return gzip.compress(header + values.tobytes(), mtime=0)


NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte") + (
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def source_files(folder: pathlib.Path, url: str, seed: int) -> list[data.SourceFile]:
    """Four small files of MNIST's format in ``folder``, and what is registered for them."""
    folder.mkdir(parents=True, exist_ok=True)
    train, test = images(30, (28, 28, 1), seed)[..., 0], images(10, (28, 28, 1), seed + 1)[..., 0]
    contents = [train, (np.arange(30) % 10).astype(np.uint8), test, np.arange(10, dtype=np.uint8)]
    files = []
    for name, content in zip(NAMES, contents, strict=True):
        (folder / f"{name}.gz").write_bytes(idx(content))
        digest = hashlib.sha256((folder / f"{name}.gz").read_bytes()).hexdigest()
        files.append(data.SourceFile(f"{url}/{name}.gz", digest))
    return files


@contextlib.contextmanager
def serving(folder: pathlib.Path):
    """An http server on the loopback; yields its address and the requests it saw."""
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            requests.append(self.path)

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", requests
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


def test_prepare_takes_local_files_and_keeps_sets_apart(tmp_path):
    """MNIST and Fashion-MNIST name their files alike; TFDS's shared extraction would confuse them."""
    for seed, name in enumerate(("mnist", "fashion_mnist")):
        files = source_files(tmp_path / "gz" / name, "http://unused.invalid", seed=10 * seed)
        prepared = data.prepare(
            name, data_dir=tmp_path / "out", manual_dir=tmp_path / "gz" / name, files=files
        )
        assert prepared.sizes == {"train": 30, "test": 10}
        read = data.load_dataset(name, data_dir=tmp_path / "out")
        whole = np.concatenate([read.train, read.validation])
        assert multiset(whole) == multiset(images(30, (28, 28, 1), seed=10 * seed))
        assert multiset(read.test) == multiset(images(10, (28, 28, 1), seed=10 * seed + 1))
        by_image = {row.tobytes(): label for row, label in zip(
            images(30, (28, 28, 1), seed=10 * seed), np.arange(30) % 10, strict=True
        )}  # fmt: skip
        assert [by_image[row.tobytes()] for row in read.train] == read.labels["train"].tolist()
    assert "tensorflow" not in sys.modules
    again = data.prepare("mnist", data_dir=tmp_path / "out", manual_dir=tmp_path / "nowhere")
    assert again.sizes == {"train": 30, "test": 10}, "done already"


@pytest.mark.usefixtures("_no_proxy")
def test_prepare_downloads_verifies_and_continues(tmp_path):
    out, served = tmp_path / "out", tmp_path / "served"
    with serving(served) as (url, requests):
        files = source_files(served, url, seed=3)
        good = (served / f"{NAMES[2]}.gz").read_bytes()
        (served / f"{NAMES[2]}.gz").write_bytes(good[:-1])
        with pytest.raises(ValueError, match=rf"has SHA-256 \w+, expected {files[2].sha256}"):
            data.prepare("mnist", data_dir=out, files=files)
        kept = sorted(file.name for file in (out / "downloads" / "mnist").iterdir())
        assert kept == [f"{NAMES[0]}.gz", f"{NAMES[1]}.gz"], "verified files only, nothing partial"
        with pytest.raises(data.DataNotFound):
            data.load_dataset("mnist", data_dir=out)
        (served / f"{NAMES[2]}.gz").write_bytes(good)
        requests.clear()
        data.prepare("mnist", data_dir=out, files=files)
        assert not any(NAMES[0] in request for request in requests), "not downloaded again"
    assert len(data.load_dataset("mnist", data_dir=out).test) == 10


@pytest.mark.usefixtures("_no_proxy")
def test_prepare_gives_up_in_bounded_time(tmp_path):
    with socket.socket() as silent:  # accepts connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        files = source_files(tmp_path / "gz", url, seed=0)
        started = time.perf_counter()
        with pytest.raises(ConnectionError, match=r"could not download .*--manual-dir DIR"):
            data.prepare("mnist", data_dir=tmp_path, files=files, timeout=0.3)
    with pytest.raises(ConnectionError, match="Connection refused"):
        data.prepare("mnist", data_dir=tmp_path, files=files, timeout=0.3)
    assert time.perf_counter() - started < 10
    assert list((tmp_path / "downloads" / "mnist").iterdir()) == []


def test_prepare_refuses_what_it_cannot_do(root, tmp_path):
    files = source_files(tmp_path / "gz", "http://unused.invalid", seed=0)
    refused = functools.partial(data.prepare, "mnist", data_dir=tmp_path, files=files)
    (tmp_path / "gz" / f"{NAMES[3]}.gz").unlink()
    with pytest.raises(FileNotFoundError, match=f"does not hold {NAMES[3]}.gz"):
        refused(manual_dir=tmp_path / "gz")
    (tmp_path / "gz" / f"{NAMES[3]}.gz").write_bytes(b"another file")
    with pytest.raises(ValueError, match="has SHA-256"):
        refused(manual_dir=tmp_path / "gz")
    with pytest.raises(ValueError, match="expected mnist or fashion_mnist, got 'cifar10'"):
        data.prepare("cifar10")
    text = b"not an image"
    (tmp_path / "gz" / f"{NAMES[3]}.gz").write_bytes(gzip.compress(text))
    digest = hashlib.sha256((tmp_path / "gz" / f"{NAMES[3]}.gz").read_bytes()).hexdigest()
    files[3] = data.SourceFile(files[3].url, digest)
    with pytest.raises(ValueError, match="is no IDX file"):
        refused(manual_dir=tmp_path / "gz")
    assert not (tmp_path / "mnist" / "3.0.1").exists(), "nothing half-prepared"


def test_the_command_ends_with_one_message(tmp_path):
    command = [sys.executable, "-m", "dgmjax.data", "prepare", "mnist"]
    options = ["--data-dir", str(tmp_path), "--manual-dir", str(tmp_path / "gz")]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    expected = ", ".join(f"{name}.gz" for name in NAMES)
    assert done.stderr.strip() == f"error: {tmp_path / 'gz'} does not hold {expected}."


# The real sets, where they are


REAL_ROOT = os.environ.get("TFDS_DATA_DIR")


def real_root(name: str) -> str:
    if REAL_ROOT is None or not (pathlib.Path(REAL_ROOT) / name).exists():
        pytest.skip(f"TFDS_DATA_DIR names no directory with a prepared {name}")
    return REAL_ROOT


MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
REAL = {
    "mnist": (33.3184, 33.7912, MNIST_TRAIN, MNIST_TEST),
    "fashion_mnist": (72.9404, 73.1466, [6000] * 10, [1000] * 10),
}


@pytest.mark.parametrize("name", REAL)
def test_the_real_sets_have_the_known_figures(name):
    train_mean, test_mean, train_labels, test_labels = REAL[name]
    real = data.load_dataset(name, data_dir=real_root(name))
    assert [len(x) for x in (real.train, real.validation, real.test)] == [54_000, 6_000, 10_000]
    assert real.event_shape == (28, 28, 1)
    train = np.concatenate([real.train, real.validation])
    assert abs(train.mean() - train_mean) < 1e-4
    assert abs(real.test.mean() - test_mean) < 1e-4
    labels = np.concatenate([real.labels["train"], real.labels["validation"]])
    assert np.bincount(labels).tolist() == train_labels
    assert np.bincount(real.labels["test"]).tolist() == test_labels
    assert len(set(multiset(train))) == 60_000, "all distinct, so the splits are disjoint"


def test_natural_patches():
    patches = data.load_dataset("natural32", data_dir=real_root("natural32"))
    sizes = [len(x) for x in (patches.train, patches.validation, patches.test)]
    assert sizes == [6878, 680, 1916]
    assert patches.image_shape == (32, 32, 3)
    assert len(patches.label_names) == 18


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("mnist", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        ("fashion_mnist", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    ],
)
def test_files_are_held_to_what_tfds_registers(tmp_path, name, digest):
    source_files(tmp_path / "gz", "http://unused.invalid", seed=0)
    with pytest.raises(ValueError, match=f"{NAMES[0]}.gz has SHA-256 .* expected {digest}"):
        data.prepare(name, data_dir=tmp_path, manual_dir=tmp_path / "gz")


def test_metadata_without_a_format_is_tfrecord(root, tmp_path):
    """TFDS left it out before it had a choice."""
    shutil.copytree(root / "mine", tmp_path / "mine")
    info = tmp_path / "mine" / "1.0.0" / "dataset_info.json"
    content = json.loads(info.read_text())
    del content["fileFormat"]
    info.write_text(json.dumps(content))
    with pytest.raises(data.DataNotFound, match="tfrecord"):
        data.find_prepared("mine", tmp_path)
