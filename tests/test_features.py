"""The table of features beside other libraries: its names exist, and the pages show it."""

import pathlib

import pytest

from experiments.benchmarks import features

ROOT = pathlib.Path(__file__).parent.parent


def test_the_table_is_that_of_the_sources():
    for library in features.LIBRARIES[:3]:  # the command reads the others
        files = features.sources(library)
        if files is not None:
            assert not list(features.problems(library, *features.names_in(files)))
    assert features.sources(features.Library("none", "no_such_package", "")) is None


def test_a_feature_table_that_is_behind_is_noticed():
    flowjax = features.LIBRARIES[1]
    (stale, *_) = features.problems(flowjax, {"Glow1x1"}, set())
    assert stale == "flowjax: couplings of vectors: its sources have no Coupling."
    found = list(features.problems(flowjax, {"Glow1x1"}, set()))
    assert "flowjax: invertible 1x1 convolutions: the table does not know Glow1x1." in found


@pytest.mark.parametrize(("page", "names"), [("README.md", False), ("docs/benchmarks.md", True)])
def test_pages_show_the_table_of_features(page, names):
    assert features.table(names=names) in (ROOT / page).read_text()
