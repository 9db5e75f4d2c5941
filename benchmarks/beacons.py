"""What beacons cost: the controller's link with authentic beacons and with forged ones, and the agent on a host.

The link is fed over loopback sockets in bursts; only the time to take a burst in is counted, so a rate is what one core
does when it does nothing else.  ``n`` is the number of VMs on each host; for ``beacons.cpu_share`` it is the number of
hosts, each with ten VMs and one beacon a second, and the controller's senses compare what they say with the state.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.figures import Figure, Measurement
from benchmarks.installation import population
from holdfast.agent.domains import GuestScan
from holdfast.drivers.im.link import BeaconLink
from holdfast.engine.ports import Snapshot
from holdfast.engine.senses import LiveSenses
from holdfast.engine.state import State
from holdfast.failover.detection import Patience
from holdfast.model.beacon import BeaconBody, BeaconReport, host_key, seal

MASTER = b"0" * 32
NONCE = "ab" * 16
HOSTS = 1_000
MANY_HOSTS = 10_000
BURST = 200
BURSTS = 50
QUICK_BURSTS = 10
VMS_PER_HOST = (1, 10, 100)
GUESTS = (50, 200)
_ANSWER_LIMIT_S = 10.0


def _accepted(quick: bool) -> Iterator[Figure]:
    for vms in VMS_PER_HOST:
        yield Figure("beacons.accepted_per_s", vms, _datagrams_per_s(vms, MASTER, quick), "beacons/s")


def _forged(quick: bool) -> Iterator[Figure]:
    yield Figure("beacons.forged_per_s", 10, _datagrams_per_s(10, b"1" * 32, quick), "beacons/s")


def _sizes(quick: bool) -> Iterator[Figure]:
    for vms in (10, 1_000):
        yield Figure("beacons.size_bytes", vms, len(_beacon(1, 1, vms, MASTER)), "bytes")


def _share(quick: bool) -> Iterator[Figure]:
    """All hosts speak a few times: the processor time of a round is their share of a core at one round a second."""
    rounds = 1 if quick else 3
    state = State(Snapshot(1, list(population(MANY_HOSTS, 10))))
    senses = LiveSenses(state, Patience())
    senses.watch_all(0.0)
    for vm in state.vms.values():
        senses.attend_vm(vm)
    news: list[object] = []

    def hear(report: BeaconReport) -> None:
        news.extend(senses.hear(report, 1.0))

    bursts = [_round(burst, MANY_HOSTS, 10, MASTER) for burst in range(rounds * MANY_HOSTS // BURST)]
    spent_s = asyncio.run(_time_to_take_in_s(bursts, MANY_HOSTS, hear))
    if news:
        raise RuntimeError(f"Beacons that say nothing new made {len(news)} events, the first is {news[0]}")
    yield Figure("beacons.cpu_share", MANY_HOSTS, 100 * spent_s / rounds, "% of a core")


def _scans(quick: bool) -> Iterator[Figure]:
    for guests in GUESTS:
        yield Figure("agent.scan_share", guests, _scan_share(guests), "% of a core")


def _agent(quick: bool) -> Iterator[Figure]:
    seconds = 3.0 if quick else 10.0
    yield Figure("agent.share", GUESTS[0], _with_guests(GUESTS[0], lambda: _agent_share(seconds)), "% of a core")


MEASUREMENTS = (
    Measurement(("beacons.accepted_per_s",), _accepted),
    Measurement(("beacons.forged_per_s",), _forged),
    Measurement(("beacons.cpu_share",), _share),
    Measurement(("beacons.size_bytes",), _sizes),
    Measurement(("agent.scan_share",), _scans),
    Measurement(("agent.share",), _agent),
)


def _beacon(host_id: int, seq: int, vms: int, master: bytes) -> bytes:
    listed = tuple((vms * host_id + number, "RUNNING") for number in range(vms))
    body = BeaconBody(f"boot-{host_id}", NONCE, 1_700_000_000.25, listed, "up")
    return seal(host_key(master, host_id), host_id, seq, body)


def _round(burst: int, hosts: int, vms: int, master: bytes) -> list[bytes]:
    """The next beacons, host after host."""
    numbers = range(burst * BURST, (burst + 1) * BURST)
    return [_beacon(number % hosts, number + 1, vms, master) for number in numbers]


def _datagrams_per_s(vms: int, master: bytes, quick: bool) -> float:
    bursts = [_round(burst, HOSTS, vms, master) for burst in range(QUICK_BURSTS if quick else BURSTS)]
    reports: list[BeaconReport] = []
    return BURST * len(bursts) / asyncio.run(_time_to_take_in_s(bursts, HOSTS, reports.append))


async def _time_to_take_in_s(bursts: list[list[bytes]], hosts: int, hear: Callable[[BeaconReport], None]) -> float:
    def key_of(host_id: int) -> bytes | None:
        return host_key(MASTER, host_id) if host_id < hosts else None

    link = BeaconLink(key_of, hear, NONCE)
    address = link.listen(("127.0.0.1", 0))
    spent_s = 0.0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number, burst in enumerate(bursts, 1):
            for datagram in burst:
                sender.sendto(datagram, address)
            started_s = time.process_time()
            await _taken_in(link, number * BURST)
            spent_s += time.process_time() - started_s
    link.close()
    return spent_s


async def _taken_in(link: BeaconLink, expected: int) -> None:
    limit_s = time.monotonic() + _ANSWER_LIMIT_S
    while sum(link.statistics().values()) < expected:
        if time.monotonic() > limit_s:
            raise TimeoutError("datagrams were lost on loopback")
        await asyncio.sleep(0)


def _scan_share(guests: int) -> float:
    """Percent of a core for five scans a second."""
    return _with_guests(guests, lambda: 5 * 100 * _scan_s(GuestScan(), rounds=50))


def _scan_s(scan: GuestScan, rounds: int) -> float:
    for warm in range(40):
        scan.scan(warm / 5)
    started_s = time.process_time()
    for number in range(rounds):
        scan.scan(8 + number / 5)
    return (time.process_time() - started_s) / rounds


def _agent_share(seconds: float) -> float:
    """Percent of a core that a whole agent takes, once it has started."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as controller:
        controller.bind(("127.0.0.1", 0))
        config = Path(folder) / "agent.json"
        config.touch(mode=0o600)
        port = controller.getsockname()[1]
        beat = Path(folder) / "heartbeat"
        fields = {"host_id": 1, "key": MASTER.hex(), "controllers": [f"127.0.0.1:{port}"], "heartbeat_file": str(beat)}
        config.write_text(json.dumps(fields))
        command = [sys.executable, "-m", "holdfast.agent", "--config", str(config)]
        agent = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            time.sleep(2.0)
            before = _cpu_s(agent.pid)
            time.sleep(seconds)
            if agent.poll() is not None:
                raise RuntimeError(f"The agent ended with code {agent.returncode}: {' '.join(command)}")
            return 100 * (_cpu_s(agent.pid) - before) / seconds
        finally:
            agent.terminate()
            agent.wait(5)


def _cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _with_guests(number: int, measure: Callable[[], float]) -> float:
    """Measure while this many idle processes look like guests; they end when their standard input does."""
    guests: list[subprocess.Popen[bytes]] = []
    try:
        for vm_id in range(number):
            looks = ["qemu-system-x86_64", "-c", "read line", "-name", f"guest=one-{vm_id},debug-threads=on"]
            guests.append(subprocess.Popen(looks, executable="/bin/sh", stdin=subprocess.PIPE))
        return measure()
    finally:
        for guest in guests:
            guest.kill()
            guest.communicate()
