"""The table of mutants: one-line faults of the sort that people make, each with the test that sees it.

A file of this folder is a room of the library. Its blocks, an empty line between them, read

    dgmjax/bijectors/logit.py
    -    slope = 1.0 - 2.0 * alpha
    +    slope = 1.0 - alpha
    tests/test_laws.py::test_row_is_exact[logit]

with the lines as they are, the lines after the fault, and a test of the fast suite that fails then. In place of the
test, ``equivalent: REASON`` says that no test can see it and ``survives: REASON`` that none does.
"""

import pathlib
from collections.abc import Iterator
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
# A mutant without a test says one of these in its place, with the reason.
NOT_SEEN = ("equivalent: ", "survives: ")


class Mutant(NamedTuple):
    """A fault: ``before`` of the file at ``path`` becomes ``after``, and ``verdict`` names the test that fails."""

    path: str
    before: str
    after: str
    verdict: str

    @property
    def is_killed(self) -> bool:
        """Whether a test sees it."""
        return not self.verdict.startswith(NOT_SEEN)

    @property
    def is_equivalent(self) -> bool:
        """Whether it changes nothing that a test could see."""
        return self.verdict.startswith("equivalent: ")

    def __str__(self) -> str:
        return f"{self.path}\n{self.after.strip()}"


def mutants() -> list[Mutant]:
    """All mutants, in the order of files and lines."""
    return [
        mutant
        for path in sorted(pathlib.Path(__file__).parent.glob("*.txt"))
        for mutant in _read(path)
    ]


def score(table: list[Mutant]) -> str:
    """The share of the faults that tests see: ``118 of 120 mutants die (98.3 %); 4 more are equivalent``."""
    faults = [mutant for mutant in table if not mutant.is_equivalent]
    killed = sum(mutant.is_killed for mutant in faults)
    equivalent = len(table) - len(faults)
    return (
        f"{killed} of {len(faults)} mutants die ({100 * killed / len(faults):.1f} %); "
        f"{equivalent} more are equivalent"
    )


def _read(path: pathlib.Path) -> Iterator[Mutant]:
    for block in path.read_text().strip().split("\n\n"):
        name, *lines = block.splitlines()
        before = [line[1:] for line in lines if line.startswith("-")]
        after = [line[1:] for line in lines if line.startswith("+")]
        verdict = lines[-1]
        if not before or lines != [f"-{x}" for x in before] + [f"+{x}" for x in after] + [verdict]:
            raise ValueError(f"{path}: a mutant is a path, lines with - and +, a verdict:\n{block}")
        yield Mutant(name, "\n".join(before) + "\n", "".join(f"{x}\n" for x in after), verdict)
