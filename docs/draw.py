"""Draws bench/results as bars: `python docs/draw.py`; `--check` fails where a picture is stale.

A picture is drawn for each result that is there; no number is written by hand.
"""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).parent
RESULTS: Final = DOCS.parent / "bench" / "results"

WIDTH: Final = 720
NAMES: Final = 300
ROW: Final = 26
TOP: Final = 44
FOOT: Final = 24


@dataclass(frozen=True)
class Picture:
    """Rows of one result whose names match `rows`, in their order; group 1 is what is shown."""

    file: str
    result: str
    title: str
    rows: str
    unit: str
    ours: str = ""
    """Names that are drawn darker."""
    mark: float | None = None
    """A line at this value: where the baseline is."""


PICTURES: Final = (
    Picture(
        "cold_start.svg",
        "cold_start",
        "First token of a small model, by where it lay (median)",
        r"first token, model (\w+), p50",
        "s",
    ),
    Picture(
        "knee_host.svg",
        "programs_simulated",
        "Job time at the knee, host tier: times better than FCFS",
        r"1 x knee, host: (.+)",
        "x FCFS",
        ours="Orlop",
        mark=1.0,
    ),
    Picture(
        "knee.svg",
        "programs_simulated",
        "Job time at the knee, no host tier: times better than FCFS",
        r"1 x knee: (.+)",
        "x FCFS",
        ours="Orlop",
        mark=1.0,
    ),
    Picture(
        "overload.svg",
        "programs_simulated",
        "Job time in overload, host tier: times better than FCFS",
        r"2 x knee, host: (.+)",
        "x FCFS",
        ours="Orlop",
        mark=1.0,
    ),
)


def bars(picture: Picture, rows: Sequence[tuple[str, float]], source: str) -> str:
    """One SVG, readable on light and dark pages."""
    height = TOP + ROW * len(rows) + FOOT
    room = WIDTH - NAMES - 90
    most = max(value for _, value in rows)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="24" font-size="15" font-weight="bold">{escape(picture.title)}</text>',
    ]
    for number, (name, value) in enumerate(rows):
        y = TOP + ROW * number
        length = max(1.0, room * value / most) if most > 0 else 1.0
        is_ours = bool(picture.ours) and name.startswith(picture.ours)
        colour = "#1b5e8a" if is_ours else "#9db8c9"
        weight = ' font-weight="bold"' if is_ours else ""
        lines.append(
            f'<text x="{NAMES - 8}" y="{y + 17}" text-anchor="end"{weight}>{escape(name)}</text>'
        )
        lines.append(
            f'<rect x="{NAMES}" y="{y + 4}" width="{length:.1f}" height="18" fill="{colour}"/>'
        )
        lines.append(f'<text x="{NAMES + length + 6:.1f}" y="{y + 17}"{weight}>{value:.3g}</text>')
    if picture.mark is not None and most >= picture.mark:
        x = NAMES + room * picture.mark / most
        lines.append(
            f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{height - FOOT}" '
            'stroke="#444444" stroke-dasharray="4 3"/>'
        )
    foot = escape(f"{picture.unit}; {source}")
    lines.append(f'<text x="12" y="{height - 8}" font-size="11" fill="#555555">{foot}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def drawn(results: Path = RESULTS) -> dict[str, str]:
    """Each picture that there are rows for, by its file's name."""
    found = {}
    for picture in PICTURES:
        path = results / f"{picture.result}.json"
        if not path.exists():
            continue
        document = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            (match[1], float(row["value"]))
            for row in document["rows"]
            if (match := re.match(picture.rows, row["name"])) and row["unit"] == picture.unit
        ]
        if rows:
            source = f"bench/results/{path.name}, commit {document['commit']}, {document['date']}"
            found[picture.file] = bars(picture, rows, source)
    return found


def stale() -> dict[str, str]:
    """Pictures that are not what the results say."""
    folder = DOCS / "pictures"
    return {
        name: text
        for name, text in drawn().items()
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text
    }


def main() -> None:
    old = stale()
    if "--check" in sys.argv[1:]:
        sys.exit(f"stale: {', '.join(old)}; run docs/draw.py" if old else 0)
    (DOCS / "pictures").mkdir(exist_ok=True)
    for name, text in old.items():
        (DOCS / "pictures" / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
