"""The links of the README and the guide lead somewhere: to a file that is there, and to a heading in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCED = re.compile(r"^( *)(```|~~~).*?^ *\2[^\n]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?)#* *$", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z]+:")


def links(page: Path) -> Iterator[str]:
    """The targets within the repository."""
    text = _CODE.sub("`code`", _FENCED.sub("", page.read_text()))
    yield from (target for target in _LINK.findall(text) if not _ELSEWHERE.match(target))


def anchors(page: Path) -> set[str]:
    """What headings are called in links: lower case, no punctuation, hyphens for blanks; repeated ones are counted."""
    names: list[str] = []
    for heading in _HEADING.findall(_FENCED.sub("", page.read_text())):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        names.append(f"{name}-{count}" if (count := names.count(name)) else name)
    return set(names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in links(page):
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.is_relative_to(ROOT), f"{target} leads out of the repository"
        assert there.exists(), f"{target}: there is no such file"
        assert not anchor or anchor in anchors(there), f"{target}: {there.name} has no such heading"


def test_a_dead_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Two `x`, y!\n## a\n## a\n[1](#two-x-y) [2](gone.md#a) `[3](code)`\n```\n# no\n[4](no)\n```\n")
    assert list(links(page)) == ["#two-x-y", "gone.md#a"]
    assert anchors(page) == {"two-x-y", "a", "a-1"}
