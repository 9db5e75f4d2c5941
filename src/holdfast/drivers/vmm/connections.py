"""The connections to all hosts: who is watched, calls by host, events by host and VM.

One :class:`~holdfast.drivers.vmm.host_link.HostLink` per host; none ever waits for another.  Events may be missed
while a connection is down, and libvirtd sends none for guests that die while it restarts: whoever keeps a picture of a
host asks for :meth:`Connections.domains` when the connection comes up, and now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import libvirt

from holdfast.drivers.vmm.domain_states import DomainReport, report_of_state, vm_id_of
from holdfast.drivers.vmm.host_link import HostLink, Timing
from holdfast.drivers.vmm.hypervisor import libvirt_uri
from holdfast.drivers.vmm.line import Connection
from holdfast.drivers.vmm.line_pool import NotSent
from holdfast.model.host import Host

T = TypeVar("T")
OnDomain = Callable[[int, int, DomainReport], None]
OnConnection = Callable[[int, bool, str], None]


class Connections:
    """All hosts under watch.  Use it from one asyncio event loop."""

    def __init__(self, on_domain: OnDomain, on_connection: OnConnection, timing: Timing | None = None) -> None:
        self._on_domain = on_domain
        self._on_connection = on_connection
        self._timing = timing or Timing()
        self._links: dict[int, tuple[HostLink, asyncio.Task[None]]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._expecting: dict[tuple[int, int], set[asyncio.Event]] = {}

    def watch(self, host: Host) -> None:
        """Keeps a connection to the host from now on; a changed LIBVIRT_URI replaces the old connection."""
        uri = libvirt_uri(host)
        known = self._links.get(host.oid)
        if known and known[0].uri == uri:
            return
        self.forget(host.oid)
        link = HostLink(host.oid, uri, self, self._timing)
        self._links[host.oid] = (link, asyncio.create_task(link.run(), name=f"libvirt-{host.oid}"))

    def forget(self, host_id: int) -> None:
        """Lets the host go."""
        known = self._links.pop(host_id, None)
        if known:
            task = known[1]
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Lets all hosts go; waits for no host."""
        for host_id in list(self._links):
            self.forget(host_id)
        if self._ending:
            await asyncio.wait(self._ending, timeout=1.0)

    def connected(self, host_id: int) -> bool:
        """Whether the host's connection is open, as far as anyone knows."""
        known = self._links.get(host_id)
        return known is not None and known[0].connected

    async def call(self, host_id: int, work: Callable[[Connection], T], deadline_s: float, long: bool = False) -> T:
        """``work(connection)`` in a thread, for at most ``deadline_s`` seconds; ``long`` calls never hold up others.

        Raises NotSent (nothing was sent), OutcomeUnknown (sent, no answer) or whatever ``work`` raises.
        """
        known = self._links.get(host_id)
        if known is None:
            raise NotSent(f"host {host_id} is not under watch")
        return await known[0].call(work, deadline_s, long)

    async def domains(self, host_id: int, deadline_s: float = 5.0) -> dict[int, DomainReport]:
        """Our VMs that have a domain on the host, with their state."""
        return await self.call(host_id, _domains, deadline_s)

    @contextlib.contextmanager
    def expecting(self, host_id: int, vm_id: int) -> Iterator[asyncio.Event]:
        """An event that is set whenever something happens to the VM's domain on the host."""
        event = asyncio.Event()
        waiting = self._expecting.setdefault((host_id, vm_id), set())
        waiting.add(event)
        try:
            yield event
        finally:
            waiting.discard(event)
            if not waiting:
                self._expecting.pop((host_id, vm_id), None)

    def domain_changed(self, host_id: int, vm_id: int, what: DomainReport) -> None:
        """From a link: passes it on, unless the host has been let go meanwhile."""
        if host_id in self._links:
            for event in self._expecting.get((host_id, vm_id), ()):
                event.set()
            self._on_domain(host_id, vm_id, what)

    def connection_changed(self, host_id: int, up: bool, text: str) -> None:
        """From a link: passes it on, unless the host has been let go meanwhile."""
        if host_id in self._links:
            self._on_connection(host_id, up, text)


def _domains(connection: Connection) -> dict[int, DomainReport]:
    """One round trip, so that no domain can come or go in between."""
    found: dict[int, DomainReport] = {}
    for domain, stats in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0):
        vm_id = vm_id_of(domain.name())
        if vm_id is not None:
            found[vm_id] = report_of_state(stats["state.state"], stats["state.reason"])
    return found
