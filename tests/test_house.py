"""The architecture as a test: imports point one way, public names are listed and documented."""

import ast
import importlib
import inspect
import pathlib
import pkgutil
import subprocess
import sys

import pytest

import dgmjax as dgm

ROOT = pathlib.Path(dgm.__file__).parent
# From the top of the house to its foundation: a room may import rooms after it, never before.
ROOMS = [
    "interop", "models", "training", "analysis", "objectives", "distributions", "layers", "nets", "bijectors",
    "densities", "data", "plots", "numerics", "testing", "checks",
]  # fmt: skip
PURE = {"bijectors", "densities", "numerics"}
# fit joins data, objectives and layers; data reads nothing but numerics and the checks.

# What a room of the experiments may import of the others; the commands at the top import ``commands`` only.
EXPERIMENTS = ROOT.parent / "experiments"
MAY_IMPORT = {
    "reproduce": {"commands", "figures", "run", "configs", "settings"},
    "commands": {"run", "configs", "settings"},
    "figures": {"run", "configs", "settings"},
    "run": {"configs", "settings"},
    "configs": {"settings"},
    "settings": set(),
    "benchmarks": set(),
}


def room_of(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(path: pathlib.Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


MODULES = [path for path in sorted(ROOT.rglob("*.py")) if path.parent != ROOT] + [
    ROOT / "checks.py"
]
COMMANDS = [path for path in EXPERIMENTS.glob("*.py") if path.name != "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_the_house(path):
    room = room_of(path)
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "dgmjax":
            assert len(parts) > 1, f"{path} imports the whole package"
            assert ROOMS.index(parts[1]) >= ROOMS.index(room), f"{room} must not import {name}"
        assert parts[0] != "experiments"
        if room in PURE:
            assert parts[0] not in {"flax", "distrax", "optax", "orbax"}, f"{path} imports {name}"


@pytest.mark.parametrize("room", [*MAY_IMPORT, "commands at the top"])
def test_imports_of_the_experiments_point_down(room):
    """Benchmarks stand by themselves; no module imports from a ``__main__``."""
    files = list((EXPERIMENTS / room).glob("*.py")) if room in MAY_IMPORT else COMMANDS
    assert files
    allowed = MAY_IMPORT[room] | {room} if room in MAY_IMPORT else {"commands"}
    for path in files:
        for name in imports_of(path):
            parts = name.split(".")
            if parts[0] == "experiments" and len(parts) > 1:
                assert parts[1] in allowed, f"{path} imports {name}"
                assert "__main__" not in parts, f"{path} imports {name}"


def test_the_experiments_have_rooms_and_thin_commands():
    rooms = {path.parent.name for path in EXPERIMENTS.glob("*/*.py")}
    assert rooms == set(MAY_IMPORT)
    for path in COMMANDS:
        assert len(path.read_text().splitlines()) < 10, f"{path} belongs into a room"


def test_the_pure_rooms_can_be_imported_without_flax():
    """`import dgmjax` brings everything; the files of the pure rooms themselves need jax only."""
    for room in sorted(PURE):
        for path in sorted((ROOT / room).glob("*.py")):
            outside = {n.split(".")[0] for n in imports_of(path)} - set(sys.stdlib_module_names)
            assert outside <= {"jax", "numpy", "dgmjax"}, path


def test_optional_packages_are_not_imported_with_the_library():
    code = (
        "import sys, dgmjax; print([m for m in ('matplotlib', 'sklearn', 'tyro', 'tensorboardX', "
        "'orbax.checkpoint', 'tensorflow', 'numpyro', 'blackjax', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


PACKAGES = ["dgmjax"] + [f"dgmjax.{m.name}" for m in pkgutil.iter_modules([str(ROOT)]) if m.ispkg]


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_listed_exist_and_are_documented(package):
    module = importlib.import_module(package)
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), f"{package}.{name} has no docstring"
            assert "_description_" not in inspect.getdoc(thing)


def test_files_hold_one_concept():
    for path in [*ROOT.rglob("*.py"), *EXPERIMENTS.rglob("*.py")]:
        assert len(path.read_text().splitlines()) <= 300, f"{path} is too long for one concept"


API = (ROOT.parent / "docs" / "api.md").read_text()


@pytest.mark.parametrize("package", PACKAGES[1:])
def test_the_api_page_lists_every_public_name(package):
    """autodoc finds classes and functions by the module; constants have an entry of their own."""
    assert f".. automodule:: {package}\n" in API
    module = importlib.import_module(package)
    for name in module.__all__:
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing) or inspect.ismodule(thing)):
            called = callable(thing) and inspect.isfunction(getattr(thing, "__wrapped__", None))
            assert called or f".. py:data:: {package}.{name}\n" in API


def test_nothing_lies_in_the_rooms_but_what_belongs_there():
    kinds = {
        path.suffix
        for room in (ROOT, EXPERIMENTS, ROOT.parent / "tests")
        for path in room.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert kinds == {".py", ".txt", ".typed"}
