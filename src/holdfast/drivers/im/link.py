"""The controller's end of the link: receives beacons on UDP, authenticates them, and reports those that count.

A beacon of another session (the controller has restarted, or the agent has) and one below the floor are answered at
once with an ack that tells the agent what to say instead; whatever is not authentic gets no answer and no log line,
only a count.  Several networks are several calls of `listen`.

Invariants: one wake-up of the loop handles a bounded number of datagrams; a datagram from a stranger costs one
signature check at most; `on_beacon` is called in the loop's thread, in the order of arrival.
"""

import asyncio
import contextlib
import secrets
import socket
from collections import Counter
from collections.abc import Callable

from holdfast.drivers.im.replay import Freshness, ReplayGuard
from holdfast.model.beacon import MAX_DATAGRAM, Ack, Beacon, BeaconRefused, BeaconReport, seal_ack, unseal

DATAGRAMS_PER_WAKEUP = 256
DATAGRAMS_TO_CATCH_UP = 20_000
"""Two seconds of the largest installation: so much may wait in a socket when the loop was busy."""
RECEIVE_BUFFER_BYTES = 16 << 20
_SO_RCVBUFFORCE = 33  # Linux; the socket module does not name it


class BeaconLink:
    """Listens for beacons; `key_of` knows each host's key (None: no such host), `on_beacon` takes what counts.

    `on_rival` is told of hosts for which two agents speak: one of them with a boot id that another has followed.
    """

    def __init__(
        self,
        key_of: Callable[[int], bytes | None],
        on_beacon: Callable[[BeaconReport], None],
        nonce: str | None = None,
        on_rival: Callable[[int], None] | None = None,
    ) -> None:
        self._on_rival = on_rival
        self._key_of = key_of
        self._on_beacon = on_beacon
        self._guard = ReplayGuard(nonce or secrets.token_hex(16))
        self._counts: Counter[str] = Counter()
        self._sockets: dict[socket.socket, asyncio.AbstractEventLoop] = {}

    @property
    def nonce(self) -> str:
        """This session's nonce; random for each start of the controller."""
        return self._guard.nonce

    def listen(self, where: socket.socket | tuple[str, int]) -> tuple[str, int]:
        """Receive on this bound UDP socket, or on this IP and port, in the running loop; returns IP and port."""
        loop = asyncio.get_running_loop()
        receiver = where if isinstance(where, socket.socket) else _bound(where)
        receiver.setblocking(False)
        _enlarge(receiver)
        loop.add_reader(receiver, self._drain, receiver)
        self._sockets[receiver] = loop
        name = receiver.getsockname()
        return str(name[0]), int(name[1])

    def statistics(self) -> dict[str, int]:
        """How many beacons counted, how many acks went out, and how many datagrams were refused, by reason."""
        return dict(self._counts)

    def catch_up(self) -> None:
        """Hear what has arrived and waits in the sockets, so that nobody is taken for silent who has spoken."""
        for receiver in list(self._sockets):
            self._drain(receiver, DATAGRAMS_TO_CATCH_UP)

    def forget(self, host_id: int) -> None:
        """Start afresh with this host: it was removed, or its agent was set up anew."""
        self._guard.forget(host_id)

    def close(self) -> None:
        """Stop receiving and close the sockets."""
        for receiver, loop in self._sockets.items():
            loop.remove_reader(receiver)
            receiver.close()
        self._sockets.clear()

    def _drain(self, receiver: socket.socket, limit: int = DATAGRAMS_PER_WAKEUP) -> None:
        for _ in range(limit):
            try:
                datagram, sender = receiver.recvfrom(MAX_DATAGRAM + 1)
            except BlockingIOError:
                return
            except OSError:
                self._counts["receive errors"] += 1
                return
            self._receive(receiver, datagram, sender)

    def _receive(self, receiver: socket.socket, datagram: bytes, sender: tuple[str, int]) -> None:
        try:
            beacon = unseal(datagram, self._key_of)
        except BeaconRefused as refused:
            self._counts[refused.reason.value] += 1
            return
        freshness = self._guard.judge(beacon)
        self._counts[freshness.value] += 1
        if freshness is Freshness.COUNTS:
            self._on_beacon(_report(beacon, sender))
        elif freshness is Freshness.RIVAL:
            if self._on_rival is not None:
                self._on_rival(beacon.host_id)
        elif freshness is not Freshness.EARLIER_BOOT:
            self._answer(receiver, beacon, sender)

    def _answer(self, receiver: socket.socket, beacon: Beacon, sender: tuple[str, int]) -> None:
        key = self._key_of(beacon.host_id)
        if key is None:
            return
        ack = Ack(beacon.host_id, beacon.seq, beacon.path, self.nonce, self._guard.floor(beacon))
        try:
            receiver.sendto(seal_ack(key, ack), sender)
        except OSError:
            self._counts["acks unsent"] += 1  # the agent's next beacon asks again
        else:
            self._counts["acks"] += 1


def _report(beacon: Beacon, sender: tuple[str, int]) -> BeaconReport:
    body = beacon.body
    return BeaconReport(
        beacon.host_id,
        body.boot_id,
        beacon.seq,
        body.sent_at,
        body.vms,
        body.hypervisor,
        body.system,
        f"{sender[0]}:{sender[1]}",
        beacon.path,
    )


def _bound(where: tuple[str, int]) -> socket.socket:
    with contextlib.ExitStack() as undo:
        family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
        receiver = undo.enter_context(socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC))
        receiver.bind(where)
        undo.pop_all()
    return receiver


def _enlarge(receiver: socket.socket) -> None:
    """Room for the moment when all hosts speak at once; beyond the system's limit where we are allowed to."""
    try:
        receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except OSError:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
