"""A measurement in a process of its own, so that its memory can be told."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure

LIMIT_S = 150.0
_PROCESSES = multiprocessing.get_context("spawn")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def figures_of_process(measure: Callable[..., None], *arguments: Any) -> Iterator[Figure]:
    """``measure(connection, *arguments)`` sends figures, and None when it is through; raises TimeoutError."""
    ours, theirs = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=measure, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    until = time.monotonic() + LIMIT_S
    try:
        while (figure := _next(ours, until)) is not None:
            yield figure
    finally:
        process.terminate()
        process.join(10)


def _next(figures: Connection, until: float) -> Figure | None:
    if not figures.poll(max(0.0, until - time.monotonic())):
        raise TimeoutError(f"The measurement was not through after {LIMIT_S:g} s")
    figure: Figure | None = figures.recv()
    return figure


def resident_mib() -> float:
    """The memory of this process that is in use now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES / 2**20
