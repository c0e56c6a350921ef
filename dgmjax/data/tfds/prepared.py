"""Data sets that TensorFlow Datasets has prepared: where they lie, and what to say if they do not."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import re

PREPARABLE = ("mnist", "fashion_mnist")
"""What ``python -m dgmjax.data prepare`` prepares."""

_MANUAL = {"celeb_a_hq": ("data{0}x{0}.tar", "1024")}  # the file of a config, TFDS's first config
_NAME = re.compile(r"(?P<set>\w+)(/(?P<config>[\w.+-]+))?(:(?P<version>\d+\.\d+\.\d+))?")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_PACKAGES = {
    "tensorflow_datasets": "tensorflow-datasets",
    "array_record": "array_record",
    "PIL": "pillow",
    "importlib_resources": "importlib_resources",
}


class DataNotFound(FileNotFoundError):
    """No prepared copy of a data set; nothing is downloaded unless asked for. The message says what to do."""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A prepared data set on disk.

    Attributes:
      name: ``SET`` or ``SET/CONFIG``.
      directory: holds ``dataset_info.json`` and the record files.
      sizes: examples of each split.
      features: names of the features of an example.
    """

    name: str
    directory: pathlib.Path
    sizes: dict[str, int]
    features: tuple[str, ...]


def data_root(data_dir: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """Where prepared data lie: ``data_dir``, else ``$TFDS_DATA_DIR``, else ``~/tensorflow_datasets``."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return pathlib.Path(chosen).expanduser()


def find_prepared(name: str, data_dir: str | os.PathLike[str] | None = None) -> Prepared:
    """The prepared data set ``SET[/CONFIG][:VERSION]``, its highest version if none is named.

    Reads one small file; imports nothing and never opens the network.

    Raises:
      ValueError: ``name`` is not of that form.
      DataNotFound: not there, incomplete, or in a format that only TensorFlow reads.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(
            f"data set {name!r}: expected SET, SET/CONFIG or SET:VERSION, e.g. 'mnist', 'imagenet_resized/32x32' or "
            f"'mnist:3.0.1'."
        )
    root = data_root(data_dir)
    base = match["set"] if match["config"] is None else f"{match['set']}/{match['config']}"
    folder = root / base
    versions = sorted(_versions(folder), key=_version_key)
    if match["version"] is not None:
        versions = [version for version in versions if version == match["version"]]
    if not versions:
        raise DataNotFound(_not_prepared(base, match["version"], root))
    directory = folder / versions[-1]
    info = _read_json(directory / "dataset_info.json")
    file_format = info.get("fileFormat", "tfrecord")
    if file_format != "array_record":
        raise DataNotFound(
            f"{directory} is in {file_format} format, which needs TensorFlow to read or holds no random access; "
            f"array_record is needed. Prepare it again in another directory:\n{how_to_prepare(base, root)}"
        )
    sizes = {split["name"]: sum(map(int, split["shardLengths"])) for split in info["splits"]}
    for split in info["splits"]:
        _check_shards(directory, base, split)
    features = _read_json(directory / "features.json")
    names = tuple(features.get("featuresDict", {}).get("features", ()))
    return Prepared(base, directory, sizes, names)


def is_prepared(name: str, data_dir: str | os.PathLike[str] | None = None) -> bool:
    """Whether there is a directory of that name to read; it may still be damaged."""
    match = _NAME.fullmatch(name)
    if match is None:
        return False
    config = match["config"] or ""
    return bool(_versions(data_root(data_dir) / match["set"] / config))


def check_packages(name: str) -> None:
    """Raise ImportError, naming the extra, unless records can be read and images decoded."""
    missing = [pip for module, pip in _PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        remark = " (array_record has wheels for Linux only)" if "array_record" in missing else ""
        raise ImportError(
            f"data set {name!r} needs {', '.join(missing)}: pip install 'dgmjax[tfds]'{remark}; TensorFlow is not "
            f"needed."
        )


def _read_json(path: pathlib.Path) -> dict:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}). Copy the whole directory again, or delete it and prepare the set again."
        ) from None


def _versions(folder: pathlib.Path) -> list[str]:
    if not folder.is_dir():
        return []
    return [
        entry.name
        for entry in folder.iterdir()
        if _VERSION.fullmatch(entry.name) and (entry / "dataset_info.json").is_file()
    ]


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _check_shards(directory: pathlib.Path, name: str, split: dict) -> None:
    """Every record file of the split is there."""
    num = len(split["shardLengths"])
    prefix = f"{name.split('/')[0]}-{split['name']}.array_record-"
    missing = [
        shard
        for shard in (f"{prefix}{index:05d}-of-{num:05d}" for index in range(num))
        if not (directory / shard).is_file()
    ]
    if missing:
        raise DataNotFound(
            f"{directory} is incomplete: {len(missing)} of {num} record files of split {split['name']!r} are missing, "
            f"the first {missing[0]}. Copy the whole directory again, or delete it and prepare the set again."
        )


def _not_prepared(name: str, version: str | None, root: pathlib.Path) -> str:
    wanted = f"{name}/{version or '<version>'}"
    lines = [
        f"Data set {name!r} is not prepared under {root}.",
        f"Looked for {root}/{wanted}/dataset_info.json with *.array_record-* files beside it.",
    ]
    others = _others(root / name, name)
    if others:
        lines.append(f"There is: {', '.join(others)}.")
    lines += [
        f" - Have a prepared copy?  Pass data_dir=DIR or set TFDS_DATA_DIR=DIR, where DIR holds {wanted}/ .",
        how_to_prepare(name, root),
        " - Neither?               Use a set that needs no files: 'digits' (8x8, in scikit-learn), 'two_moons', "
        "'checkerboard'.",
    ]
    return "\n".join(lines)


def _others(folder: pathlib.Path, name: str) -> list[str]:
    """Configs or other versions that lie where ``name`` was looked for."""
    versions = [f"{name}:{version}" for version in _versions(folder)]
    if versions or not folder.is_dir():
        return versions
    return sorted(f"{name}/{entry.name}" for entry in folder.iterdir() if _versions(entry))


def how_to_prepare(name: str, root: pathlib.Path) -> str:
    """The command that prepares ``name`` under ``root``."""
    if name in PREPARABLE:
        return (
            f" - Online?                python -m dgmjax.data prepare {name} --data-dir {root}   (no TensorFlow "
            f"needed)"
        )
    build = (
        f"import tensorflow_datasets as t; t.builder('{name}', data_dir='{root}').download_and_prepare("
        f"file_format='array_record', download_dir='{root}/downloads/{name}')"
    )
    return (
        f" - Online?                Prepare it once with TensorFlow, in an environment to throw away (if TFDS's "
        f"catalogue has {name!r}):\n"
        f"     python -m venv prep && prep/bin/pip install tensorflow-cpu tensorflow-datasets importlib_resources "
        f'&& prep/bin/python -c "{build}"{_manual(name, root)}'
    )


def _manual(name: str, root: pathlib.Path) -> str:
    """What TFDS cannot download."""
    base, _, config = name.partition("/")
    if base not in _MANUAL:
        return ""
    file, default = _MANUAL[base]
    return (
        f"\n   TFDS cannot download it: first put {file.format(config or default)} into "
        f"{root}/downloads/{name}/manual (how to make it: https://www.tensorflow.org/datasets/catalog/{base})."
    )
