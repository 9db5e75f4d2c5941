"""How fast the API answers: a server process with 10,000 VMs, each client a process of its own.

Replies are read but not parsed.  The VMs on hold are as bare as those of which figures of OpenNebula's daemon exist
(about 600 bytes each in a list); the running ones have a disk, a network and a host.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Measurement
from holdfast.api.app import make_app
from holdfast.api.ports import Imports, Storage, Transfers
from holdfast.api.server import serve
from holdfast.engine.commands import Command
from holdfast.engine.ports import Snapshot
from holdfast.engine.state import State
from holdfast.engine.storage_audit import StorageReport
from holdfast.model.enums import HostState
from holdfast.model.host import Host
from holdfast.model.template import Template
from holdfast.model.user import Actor, User
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState

VMS = 10_000
HOSTS = 100
SECONDS = 2.0
QUICK_SECONDS = 0.5
WARM_UP_S = 0.2
READY_LIMIT_S = 60.0
SESSION = "oneadmin:opennebula"
_PROCESSES = multiprocessing.get_context("spawn")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Served:
    """A server process."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """Processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _running(quick: bool) -> Iterator[Figure]:
    seconds = QUICK_SECONDS if quick else SECONDS
    with _server(running=True) as served:
        for clients in (1, 8):
            yield Figure("api.vm_info.calls_per_s", clients, _rate(served, clients, seconds), "calls/s")
        yield from _timed(served, "api.vmpool_info_running", _vmpool_info, seconds)


def _on_hold(quick: bool) -> Iterator[Figure]:
    seconds = QUICK_SECONDS if quick else SECONDS
    with _server(running=False) as served:
        yield from _timed(served, "api.vmpool_info", _vmpool_info, seconds)
        yield from _timed(served, "api.vmpool_info_without_keep_alive", _vmpool_info, seconds, keep_alive=False)
        yield from _timed(served, "api.vmpool_info_page100", _vmpool_page, seconds)
        yield from _timed(served, "api.vm_info", _vm_info, seconds)
        yield from _timed(served, "api.vm_info_without_keep_alive", _vm_info, seconds, keep_alive=False)


def _both(*names: str) -> Iterable[str]:
    return [f"api.{name}.{what}" for name in names for what in ("p50_ms", "server_cpu_ms")]


_POOLS = ("vmpool_info", "vmpool_info_without_keep_alive", "vmpool_info_page100")

MEASUREMENTS = (
    Measurement(("api.vm_info.calls_per_s", *_both("vmpool_info_running")), _running),
    Measurement((*_both(*_POOLS, "vm_info", "vm_info_without_keep_alive"),), _on_hold),
)


def _rate(served: Served, clients: int, seconds: float) -> float:
    together = _PROCESSES.Barrier(clients)
    with _PROCESSES.Pool(clients, _join, (together,)) as pool:
        pool.starmap(_calls_together, [(served.port, WARM_UP_S)] * clients, chunksize=1)
        timed = pool.starmap(_calls_together, [(served.port, seconds)] * clients, chunksize=1)
    return sum(map(len, timed)) / seconds


_together: list[Any] = []
"""In a client's process: the barrier at which all clients wait for each other."""


def _join(barrier: Any) -> None:
    _together.append(barrier)


def _calls_together(port: int, seconds: float) -> list[float]:
    """Calls when all clients are ready, so that none of them does two clients' work one after the other."""
    _together[0].wait(READY_LIMIT_S)
    return _calls(port, _vm_info, seconds, keep_alive=True)


def _timed(
    served: Served, name: str, request: Callable[[int], bytes], seconds: float, keep_alive: bool = True
) -> Iterator[Figure]:
    """What a client waits for, and what the server works for it."""
    with _PROCESSES.Pool(1) as pool:
        pool.apply(_calls, (served.port, request, WARM_UP_S, keep_alive))
        cpu_s = served.cpu_s()
        times = pool.apply(_calls, (served.port, request, seconds, keep_alive))
        cpu_s = served.cpu_s() - cpu_s
    yield Figure(f"{name}.p50_ms", VMS, statistics.median(times) * 1000, "ms")
    yield Figure(f"{name}.server_cpu_ms", VMS, cpu_s / len(times) * 1000, "ms")


