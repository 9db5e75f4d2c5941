"""The agent's end of the link: beacons out on every network, acks in.

One socket per controller address, none of which ever blocks: a network that is down costs one failed system call.
A controller counts a beacon only if it carries the controller's own session nonce; the nonce arrives in an ack, and
the beacon is sent again at once.

Invariants: sequence numbers start at the clock in milliseconds and only rise, and they rise above the controller's
floor when an ack names one, so neither a restart of the agent nor a clock set back makes a living host look like a
replay.  An ack is believed only if it answers a beacon sent on that path after the one that the last believed ack
answered.
"""

import contextlib
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from holdfast.agent.config import Address, AgentConfig
from holdfast.agent.statelog import WORKING, StateLog
from holdfast.model.beacon import BeaconBody, BeaconRefused, Vms, seal, unseal_ack

SYSTEM_EVERY = 10
RESENDS_PER_BEACON = 3  # two controllers behind one address would otherwise have us answer them for ever
_ACKS_PER_WAKEUP = 16
_MAX_ACK = 2048


@dataclass(frozen=True, slots=True)
class HostState:
    """What the next beacon says."""

    vms: Vms
    hypervisor: str
    system: Mapping[str, str]


class ControllerPath:
    """One controller on one network: its socket and what has passed over it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.topic = f"controller {address}"
        family = socket.AF_INET6 if ":" in address.ip else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.nonce = ""
        self.sent_seq = 0
        self.acked_seq = 0
        self.beacons_until_system = 0
        self.resends_left = 0


class BeaconSender:
    """Sends beacons to all controllers; `state` tells what they say."""

    def __init__(self, config: AgentConfig, state: Callable[[], HostState], log: StateLog) -> None:
        self._config = config
        self._state = state
        self._log = log
        self._seq = int(time.time() * 1000)
        with contextlib.ExitStack() as undo:
            self.paths: list[ControllerPath] = []
            for address in config.controllers:
                self.paths.append(ControllerPath(address))
                undo.callback(self.paths[-1].socket.close)
            self._sockets = undo.pop_all()

    def close(self) -> None:
        """Close the sockets."""
        self._sockets.close()

    def send_all(self) -> None:
        """One beacon to each controller address."""
        for path in self.paths:
            path.resends_left = RESENDS_PER_BEACON
            self._send(path)

    def receive_acks(self, path: ControllerPath) -> None:
        """Take what has arrived on this path; answer a believed ack with a beacon."""
        for _ in range(_ACKS_PER_WAKEUP):
            try:
                datagram = path.socket.recv(_MAX_ACK)
            except BlockingIOError:
                return
            except OSError as exc:
                self._log.say(path.topic, f"receiving failed: {exc.strerror}")
                return
            if self._believe(path, datagram):
                self._send(path)

    def _send(self, path: ControllerPath) -> None:
        state = self._state()
        with_system = path.beacons_until_system <= 0
        path.beacons_until_system = SYSTEM_EVERY - 1 if with_system else path.beacons_until_system - 1
        self._seq += 1
        path.sent_seq = self._seq
        body = BeaconBody(
            boot_id=self._config.boot_id,
            nonce=path.nonce,
            sent_at=time.time(),
            vms=state.vms,
            hypervisor=state.hypervisor,
            system=state.system if with_system else None,
        )
        datagram = seal(self._config.key, self._config.host_id, self._seq, body, path.address.number)
        try:
            path.socket.sendto(datagram, (path.address.ip, path.address.port))
        except OSError as exc:
            self._log.say(path.topic, f"sending fails: {exc.strerror}")
        else:
            self._log.say(path.topic, f"session {path.nonce[:8]}" if path.nonce else WORKING)

    def _believe(self, path: ControllerPath, datagram: bytes) -> bool:
        """Learn from an ack; whether it calls for another beacon at once."""
        try:
            ack = unseal_ack(datagram, self._config.key, self._config.host_id)
        except BeaconRefused:
            return False  # anybody can send us anything
        if ack.path != path.address.number or not path.acked_seq < ack.seq <= path.sent_seq:
            return False
        path.acked_seq = ack.seq
        changed = ack.nonce != path.nonce or ack.floor > self._seq
        if ack.nonce != path.nonce:
            path.nonce, path.beacons_until_system = ack.nonce, 0
        self._seq = max(self._seq, ack.floor)
        if not changed or path.resends_left == 0:
            return False
        path.resends_left -= 1
        return True
