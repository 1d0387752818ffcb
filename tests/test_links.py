"""What a page points to is there, and every page is found from another one."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [
    *(path for path in ROOT.glob("*.md")),
    *(path for top in ("docs", "tests", "examples") for path in (ROOT / top).rglob("*.md")),
]
LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)")
FENCED = re.compile(r"```.*?```", re.DOTALL)


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """What lies here, with the heading that is meant."""
    for path, heading in LINK.findall(FENCED.sub("", page.read_text())):
        if "://" not in path:
            yield (page.parent / path).resolve() if path else page, heading


def anchors(page: Path) -> set[str]:
    """Headings as GitHub names them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_leads_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {path.name}#{heading}"
        for page in PAGES
        for path, heading in links(page)
        if not path.exists() or (heading and heading not in anchors(path))
    ]
    assert broken == []


def test_every_page_of_the_documentation_is_linked() -> None:
    linked = {path for page in PAGES for path, _ in links(page)}
    assert [path for path in (ROOT / "docs").rglob("*.md") if path not in linked] == []