def _calls(port: int, request: Callable[[int], bytes], seconds: float, keep_alive: bool) -> list[float]:
    """Calls until the time is over, at least once; the duration of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    times: list[float] = []
    until = time.perf_counter() + seconds
    while not times or time.perf_counter() < until:
        started = time.perf_counter()
        connection.request("POST", "/RPC2", request(len(times) % VMS), {"Content-Type": "text/xml"})
        reply = connection.getresponse().read()
        times.append(time.perf_counter() - started)
        if b"<boolean>1</boolean>" not in reply[:300]:
            raise RuntimeError(f"The call failed: {reply[:300]!r}")
        if not keep_alive:
            connection.close()
    connection.close()
    return times


def _call(method: str, *arguments: int) -> bytes:
    values = "".join(f"<param><value><i4>{argument}</i4></value></param>" for argument in arguments)
    return (
        f'<?xml version="1.0"?><methodCall><methodName>{method}</methodName><params>'
        f"<param><value><string>{SESSION}</string></value></param>{values}</params></methodCall>"
    ).encode()


def _vm_info(number: int) -> bytes:
    return _call("one.vm.info", number)


def _vmpool_info(number: int) -> bytes:
    return _call("one.vmpool.info", -2, -1, -1, -1)


def _vmpool_page(number: int) -> bytes:
    return _call("one.vmpool.info", -2, 0, -100, -1)


@contextmanager
def _server(running: bool) -> Iterator[Served]:
    ours, theirs = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=_serve, args=(theirs, running), daemon=True)
    process.start()
    try:
        if not ours.poll(READY_LIMIT_S):
            raise RuntimeError(f"The server was not ready after {READY_LIMIT_S:g} s")
        port = ours.recv()
        _calls(port, _vmpool_info, 0.0, keep_alive=False)  # renders the pool once
        yield Served(port, process.pid or 0)
    finally:
        process.terminate()
        process.join(10)


def _serve(ready: Connection, running: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        app = make_app(_Reader(running))
        ready.send(sock.getsockname()[1])
        asyncio.run(serve(app, sockets=[sock]))


class _NoTransfers:
    """Nothing is transferred."""

    async def lines_of(self, vm: Vm, file: str) -> tuple[str, ...]:
        return ()

    def told_by(self, vm_id: int, record: int) -> None:
        return None

    def progress_of(self, vm_id: int) -> None:
        return None


class _NoStorage:
    """Nothing is looked for."""

    async def report(self) -> StorageReport:
        return StorageReport()


class _Reader:
    """A controller that only holds state."""

    beacon_period_s = 1.0
    transfers: Transfers = _NoTransfers()
    storage: Storage = _NoStorage()
    imports: Imports = _NoTransfers()

    def __init__(self, running: bool) -> None:
        oneadmin = User(0, "oneadmin", hashlib.sha256(SESSION.partition(":")[2].encode()).hexdigest())
        vms = map(_running_vm if running else _vm_on_hold, range(VMS))
        self.state = State(Snapshot(1, [oneadmin, *map(_host, range(HOSTS)), *vms]))

    def heard_at(self, host_id: int) -> float:
        return 1795335201.5

    async def call(self, actor: Actor, command: Command) -> int:
        raise RuntimeError(f"Nothing is changed here: {command}")


def _host(oid: int) -> Host:
    return Host(oid, f"host{oid}", HostState.MONITORED, "holdfast", "kvm", max_cpu=6400, max_mem=2**28, last_seen=1)


_BARE = (("CPU", "1"), ("MEMORY", "2048"), ("VCPU", "2"), ("TM_MAD_SYSTEM", "qcow2"))
_DEVICES = (
    ("DISK", {"DISK_ID": "0", "IMAGE": "debian", "IMAGE_ID": "3", "DATASTORE_ID": "1", "SIZE": "10240"}),
    ("NIC", {"NIC_ID": "0", "IP": "192.0.2.17", "MAC": "02:00:c0:00:02:11", "NETWORK": "lan", "BRIDGE": "br0"}),
    ("OS", {"UUID": "6db6792b-4d6e-465c-8ead-224450d44536"}),
)


def _vm_on_hold(oid: int) -> Vm:
    template = Template([*_BARE, ("VMID", str(oid))])
    return Vm(oid, 0, 0, f"vm-{oid}", VmState.HOLD, LcmState.LCM_INIT, template, stime=1795335043)


def _running_vm(oid: int) -> Vm:
    template = Template([*_BARE, *_DEVICES, ("VMID", str(oid))])
    history = History(0, oid % HOSTS, f"host{oid % HOSTS}", 0, 0, "kvm", "qcow2", stime=1795335134)
    return Vm(oid, 0, 0, f"vm-{oid}", VmState.ACTIVE, LcmState.RUNNING, template, history=(history,))
