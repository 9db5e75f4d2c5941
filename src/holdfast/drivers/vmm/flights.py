"""Calls that may create a domain, from the moment they are inside libvirt until they return, waited for or not.

A call whose time is up goes on in its thread, and libvirtd may carry it out much later: when its storage is back, say.
Meanwhile the domain's absence tells nothing.  The threads of calls and the event loop both come here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import libvirt

from holdfast.drivers.vmm.line import Connection

T = TypeVar("T")
_LOST_S = 30.0
"""For so long a start whose connection broke may still take effect: nobody hears of its end."""


class Flights:
    """What is in flight, by host and VM; a call whose connection broke lands some time later."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._flights: dict[tuple[int, int], list[_Flight]] = {}

    def followed(self, host_id: int, vm_id: int, work: Callable[[Connection], T]) -> Callable[[Connection], T]:
        """``work``, in flight while it runs."""
        flight = _Flight()

        def run(connection: Connection) -> T:
            with self._lock:
                self._flights.setdefault((host_id, vm_id), []).append(flight)
            try:
                return work(connection)
            except libvirt.libvirtError as error:
                flight.lost = error.get_error_domain() == libvirt.VIR_FROM_RPC
                raise
            finally:
                flight.landed_at_s = self._clock()

        return run

    def are_there(self, host_id: int, vm_id: int) -> bool:
        """Whether a call may still create the domain."""
        now_s = self._clock()
        with self._lock:
            flights = self._flights.pop((host_id, vm_id), [])
            flights = [flight for flight in flights if flight.goes_on(now_s)]
            if flights:
                self._flights[host_id, vm_id] = flights
        return bool(flights)


class _Flight:
    """One call."""

    def __init__(self) -> None:
        self.lost = False
        self.landed_at_s: float | None = None

    def goes_on(self, now_s: float) -> bool:
        """It may still take effect."""
        if self.landed_at_s is None:
            return True
        return self.lost and now_s - self.landed_at_s < _LOST_S
