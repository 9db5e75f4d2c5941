"""What beacons cost: the controller's link with authentic beacons and with forged ones, and the agent on a host.

The link is fed over loopback sockets in bursts; only the time to take a burst in is counted, so a figure is what one
core does when it does nothing else.  Prints `name,n,value,unit`; n is the number of VMs on each host.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from holdfast.agent.domains import GuestScan
from holdfast.drivers.im.link import BeaconLink
from holdfast.model.beacon import BeaconBody, BeaconReport, host_key, seal

MASTER = b"0" * 32
NONCE = "ab" * 16
HOSTS = 1_000
BURST = 200
BURSTS = 50
VMS_PER_HOST = (1, 10, 100)
GUESTS = (50, 200)
_ANSWER_LIMIT_S = 10.0


def run() -> list[dict[str, object]]:
    """All figures."""
    results = []
    for vms in VMS_PER_HOST:
        results.append(_entry("beacons accepted", vms, _datagrams_per_s(vms, MASTER), "1/s per core"))
    results.append(_entry("beacons forged", 10, _datagrams_per_s(10, b"1" * 32), "1/s per core"))
    results.append(_entry("beacon size", 10, len(_beacon(1, 1, 10, MASTER)), "bytes"))
    results.append(_entry("beacon size", 1_000, len(_beacon(1, 1, 1_000, MASTER)), "bytes"))
    for guests in GUESTS:
        results.append(_entry("agent's scan of guests", guests, _scan_share(guests), "% of a core"))
    results.append(_entry("agent", 50, _with_guests(50, _agent_share), "% of a core"))
    return results


def _entry(name: str, n: int, value: float, unit: str) -> dict[str, object]:
    return {"name": name, "n": n, "value": round(value, 3), "unit": unit}


def _beacon(host_id: int, seq: int, vms: int, master: bytes) -> bytes:
    listed = tuple((100 * host_id + number, "RUNNING") for number in range(vms))
    body = BeaconBody("5b1d8c9e-0b7a-4f1e-9d53-7f1d0c6f4a11", NONCE, 1_700_000_000.25, listed, "up")
    return seal(host_key(master, host_id), host_id, seq, body)


def _datagrams_per_s(vms: int, master: bytes) -> float:
    bursts = [
        [_beacon(number % HOSTS, burst * BURST + number, vms, master) for number in range(BURST)]
        for burst in range(1, BURSTS + 1)
    ]
    return BURST * BURSTS / asyncio.run(_time_to_take_in_s(bursts))


async def _time_to_take_in_s(bursts: list[list[bytes]]) -> float:
    keys = {host_id: host_key(MASTER, host_id) for host_id in range(HOSTS)}
    reports: list[BeaconReport] = []
    link = BeaconLink(keys.get, reports.append, NONCE)
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


def _agent_share(seconds: float = 10.0) -> float:
    """Percent of a core that a whole agent takes, once it has started."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as controller:
        controller.bind(("127.0.0.1", 0))
        config = Path(folder) / "agent.json"
        config.touch(mode=0o600)
        port = controller.getsockname()[1]
        beat = Path(folder) / "heartbeat"
        fields = {"host_id": 1, "key": MASTER.hex(), "controllers": [f"127.0.0.1:{port}"], "heartbeat_file": str(beat)}
        config.write_text(json.dumps(fields))
        agent = subprocess.Popen([sys.executable, "-m", "holdfast.agent", "--config", str(config)])
        try:
            time.sleep(2.0)
            before = _cpu_s(agent.pid)
            time.sleep(seconds)
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


if __name__ == "__main__":
    for entry in run():
        print(*entry.values(), sep=",")
