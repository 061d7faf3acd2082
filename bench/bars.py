#!/usr/bin/env python3
"""Draws what bench/serve.sh measured, and prints it as a table: bars.py RESULTS.jsonl PICTURE.svg"""

import json
import sys
from html import escape
from statistics import quantiles

OVER = {"tcp": "TCP, with a client key", "unix": "unix socket, by peer credentials"}
SERVERS = {"floor": ("bare axum, one body for all", "#9aa5ad"), "many": ("bare axum, a body for each name", "#6f7d87"), "perennial": ("perennial serve", "#0b6e99")}
WIDTH, LEFT, RIGHT, ROW = 680, 220, 150, 30


def main():
    source, picture = sys.argv[1:]
    with open(source) as lines:
        measured = [json.loads(line) for line in lines]
    by = lambda what: [line for line in measured if line["what"] == what]
    table = hand_outs(by("hand-outs")) + [row for line in measured for row in told(line)]
    table += storm(by("apart"), by("storm"))
    print("| | |\n|---|--:|")
    print("\n".join(f"| {what} | {figure} |" for what, figure in table))
    if by("hand-outs"):
        with open(picture, "w") as out:
            out.write(drawn(by("hand-outs")))


def runs(lines, server, over, what):
    chosen = [line for line in lines if line["server"] == server and line["over"] == over]
    return [line[what] for line in sorted(chosen, key=lambda line: line["pair"])]


def spread(values):
    """The median, and the quartiles."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return middle, low, high


def ratios(lines, over, what, floor="floor"):
    own, floor = runs(lines, "perennial", over, what), runs(lines, floor, over, what)
    return spread([one / other for one, other in zip(own, floor)])


def hand_outs(lines):
    table = []
    for over in sorted({line["over"] for line in lines}):
        for server, (label, _) in SERVERS.items():
            per_second = spread(runs(lines, server, over, "per_second"))
            cost = spread(runs(lines, server, over, "cpu_microseconds"))
            figure = f"{per_second[0]:,.0f} ({per_second[1]:,.0f} – {per_second[2]:,.0f}); {cost[0]:.2f} µs"
            table.append((f"{OVER[over]}: {label}, requests a second; processor time of each", figure))
        middle, low, high = ratios(lines, over, "per_second")
        table.append((f"{OVER[over]}: **requests a second, to the floor's**", f"**{middle:.2f}** ({low:.2f} – {high:.2f})"))
        middle, low, high = ratios(lines, over, "per_second", "many")
        table.append((f"{OVER[over]}: **… to the one with a body for each name**", f"**{middle:.2f}** ({low:.2f} – {high:.2f})"))
        middle, low, high = ratios(lines, over, "cpu_microseconds")
        table.append((f"{OVER[over]}: processor time, to the floor's", f"{middle:.2f} ({low:.2f} – {high:.2f})"))
    return table


def told(line):
    if line["what"] == "idle":
        yield f"{line['connections']:,} connections, nothing asked: ready after", f"{line['ready_ms']} ms"
        yield "… resident memory", f"{line['resident_kb'] / 1024:.0f} MB"
        yield "… processor, over 20 s", f"{line['cpu_percent']:.2f} %"
    if line["what"] == "memory":
        yield f"resident memory with {line['hot']:,} tokens in use", f"{line['resident_kb'] / 1024:.0f} MB"


def storm(apart, storms):
    if not apart or not storms:
        return []
    parts, whole = apart[0], storms[0]
    ratio = parts["both_per_second"] / whole["refreshes_per_second"]
    return [
        ("bare loop alone, requests a second", f"{parts['bare_loop_per_second']:,.0f}"),
        ("store alone, refreshes a second", f"{parts['store_alone_per_second']:,.0f}"),
        ("one after the other", f"{parts['both_per_second']:,.0f}"),
        (f"{whole['connections']:,} fall due at once: refreshes a second", f"{whole['refreshes_per_second']:,.0f}"),
        ("**time, to that of both parts**", f"**{ratio:.2f}**"),
        ("peak memory", f"{whole['memory'] / 2**20:.0f} MB"),
        (
            "hand-outs meanwhile: median, 99 of 100",
            f"{whole['hand_outs']['microseconds']:,.0f} µs, {whole['hand_outs']['p99']:,.0f} µs",
        ),
    ]


def drawn(lines):
    """Requests a second, a bar for each server, with its quartiles."""
    overs = sorted({line["over"] for line in lines})
    height = 60 + len(overs) * (3 * ROW + 24)
    most = max(line["per_second"] for line in lines)
    x = lambda value: LEFT + value / most * (WIDTH - LEFT - RIGHT)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12">\n<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n'
        f'<text x="16" y="24" fill="#222222" font-weight="600">Cached hand-outs a second, one processor for the server'
        f"</text>\n"
    ]
    y = 42
    for over in overs:
        parts.append(f'<text x="16" y="{y + 14}" fill="#222222">{escape(OVER[over])}</text>\n')
        y += 20
        for server, (label, colour) in SERVERS.items():
            middle, low, high = spread(runs(lines, server, over, "per_second"))
            note = f"{middle:,.0f}"
            if server == "perennial":
                note += f" = {100 * ratios(lines, over, 'per_second')[0]:.0f} %"
            parts.append(
                f'<text x="{LEFT - 8}" y="{y + 17}" text-anchor="end" fill="#555555">{label}</text>\n'
                f'<rect x="{LEFT}" y="{y + 4}" width="{x(middle) - LEFT:.1f}" height="18" fill="{colour}"/>\n'
                f'<line x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y + 13}" y2="{y + 13}" stroke="#222222"/>\n'
                f'<text x="{x(max(middle, high)) + 8:.1f}" y="{y + 17}" fill="#222222">{note}</text>\n'
            )
            y += ROW
        y += 4
    parts.append(f'<text x="16" y="{y + 10}" fill="#555555">median of the runs, with quartiles; % is the median of pairs</text>\n')
    return "".join(parts) + "</svg>\n"


main()
