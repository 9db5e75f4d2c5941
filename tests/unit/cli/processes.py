"""Looks at the processes of this machine."""

from __future__ import annotations

from pathlib import Path


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
