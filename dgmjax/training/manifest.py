"""A list of the files of a folder with size and SHA-256, to tell a whole copy from a damaged one."""

import hashlib
import json
import os
import pathlib
from typing import NamedTuple

_NAME = "manifest.json"


def write_manifest(folder: pathlib.Path) -> None:
    """Write ``manifest.json``, the last file of a finished folder, in one piece."""
    temporary = folder / (_NAME + ".tmp")
    temporary.write_text(json.dumps(_digest(folder), indent=1))
    os.replace(temporary, folder / _NAME)


class Damage(NamedTuple):
    """What is wrong with a folder.

    Attributes:
      what: names the file.
      finished: False if the writer was stopped before the manifest, so nothing that was finished is lost.
    """

    what: str
    finished: bool


def find_damage(folder: pathlib.Path) -> Damage | None:
    """Compare a folder with its manifest; the first file that differs and how, or None if it is sound."""
    manifest = folder / _NAME
    if not manifest.exists():
        return Damage(f"{manifest} is missing, the write was not finished", finished=False)
    try:
        expected = json.loads(manifest.read_text())
    except ValueError:
        return Damage(f"{manifest} is not valid JSON", finished=True)
    found = _digest(folder)
    for name, entry in expected.items():
        path = folder / name
        if name not in found:
            return Damage(f"{path} is missing", finished=True)
        if found[name]["size"] != entry["size"]:
            sizes = f"has {found[name]['size']} bytes, {entry['size']} were written"
            return Damage(f"{path} {sizes}", finished=True)
        if found[name] != entry:
            return Damage(f"{path} differs from what was written (SHA-256)", finished=True)
    return None


def _digest(folder: pathlib.Path) -> dict[str, dict[str, int | str]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {
            "size": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in files
        if path.name not in (_NAME, _NAME + ".tmp")
    }
