"""``make bench``: takes all measurements, prints a table as it grows, and writes ``build/bench.json``.

    python -m benchmarks [--quick] [-k PART]

The file is a list of {name, n, value, unit}.  Where the product has a target for a figure it stands beside it; a figure
that misses its target is marked, and no more: how fast a machine is depends on who else works on it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from operator import ge, le

from benchmarks import api, beacons, engine, failover, large, ssh, store, transfers
from benchmarks.figures import BUILD, Figure, Measurement

ANY = -1
MEASUREMENTS: tuple[Measurement, ...] = (
    *engine.MEASUREMENTS,
    *failover.MEASUREMENTS,
    *large.MEASUREMENTS,
    *beacons.MEASUREMENTS,
    *api.MEASUREMENTS,
    *store.MEASUREMENTS,
    *transfers.MEASUREMENTS,
    *ssh.MEASUREMENTS,
)

TARGETS = {
    "engine.events_per_s": (ge, 2000, ANY),
    "journal.state_changes_per_s": (ge, 2000, ANY),
    "failover.dispatch_s": (le, 5, ANY),
    "memory.state_and_replies_mib": (le, 2048, ANY),
    "beacons.cpu_share": (le, 60, ANY),
    "api.vm_info.calls_per_s": (ge, 2000, 8),
    "api.vmpool_info.server_cpu_ms": (le, 50, ANY),
}
"""What the product promises on two cores, and for which n; 10,000 VMs in a list may take half of what 20,000 may."""


def main(arguments: Sequence[str]) -> int:
    """Measures, prints, writes."""
    options = _options(arguments)
    wanted = [measurement for measurement in MEASUREMENTS if measurement.is_wanted(options.k)]
    if not wanted:
        print(f"No measurement gives a figure with {options.k!r} in its name.", file=sys.stderr)
        return 2
    started = time.monotonic()
    print(f"{'figure':<42} {'n':>7} {'value':>12}  unit")
    figures: list[Figure] = []
    for figure in _taken(wanted, options.quick):
        if options.k in figure.name:
            figures.append(figure)
            print(_line(figure), flush=True)
    path = BUILD / "bench.json"
    BUILD.mkdir(exist_ok=True)
    path.write_text(json.dumps([_rounded(figure)._asdict() for figure in figures], indent=1) + "\n", encoding="utf-8")
    print(f"{len(figures)} figures in {time.monotonic() - started:.0f} s, written to {os.path.relpath(path)}")
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures what the controller can do.")
    parser.add_argument("--quick", action="store_true", help="smaller and shorter, about a minute")
    parser.add_argument("-k", metavar="PART", default="", help="only figures with PART in their name")
    return parser.parse_args(arguments)


def _taken(wanted: Sequence[Measurement], quick: bool) -> Iterator[Figure]:
    for measurement in wanted:
        _tell(f"measuring {measurement.names[0]} …")
        for figure in measurement.take(quick):
            _tell("")
            yield figure
            _tell(f"measuring {measurement.names[0]} …")
        _tell("")


def _tell(what: str) -> None:
    """What is going on, on a line that the next figure overwrites."""
    if sys.stdout.isatty():
        print(f"\r\033[K{what}", end="", flush=True)


def _line(figure: Figure) -> str:
    text = f"{figure.name:<42} {figure.n:>7} {_written(figure.value):>12}  {figure.unit:<12}"
    meets, target, n = TARGETS.get(figure.name, (ge, 0, 0))
    if n in (ANY, figure.n):
        text += f" {'at least' if meets is ge else 'at most'} {target:,}"
        text += "" if meets(figure.value, target) else "  MISSED"
    return text.rstrip()


def _written(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.4f}"


def _rounded(figure: Figure) -> Figure:
    return figure._replace(value=float(f"{figure.value:.5g}"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
