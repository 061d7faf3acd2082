#!/usr/bin/env python3
"""Draws what bench/scale.sh measured: curves.py RESULTS.jsonl PICTURE.svg"""

import json
import math
import sys
from html import escape

PANELS = [
    ("open", "open the store, and the first token", "µs"),
    ("token", "a token of a random connection", "µs"),
    ("due", "find the hundred that are due", "µs"),
    ("commit", "intent and commit of a refresh", "µs"),
]
STORES = {"sqlite": ("SQLite", "#0b6e99"), "postgres": ("PostgreSQL", "#b3541e")}
WIDTH, HEIGHT = 340, 220
LEFT, RIGHT, TOP, BOTTOM = 56, 40, 40, 40


def main():
    source, picture = sys.argv[1:]
    with open(source) as lines:
        measured = [json.loads(line) for line in lines]
    counts = sorted({line["connections"] for line in measured})
    parts = [panel(number, *what, measured, counts) for number, what in enumerate(PANELS)]
    width, height = 2 * WIDTH, 2 * HEIGHT + 30
    with open(picture, "w") as out:
        out.write(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="system-ui, sans-serif" font-size="12">\n'
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n'
            + legend(height, {line["store"] for line in measured})
            + "".join(parts)
            + "</svg>\n"
        )


def panel(number, stage, title, unit, measured, counts):
    """One stage: how long it takes (median, with quartiles) by how many connections there are."""
    x0, y0 = number % 2 * WIDTH, number // 2 * HEIGHT
    lines = [line for line in measured if line["stage"] == stage]
    top = nice(max([line["quartiles"][1] for line in lines] or [1]) * 1.1)
    first, last = math.log10(counts[0]), math.log10(counts[-1])

    def x(count):
        share = (math.log10(count) - first) / ((last - first) or 1)
        return x0 + LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(value):
        return y0 + HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    drawn = [f'<text x="{x0 + LEFT}" y="{y0 + 24}" fill="#222222" font-weight="600">{escape(title)}</text>\n']
    for value in (0, top / 2, top):
        drawn.append(
            f'<line x1="{x0 + LEFT}" x2="{x0 + WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" '
            f'stroke="#dddddd"/>\n<text x="{x0 + LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end" '
            f'fill="#555555">{value:g}{" " + unit if value == top else ""}</text>\n'
        )
    for count in counts:
        drawn.append(
            f'<text x="{x(count):.1f}" y="{y0 + HEIGHT - BOTTOM + 18}" text-anchor="middle" '
            f'fill="#555555">{count:,}</text>\n'
        )
    for store, (_, colour) in STORES.items():
        points = sorted((line for line in lines if line["store"] == store), key=lambda line: line["connections"])
        path = " ".join(f'{x(line["connections"]):.1f},{y(line["microseconds"]):.1f}' for line in points)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>\n')
        for line in points:
            at, (low, high) = x(line["connections"]), line["quartiles"]
            drawn.append(
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}" stroke="{colour}"/>\n'
                f'<circle cx="{at:.1f}" cy="{y(line["microseconds"]):.1f}" r="3.5" fill="{colour}"/>\n'
            )
    return "".join(drawn)


def legend(height, stores):
    drawn, at = [], LEFT
    for store, (name, colour) in STORES.items():
        if store in stores:
            drawn.append(
                f'<circle cx="{at}" cy="{height - 14}" r="4" fill="{colour}"/>'
                f'<text x="{at + 10}" y="{height - 10}" fill="#222222">{name}</text>\n'
            )
            at += 110
    drawn.append(
        f'<text x="{at}" y="{height - 10}" fill="#555555">median, with quartiles; connections in the store</text>\n'
    )
    return "".join(drawn)


def nice(value):
    """The next number that reads well, and whose half does too."""
    scale = 10 ** math.floor(math.log10(value))
    return next(step * scale for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * scale >= value)


main()
