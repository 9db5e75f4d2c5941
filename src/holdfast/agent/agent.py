"""The agent as a whole: watches in their threads, beacons in the thread that calls `run`.

Invariants: no beacon is sent before /proc has been read once, so an empty list of VMs always means that there are
none; when /proc has not answered for STALE_S, VMs are reported in state UNKNOWN; the loop waits on sockets only.
"""

import selectors
import socket
import threading
import time

from holdfast.agent.capacity import Capacity
from holdfast.agent.config import AgentConfig
from holdfast.agent.domains import GuestScan
from holdfast.agent.heartbeat import HeartbeatWriter
from holdfast.agent.libvirt_ping import LibvirtPing
from holdfast.agent.schedule import next_due_s
from holdfast.agent.sender import BeaconSender, ControllerPath, HostState
from holdfast.agent.statelog import StateLog
from holdfast.agent.watch import Watch
from holdfast.model.beacon import Vms

SCAN_PERIOD_S = 0.2
STALE_S = 5.0
_CAPACITY_PERIOD_S = 5.0
_HYPERVISOR_PERIOD_S = 1.0


class Agent:
    """The agent of one host; `run` returns after `stop`."""

    def __init__(self, config: AgentConfig, log: StateLog) -> None:
        self._config = config
        self._log = log
        self._stopping = False
        self._news = threading.Event()
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        scan = GuestScan()
        capacity = Capacity(config)
        guests = scan.scan(time.monotonic())
        self._guests = Watch(
            "guests", lambda: scan.scan(time.monotonic()), SCAN_PERIOD_S, guests, log, self._report_at_once
        )
        self._capacity = Watch("capacity", capacity.read, _CAPACITY_PERIOD_S, capacity.read(), log)
        self._hypervisor = self._hypervisor_watch()
        self._heartbeat = self._heartbeat_watch()
        self._sender = BeaconSender(config, self._state, log)

    def stop(self) -> None:
        """End `run` soon; may be called from a signal handler or another thread."""
        self._stopping = True
        self._ring()

    def run(self) -> None:
        """Send beacons until stopped."""
        watches = [watch for watch in (self._guests, self._capacity, self._hypervisor, self._heartbeat) if watch]
        for watch in watches:
            watch.start()
        try:
            with selectors.DefaultSelector() as selector:
                self._beacons(selector)
        finally:
            for watch in watches:
                watch.stop()
            self._sender.close()
            self._bell.close()
            self._ringer.close()

    def _beacons(self, selector: selectors.BaseSelector) -> None:
        selector.register(self._bell, selectors.EVENT_READ, None)
        for path in self._sender.paths:
            selector.register(path.socket, selectors.EVENT_READ, path)
        due_s = time.monotonic()
        while not self._stopping:
            now_s = time.monotonic()
            if now_s >= due_s or self._news.is_set():
                self._news.clear()
                self._sender.send_all()
                due_s = next_due_s(due_s, self._config.period_s, now_s)
                self._log_states()
            for ready, _ in selector.select(max(0.0, due_s - time.monotonic())):
                if isinstance(ready.data, ControllerPath):
                    self._sender.receive_acks(ready.data)
                else:
                    self._bell.recv(4096)

    def _state(self) -> HostState:
        vms: Vms = self._guests.latest
        if self._guests.age_s() > STALE_S:
            vms = tuple((vm_id, "UNKNOWN") for vm_id, _ in vms)
        hypervisor = self._hypervisor.latest if self._hypervisor else "unknown"
        return HostState(vms, hypervisor, self._capacity.latest)

    def _hypervisor_watch(self) -> Watch[str] | None:
        if self._config.libvirt_socket is None:
            return None
        ping = LibvirtPing(self._config.libvirt_socket)
        return Watch("libvirtd", ping.look, _HYPERVISOR_PERIOD_S, "unknown", self._log, self._report_at_once)

    def _heartbeat_watch(self) -> Watch[None] | None:
        config = self._config
        if config.heartbeat_file is None:
            return None
        writer = HeartbeatWriter(
            config.heartbeat_file, config.key, config.host_id, config.boot_id, lambda: self._state().vms
        )
        return Watch("heartbeat", writer.write, config.period_s, None, self._log)

    def _log_states(self) -> None:
        """What the watches do not say themselves: a write that hangs cannot, and a dead libvirtd is no failed look."""
        if self._hypervisor:
            self._log.say("hypervisor", self._hypervisor.latest)
        if self._heartbeat and self._heartbeat.stuck_s() > max(STALE_S, self._config.period_s):
            self._log.say("heartbeat", "not written: the datastore does not answer")

    def _report_at_once(self) -> None:
        self._news.set()
        self._ring()

    def _ring(self) -> None:
        try:
            self._ringer.send(b"\0")
        except OSError:
            return  # it is ringing already, or `run` has ended
