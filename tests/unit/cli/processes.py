"""Looks at the processes of this machine."""

from __future__ import annotations

import time
from pathlib import Path

_DYING_LIMIT_S = 5.0


def left_in_group(group: int) -> list[int]:
    """Those that do not end soon: a process that was killed may take a moment to die."""
    ends = time.monotonic() + _DYING_LIMIT_S
    while (living := living_in_group(group)) and time.monotonic() < ends:
        time.sleep(0.01)
    return living


def living_in_group(group: int) -> list[int]:
    """The processes of a process group that are neither gone nor zombies."""
    living = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, found_group = path.read_text(encoding="utf-8").rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(found_group) == group and state != "Z":
            living.append(int(path.parent.name))
    return living
