"""What the connections reported, and waiting for it with a limit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from holdfast.drivers.vmm.connections import Connections
from holdfast.drivers.vmm.domain_states import DomainReport
from holdfast.drivers.vmm.host_link import Timing
from holdfast.model.host import Host

LIMIT_S = 15.0
QUICK = Timing(open_limit_s=1.0, first_retry_s=0.05, last_retry_s=0.2, patience_s=1.0)


class Recorder:
    """Collects the reports."""

    def __init__(self) -> None:
        self.domains: list[tuple[int, int, DomainReport]] = []
        self.links: list[tuple[int, bool, str]] = []

    def on_domain(self, host_id: int, vm_id: int, what: DomainReport) -> None:
        self.domains.append((host_id, vm_id, what))

    def on_connection(self, host_id: int, up: bool, text: str) -> None:
        self.links.append((host_id, up, text))


async def until(condition: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    """Returns when the condition holds; fails after the limit."""
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def watching(*hosts: Host, timing: Timing = QUICK) -> AsyncIterator[tuple[Connections, Recorder]]:
    """Connections to the hosts, whatever state these are in."""
    recorder = Recorder()
    connections = Connections(recorder.on_domain, recorder.on_connection, timing)
    for host in hosts:
        connections.watch(host)
    try:
        yield connections, recorder
    finally:
        await connections.close()
