"""Features beside other libraries: ``python -m experiments.benchmarks.features [--names]``.

Nothing of a peer is imported: a feature counts if its sources define, or import, what the table names. Where the
table says that a library lacks it, its sources are searched for names that sound like it; one that the table does not
know ends the command with an error, so that the table cannot stay behind the releases it was made with.
"""

import argparse
import ast
import importlib.metadata
import importlib.util
import pathlib
import re
from collections.abc import Iterator

from experiments.benchmarks._feature_table import FEATURES, LIBRARIES, Feature, Library


def sources(library: Library) -> list[pathlib.Path] | None:
    """Its Python files without tests and examples; None if it is not installed."""
    package, _, inside = library.package.partition(".")
    found = importlib.util.find_spec(package)
    if found is None or found.submodule_search_locations is None:
        return None
    root = pathlib.Path(found.submodule_search_locations[0]) / inside.replace(".", "/")
    unwanted = re.compile(r"(^|/)(tests?|examples?|benchmarks?)/|test_|_test")
    return [path for path in root.rglob("*.py") if not unwanted.search(str(path.relative_to(root)))]


def names_in(files: list[pathlib.Path]) -> tuple[set[str], set[str]]:
    """Public names of the classes and functions that the files define, and names that they import."""
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    own = {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    imports = (node for node in nodes if isinstance(node, ast.ImportFrom))
    imported = {alias.name for node in imports for alias in node.names}
    return {name for name in own if not name.startswith("_")}, imported


def problems(library: Library, names: set[str], imported: set[str]) -> Iterator[str]:
    """What the table says of a library and its sources do not."""
    for feature in FEATURES:
        said = feature.names.get(library.title)
        if said is not None and said not in names | imported:
            yield f"{library.title}: {feature.title}: its sources have no {said}."
        if said is None:
            similar = {name for name in names if re.search(feature.words, name, re.IGNORECASE)}
            for name in sorted(similar - feature.unrelated):
                yield f"{library.title}: {feature.title}: the table does not know {name}."


def _cell(feature: Feature, library: Library, *, names: bool) -> str:
    name = feature.names.get(library.title)
    if name is None:
        return "–"
    return f"`{name}`" if names else "yes"


def table(*, names: bool = False) -> str:
    """The features as Markdown; with ``names`` the classes and functions in place of "yes"."""
    rows = [
        ["", *(library.title for library in LIBRARIES)],
        ["---", *[":-:"] * len(LIBRARIES)],
        ["built on", *(library.built_on for library in LIBRARIES)],
        *(
            [feature.title, *(_cell(feature, library, names=names) for library in LIBRARIES)]
            for feature in FEATURES
        ),
    ]
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows)


def _release(library: Library) -> str:
    """Distribution and version; TFP has more than one distribution."""
    found = importlib.metadata.packages_distributions()[library.package.partition(".")[0]]
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(found)))


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.features")
    parser.add_argument("--names", action="store_true", help="the names that have the features")
    options = parser.parse_args(arguments)
    found: list[str] = []
    for library in LIBRARIES:
        files = sources(library)
        if files is None:
            print(f"{library.title}: not installed, not checked")
            continue
        print(f"{library.title}: {_release(library)}")
        found += problems(library, *names_in(files))
    print("\n" + table(names=options.names))
    if found:
        raise SystemExit("\n".join(["error: the table is not right:", *found]))


if __name__ == "__main__":
    main()
