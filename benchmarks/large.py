"""The largest installation that one controller is made for: 10,000 hosts with ten VMs each; one host in a hundred dies.

It lives in a process of its own, so that its memory can be told: first with the state alone, then with every VM
rendered for both listings of the API.  While it works, every host's agent beats once a second.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.failover import figures_of, lose
from benchmarks.figures import Figure, Measurement
from benchmarks.installation import stored
from holdfast.api.views import Views
from holdfast.serve.controller import Controller

HOSTS = 10_000
QUICK_HOSTS = 2_000
VMS_PER_HOST = 10
LIMIT_S = 150.0
_PROCESSES = multiprocessing.get_context("spawn")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def _large(quick: bool) -> Iterator[Figure]:
    ours, theirs = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=_live, args=(theirs, QUICK_HOSTS if quick else HOSTS), daemon=True)
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
        raise TimeoutError(f"The large installation was not through after {LIMIT_S:g} s")
    figure: Figure | None = figures.recv()
    return figure


MEASUREMENTS = (
    Measurement(
        (
            *("engine.start_s", "memory.state_mib", "memory.state_and_replies_mib"),
            *("failover.dispatch_s", "failover.running_s"),
        ),
        _large,
    ),
)


def _live(results: Connection, hosts: int) -> None:
    """The process; sends its figures, and None when it is through."""
    with stored(hosts, VMS_PER_HOST) as store:
        gc.collect()
        course = asyncio.run(lose(store, range(hosts // 100), partial(_look, results, time.perf_counter())))
    for figure in figures_of(hosts * VMS_PER_HOST, [course]):
        results.send(figure)
    results.send(None)


async def _look(results: Connection, started: float, controller: Controller) -> None:
    size = len(controller.state.vms)
    results.send(Figure("engine.start_s", size, time.perf_counter() - started, "s"))
    results.send(Figure("memory.state_mib", size, _resident_mib(), "MiB"))
    views = Views(controller)
    vms = list(controller.state.vms.values())
    await views.short_vms.many(vms)
    await views.extended_vms(vms)
    results.send(Figure("memory.state_and_replies_mib", size, _resident_mib(), "MiB"))


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES / 2**20
