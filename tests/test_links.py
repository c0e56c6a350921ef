"""Every link and picture of every page leads somewhere: files, headings, addresses without typing errors."""

import pathlib
import re
from collections import Counter

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda page: page.as_posix()
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<img[^>]* src=\"([^\"]+)\"|<a href=\"([^\"]+)\"")


def links(page):
    """Targets of the links outside of code."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    return [next(filter(None, found)) for found in LINK.findall(text)]


def headings(page):
    """The anchors that headings make, as the pages' host spells them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page(page):
    for link in links(page):
        if "://" in link:
            assert re.fullmatch(r"https://[\w.-]+\.[a-z]+(/[\w./~#?=&%:+-]*)?", link), link
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {link}, which does not exist."
        assert target.is_relative_to(ROOT), f"{page.name} links outside of the repository: {link}."
        if anchor:
            assert anchor in headings(target), f"{page.name}: no heading of {link}."


def test_every_picture_of_the_documentation_is_shown():
    shown = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in links(page)
        if link.endswith(".png") and "://" not in link
    }
    unused = set((ROOT / "docs" / "images").glob("*.png")) - shown
    assert not unused, f"no page shows {sorted(path.name for path in unused)}."


def test_the_references_are_those_of_the_code():
    """A paper on the page is cited by the code, but for the tutorial; what three or more files cite is on the page."""
    page = (ROOT / "docs" / "references.md").read_text()
    listed = set(re.findall(r"abs/(\d{4}\.\d{4,5})", page))
    files = [path.read_text() for path in (ROOT / "dgmjax").rglob("*.py")]
    cited = Counter(
        paper for text in files for paper in set(re.findall(r"arXiv:(\d{4}\.\d{4,5})", text))
    )
    assert listed - set(cited) == {"1606.05908"}
    assert {paper for paper, count in cited.items() if count >= 3} <= listed
