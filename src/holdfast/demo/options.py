"""The options of ``holdfast demo``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds them to the parser."""
    parser.description = (
        "Build a rack of hosts with real VMs, cut the power of one, and show how its VMs come back; then cut another "
        "one off the network while its VMs keep running. Exits 0 only if every VM came back, with one writer at any "
        "time and no acknowledged write lost."
    )
    parser.add_argument("--hosts", type=_number(2, 8), default=3, help="hosts of the rack (%(default)s)")
    parser.add_argument("--vms", type=_number(1, 40), default=6, help="VMs on them (%(default)s)")
    parser.add_argument("--pause", type=_number(0, 60), default=2, metavar="N", help="the hook's -p N (%(default)s)")
    parser.add_argument("--act", choices=("power", "network", "both"), default="both", help="what to play")
    parser.add_argument("--keep", action="store_true", help="leave the last rack running, and say how to use it")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the findings as JSON")
    parser.add_argument("--dir", type=Path, help="directory of the rack (default: one of its own under /var/tmp)")


def _number(least: int, most: int) -> type[int]:
    def number(text: str) -> int:
        if not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return number  # type: ignore[return-value]
