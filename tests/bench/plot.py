#!/usr/bin/env python3
"""Draws the table that `growth` writes: one small picture for each cost, against the log's size.

    tests/bench/plot.py growth.tsv growth.svg
"""

import csv
import math
import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT, COLUMNS = 310, 190, 3
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 34, 34
COLOURS = ["#1f5a92", "#b5541c"]
# What each picture shows: its title, and the table's columns with what they are called.
PANELS = [
    ("single appends a second, 64 connections", {"appends_per_s": ""}),
    ("server's processor time an append, us", {"server_us_per_append": ""}),
    ("latency of an append, ms", {"append_p50_ms": "p50", "append_p99_ms": "p99"}),
    ("latency of an inclusion proof, ms", {"proof_p50_ms": "p50", "proof_p99_ms": "p99"}),
    ("start to ready, s", {"start_after_stop_s": "after a stop", "start_after_kill_s": "after a kill"}),
    ("memory at most, MiB", {"memory_mib": ""}),
    ("disk for a byte of entry and statement", {"disk_per_payload_byte": ""}),
    ("index, bytes a receipt", {"index_bytes_per_receipt": ""}),
]


def draw(table, picture):
    """Reads the table and writes the picture."""
    with open(table, newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file, delimiter="\t")]
    lines = math.ceil(len(PANELS) / COLUMNS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * COLUMNS} {HEIGHT * lines}" '
        'font-family="sans-serif" font-size="10">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, (title, columns) in enumerate(PANELS):
        x, y = number % COLUMNS * WIDTH, number // COLUMNS * HEIGHT
        parts += [f'<g transform="translate({x} {y})">', *panel(title, columns, rows), "</g>"]
    parts.append("</svg>")
    with open(picture, "w") as file:
        file.write("\n".join(parts) + "\n")


def panel(title, columns, rows):
    """One picture: sizes to the right, by powers of ten; figures up, from zero."""
    sizes = [math.log10(row["receipts"]) for row in rows]
    first, last = math.floor(min(sizes)), math.ceil(max(sizes))
    top = rounded(max(row[name] for row in rows for name in columns))
    def across(size):
        return LEFT + (size - first) / max(1, last - first) * (WIDTH - LEFT - RIGHT)
    def up(figure):
        return HEIGHT - BOTTOM - figure / top * (HEIGHT - TOP - BOTTOM)
    yield f'<text x="{LEFT}" y="16" font-size="11" font-weight="bold">{escape(title)}</text>'
    for step in range(5):
        figure = top * step / 4
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(figure):.1f}" y2="{up(figure):.1f}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 5}" y="{up(figure) + 3:.1f}" text-anchor="end">{figure:g}</text>'
    for power in range(first, last + 1):
        label = {3: "1 k", 4: "10 k", 5: "100 k", 6: "1 M", 7: "10 M", 8: "100 M"}.get(power, f"1e{power}")
        yield f'<text x="{across(power):.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{label}</text>'
    for (name, called), colour in zip(columns.items(), COLOURS):
        points = [(across(size), up(row[name])) for size, row in zip(sizes, rows)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        for x, y in points:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>'
        if called:
            x, y = points[-1]
            yield f'<text x="{x:.1f}" y="{y - 6:.1f}" text-anchor="end" fill="{colour}">{escape(called)}</text>'


def rounded(figure):
    """The next round number that is not below."""
    power = 10 ** math.floor(math.log10(figure)) if figure > 0 else 1
    return next(step * power for step in (1, 1.2, 1.6, 2, 3, 4, 6, 8, 10) if step * power >= figure)


if __name__ == "__main__":
    draw(*sys.argv[1:])
