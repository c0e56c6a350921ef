"""The table of mutants fits the sources, and its score is the one that CONTRIBUTING.md prints."""

import ast

import pytest

from tests.mutants.table import ROOT, Mutant, mutants, score

TABLE = mutants()


@pytest.mark.parametrize("mutant", TABLE, ids=lambda m: f"{m.path}: {m.after.strip()[:40]}")
def test_mutant_can_be_planted_and_its_test_exists(mutant: Mutant):
    source = (ROOT / mutant.path).read_text()
    assert source.count(mutant.before) == 1
    changed = source.replace(mutant.before, mutant.after)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))
    if mutant.is_killed:
        path, _, rest = mutant.verdict.partition("::")
        names = {
            node.name
            for node in ast.walk(ast.parse((ROOT / path).read_text()))
            if isinstance(node, ast.FunctionDef)
        }
        assert rest.partition("[")[0] in names


def test_score_is_that_of_the_contributing_guide():
    assert score(TABLE) in (ROOT / "CONTRIBUTING.md").read_text()


def test_every_mutant_is_planted_once():
    planted = [(mutant.path, mutant.before, mutant.after) for mutant in TABLE]
    assert len(set(planted)) == len(planted)
