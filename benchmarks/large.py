"""The largest installation that one controller is made for: 10,000 hosts with ten VMs each; one host in a hundred dies.

It lives in a process of its own, so that its memory can be told: first with the state alone, then with every VM
rendered for both listings of the API.  While it works, every host's agent beats once a second.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection

from benchmarks.failover import figures_of, lose
from benchmarks.figures import Figure, Measurement
from benchmarks.installation import stored
from benchmarks.process import figures_of_process, resident_mib
from holdfast.api.views import Views
from holdfast.serve.controller import Controller

HOSTS = 10_000
QUICK_HOSTS = 2_000
VMS_PER_HOST = 10


def _large(quick: bool) -> Iterator[Figure]:
    return figures_of_process(_live, QUICK_HOSTS if quick else HOSTS)


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
    results.send(Figure("memory.state_mib", size, resident_mib(), "MiB"))
    views = Views(controller)
    vms = list(controller.state.vms.values())
    await views.short_vms.many(vms)
    await views.extended_vms(vms)
    results.send(Figure("memory.state_and_replies_mib", size, resident_mib(), "MiB"))
