"""Draws timeline.svg from a report of the demo: two acts, one bar for each VM of the lost host.

.venv/bin/python -m holdfast demo --report report.json
.venv/bin/python docs/images/make_timeline.py report.json docs/images/timeline.svg
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 860, 150, 24
BAR, ROW, HEAD, FOOT = 20, 34, 46, 34
TITLES = {
    "power": "Act 1: {} loses its power",
    "network": "Act 2: {} is cut off the network, its VMs keep running",
}
SPANS = (
    ("lost", "detected", "#c9cdd4", "silence: is it really lost?"),
    ("detected", "proof", "#d9534f", "lost: waiting for the proof of death"),
    ("proof", "booted", "#f0ad4e", "placed on another host, QEMU starts"),
    ("booted", "writing", "#7fc8a9", "RUNNING: the guest boots"),
)
WRITES = ("#2f8f5b", "writes to its disk again")


def text(x: float, y: float, words: str, size: int = 13, extra: str = "") -> str:
    """A piece of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" {extra}>{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, colour: str) -> str:
    """A filled rectangle."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" fill="{colour}"/>'


class Scale:
    """Seconds to pixels."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self._per_second = (WIDTH - LEFT - RIGHT) / seconds

    def at(self, second: float) -> float:
        """Where this second is."""
        return LEFT + second * self._per_second


def axis(scale: Scale, top: float, height: float) -> Iterator[str]:
    """A line for every second, a number for every other one."""
    for second in range(scale.seconds + 1):
        x = scale.at(second)
        yield f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{top + height}" stroke="#e6e8eb"/>'
        if second % 2 == 0:
            yield text(x, top + height + 16, f"{second} s", 11, 'text-anchor="middle" fill="#6b7280"')


def bar(vm: dict[str, Any], scale: Scale, y: float) -> Iterator[str]:
    """One VM."""
    for begin, end, colour, _ in SPANS:
        yield box(scale.at(vm[begin]), y, scale.at(vm[end]) - scale.at(vm[begin]), BAR, colour)
    yield box(scale.at(vm["writing"]), y, scale.at(scale.seconds) - scale.at(vm["writing"]), BAR, WRITES[0])
    if vm["proof"] - vm["detected"] > 1:
        middle = (scale.at(vm["detected"]) + scale.at(vm["proof"])) / 2
        yield text(middle, y + 14, f"proof {vm['proof']:.1f} s", 11, 'text-anchor="middle" fill="#fff"')
    yield text(scale.at(vm["booted"]) + 5, y + 14, f"RUNNING {vm['booted']:.1f} s", 11)


def panel(act: dict[str, Any], scale: Scale, top: float) -> Iterator[str]:
    """One act."""
    yield text(LEFT, top + 18, TITLES[act["name"]].format(act["lost_host"]), 15, 'font-weight="600"')
    yield text(LEFT, top + 36, f"proof: {act['proof'].split(' (')[0]}, storage: {act['storage']}", 11, 'fill="#6b7280"')
    rows = sorted(act["vms"].items())
    yield from axis(scale, top + HEAD, len(rows) * ROW)
    for number, (name, vm) in enumerate(rows):
        y = top + HEAD + number * ROW + (ROW - BAR) / 2
        words = f"{name}: {vm['from']} → {vm['to']}"
        yield text(LEFT - 12, y + 14, words, 12, 'text-anchor="end"')
        yield from bar(vm, scale, y)


def legend(top: float) -> Iterator[str]:
    """What the colours mean."""
    entries = [*((colour, words) for _, _, colour, words in SPANS), WRITES]
    for number, (colour, words) in enumerate(entries):
        x, y = LEFT + (number % 2) * 330, top + (number // 2) * 22
        yield box(x, y, 14, 14, colour)
        yield text(x + 21, y + 12, words, 12)


def drawing(report: dict[str, Any]) -> str:
    """The whole picture."""
    acts = report["acts"]
    last = max(vm["writing"] for act in acts for vm in act["vms"].values())
    scale = Scale(2 * math.ceil((last + 0.8) / 2))
    body: list[str] = []
    top = 8.0
    for act in acts:
        body += panel(act, scale, top)
        top += HEAD + len(act["vms"]) * ROW + FOOT
    body += legend(top + 6)
    height = top + 6 + 3 * 22 + 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" font-family="DejaVu Sans, Helvetica, Arial, sans-serif" fill="#1f2937" role="img">\n'
        "<title>Seconds since the loss of a host, for each of its VMs, as measured by one run of the demo</title>\n"
        f'<rect width="{WIDTH}" height="{height:.0f}" rx="8" fill="#ffffff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def main() -> int:
    """Reads the report that is named first, writes the picture that is named second."""
    if len(sys.argv) != 3:
        print("usage: make_timeline.py REPORT.json PICTURE.svg", file=sys.stderr)
        return 2
    report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if not report["ok"]:
        print(f"{sys.argv[1]}: the demo did not succeed, there is nothing to show", file=sys.stderr)
        return 1
    Path(sys.argv[2]).write_text(drawing(report), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
