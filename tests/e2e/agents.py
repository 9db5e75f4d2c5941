"""An agent of whose life and death the test decides: real beacons, real keys, no host.

Stopping it is a host that falls silent; a new one with the same boot id is that host come back, one with another boot
id is the host after a reboot.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable

from holdfast.model.beacon import Ack, BeaconBody, BeaconRefused, host_key, seal, unseal_ack
from tests.e2e.daemon import PERIOD_S, Daemon

SYSTEM = {"TOTALCPU": "800", "TOTALMEMORY": "16777216", "HYPERVISOR": "dummy"}
_JOIN_S = 5.0


class ScriptedAgent:
    """Sends beacons from a thread of its own until :meth:`stop`."""

    def __init__(self, daemon: Daemon, host_id: int, boot_id: str = "boot-1", vms: Iterable[int] = ()) -> None:
        self.boot_id = boot_id
        self.vms = tuple(vms)
        self._host_id = host_id
        self._key = host_key((daemon.var / "agent_master.key").read_bytes(), host_id)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(daemon.beacon_address)
        self._nonce = ""
        self._seq = time.time_ns() // 1_000_000
        self._quiet_until = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"agent of host {host_id}", daemon=True)
        self._thread.start()

    def be_quiet(self, seconds: float) -> None:
        """No beacons for this time."""
        self._quiet_until = time.monotonic() + seconds

    def stop(self) -> None:
        """No more beacons."""
        self._end.set()
        self._thread.join(_JOIN_S)
        self._socket.close()

    def _run(self) -> None:
        beat_at = 0.0
        while not self._end.is_set():
            if time.monotonic() >= beat_at:
                beat_at = max(time.monotonic() + PERIOD_S, self._quiet_until)
                self._beat()
            self._listen(max(0.01, beat_at - time.monotonic()))

    def _beat(self) -> None:
        self._seq += 1
        vms = tuple((vm_id, "RUNNING") for vm_id in self.vms)
        body = BeaconBody(self.boot_id, self._nonce, time.time(), vms, "up", SYSTEM)
        self._socket.send(seal(self._key, self._host_id, self._seq, body))

    def _listen(self, limit_s: float) -> None:
        """Takes an ack, which says the session; then the beacon is said again at once."""
        self._socket.settimeout(limit_s)
        try:
            ack = unseal_ack(self._socket.recv(2048), self._key, self._host_id)
        except (TimeoutError, BeaconRefused):
            return
        if self._learned(ack):
            self._beat()

    def _learned(self, ack: Ack) -> bool:
        news = ack.nonce != self._nonce or ack.floor > self._seq
        self._nonce, self._seq = ack.nonce, max(self._seq, ack.floor)
        return news
