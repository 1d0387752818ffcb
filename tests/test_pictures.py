"""Pictures in the documents are drawn from our own results."""

import json
import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

DOCS = Path(__file__).parents[1] / "docs"
DRAW = runpy.run_path(str(DOCS / "draw.py"))


def test_every_picture_is_what_the_results_say() -> None:
    assert not DRAW["stale"](), "`python docs/draw.py` draws them anew"


def test_every_picture_that_a_page_shows_is_there() -> None:
    for page in DOCS.rglob("*.md"):
        for shown in re.findall(r"!\[[^\]]*\]\(([^)]+\.svg)\)", page.read_text()):
            assert (page.parent / shown).exists(), f"{page.name} shows {shown}"


def test_a_bar_is_as_long_as_its_number(tmp_path: Path) -> None:
    names = {"hot": 0.1, "host": 0.4, "disk": 0.8}
    rows = [
        {"name": f"first token, model {name}, p50 of 3", "value": value, "unit": "s", "goal": ""}
        for name, value in names.items()
    ]
    result = {"commit": "abc", "date": "2026-01-01", "rows": rows}
    (tmp_path / "cold_start.json").write_text(json.dumps(result))
    picture = ElementTree.fromstring(DRAW["drawn"](tmp_path)["cold_start.svg"])
    found = [one for one in picture.iter() if one.tag.endswith("rect")][1:]
    lengths = [float(one.attrib["width"]) for one in found]
    assert [round(length / lengths[0], 1) for length in lengths] == [1.0, 4.0, 8.0]
    assert "".join(picture.itertext()).count("disk") == 1


def test_results_that_are_not_there_are_not_drawn(tmp_path: Path) -> None:
    assert DRAW["drawn"](tmp_path) == {}
