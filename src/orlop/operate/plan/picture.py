"""The plan as a picture: job times of all policies, as an SVG that any browser shows.

Across: job time, logarithmic.  Up: the share of tasks that are done within it.
"""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from orlop.operate.plan.predict import Prediction

WIDTH: Final = 860
HEIGHT: Final = 480
LEFT: Final = 70
RIGHT: Final = 200
TOP: Final = 60
BOTTOM: Final = 60
COLOURS: Final = ("#888888", "#0b62a4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#66a61e")
POINTS_MAX: Final = 300


def draw(title: str, found: Sequence[Prediction]) -> str:
    """found: at least one, each with at least one task."""
    low = math.floor(math.log10(max(0.01, min(one.jobs_s[0] for one in found))))
    high = math.ceil(math.log10(max(one.jobs_s[-1] for one in found)))
    high = max(high, low + 1)

    def across(seconds: float) -> float:
        share = (math.log10(max(seconds, 10**low)) - low) / (high - low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    parts = [*_frame(title), *_seconds(low, high, across(1.0), across(10.0))]
    for number, one in enumerate(found):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{across(s):.1f},{_up(share):.1f}" for s, share in _curve(one.jobs_s))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        line = TOP + 16 + 40 * number
        parts += [
            _text(WIDTH - RIGHT + 16, line, escape(one.policy), colour, bold=True),
            _text(WIDTH - RIGHT + 16, line + 15, f"mean {one.mean_s:,.0f} s", colour),
        ]
    return "\n".join([*parts, "</svg>", ""])


def _frame(title: str) -> list[str]:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 30, escape(title), "#222222", bold=True),
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 0.95, 1.0):
        parts.append(_line(LEFT, _up(share), WIDTH - RIGHT, _up(share)))
        parts.append(_text(LEFT - 8, _up(share) + 4, f"{share:.0%}", "#555555", anchor="end"))
    return parts


def _seconds(low: int, high: int, one_s: float, ten_s: float) -> list[str]:
    parts = []
    for power in range(low, high + 1):
        x = one_s + power * (ten_s - one_s)
        parts.append(_line(x, TOP, x, HEIGHT - BOTTOM))
        label = f"{10.0**power:g} s"
        parts.append(_text(x, HEIGHT - BOTTOM + 18, label, "#555555", anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 16, "job time", "#222222", anchor="middle"))
    return parts


def _curve(jobs_s: Sequence[float]) -> list[tuple[float, float]]:
    step = max(1, len(jobs_s) // POINTS_MAX)
    kept = [*range(0, len(jobs_s), step), len(jobs_s) - 1]
    return [(jobs_s[at], (at + 1) / len(jobs_s)) for at in kept]


def _up(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>'


def _text(
    x: float, y: float, text: str, colour: str, *, bold: bool = False, anchor: str = "start"
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}"{weight}>{text}</text>'
