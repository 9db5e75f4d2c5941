"""One opened libvirt connection.

libvirt's client is not safe under two calls at a time: when keepalive finds the other side gone, only one of them
fails and the other hangs, or crashes the process (seen with libvirt 9.0).  It also frees a connection under a call
that another thread still makes.  So a line has one owner, who makes one call at a time and shuts it when it is idle.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import libvirt

from holdfast.drivers.vmm.domain_states import DomainReport, report_of_event, vm_id_of
from holdfast.model.errors import HoldfastError

T = TypeVar("T")
Connection = Any
"""A ``libvirt.virConnect``; the binding carries no types."""

_CLOSE_REASONS = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "connection lost",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "libvirtd closed the connection",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "libvirtd does not answer keepalives",
    libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT: "closed by us",
}


class OutcomeUnknown(HoldfastError):
    """The order was sent, but its answer never came."""


class Line:
    """All methods block: they run in expendable threads.  The callbacks come from libvirt's event thread."""

    def __init__(self, uri: str, keepalive_interval_s: int, keepalive_count: int) -> None:
        self._connection: Connection = libvirt.open(uri)
        self._subscription = -1
        with contextlib.suppress(libvirt.libvirtError):  # drivers without a network have nothing to keep alive
            self._connection.setKeepAlive(keepalive_interval_s, keepalive_count)

    @property
    def alive(self) -> bool:
        """Open, as far as this side knows."""
        return bool(self._connection.isAlive())

    def subscribe(self, on_lost: Callable[[str], None], on_domain: Callable[[int, DomainReport], None]) -> None:
        """From now on the loss of the connection and what happens to domains is told."""

        def closed(_connection: Connection, reason: int, _opaque: object) -> None:
            on_lost(_CLOSE_REASONS.get(reason, "connection lost"))

        def changed(_connection: Connection, domain: Any, event: int, detail: int, _opaque: object) -> None:
            vm_id, what = vm_id_of(domain.name()), report_of_event(event, detail)
            if vm_id is not None and what is not None:
                on_domain(vm_id, what)

        self._connection.registerCloseCallback(closed, None)
        kind = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
        self._subscription = self._connection.domainEventRegisterAny(None, kind, changed, None)

    def perform(self, work: Callable[[Connection], T]) -> T:
        """``work(connection)``, with a lost connection told apart from an answer of the host."""
        try:
            return work(self._connection)
        except libvirt.libvirtError as error:
            if error.get_error_domain() == libvirt.VIR_FROM_RPC or not self.alive:
                raise OutcomeUnknown(f"the connection broke during the call: {error}") from None
            raise

    def shut(self) -> None:
        """Takes everything back and closes; on a dead connection each step fails at once, which is fine."""
        if self._subscription >= 0:
            with contextlib.suppress(libvirt.libvirtError):
                self._connection.domainEventDeregisterAny(self._subscription)
        for step in (self._connection.unregisterCloseCallback, self._connection.close):
            with contextlib.suppress(libvirt.libvirtError):
                step()
