"""Is libvirtd answering?  One question, asked over a connection that stays open.

The question is "which ways to authenticate do you offer?" (procedure 66 of libvirt's remote protocol), which a
daemon answers to anybody, before any authentication.  That a connection is accepted proves little: the kernel
accepts for a daemon that has hung.  The connection is kept because libvirtd logs an error for every client that
just goes away.

Invariant: a look ends within LIMIT_S, whatever libvirtd does.  A daemon that has been restarted is asked afresh at
once.
"""

import contextlib
import socket
import struct
import time
from pathlib import Path

LIMIT_S = 3.0
_PACKET = struct.Struct("!IIIIiIi")  # length, program, version, procedure, type, serial, status
_REMOTE_PROGRAM, _PROTOCOL_VERSION, _AUTH_LIST = 0x20008086, 1, 66
_CALL, _REPLY = 0, 1
_MAX_ANSWER = 1 << 16


class LibvirtPing:
    """Asks the libvirtd behind one Unix socket; `look` says "up" or "down"."""

    def __init__(self, path: Path, limit_s: float = LIMIT_S) -> None:
        self._path = path
        self._limit_s = limit_s
        self._connection: socket.socket | None = None
        self._serial = 0

    def look(self) -> str:
        """Ask once; a lost connection is opened anew once."""
        deadline_s = time.monotonic() + self._limit_s
        fresh = self._connection is None
        if self._answered(deadline_s) or (not fresh and self._answered(deadline_s)):
            return "up"
        return "down"

    def close(self) -> None:
        """Close the connection; the next look opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _answered(self, deadline_s: float) -> bool:
        try:
            self._ask(deadline_s)
        except OSError:
            self.close()
            return False
        return True

    def _ask(self, deadline_s: float) -> None:
        connection = self._connected(deadline_s)
        self._serial += 1
        question = (_PACKET.size, _REMOTE_PROGRAM, _PROTOCOL_VERSION, _AUTH_LIST, _CALL, self._serial, 0)
        connection.settimeout(_remaining_s(deadline_s))
        connection.sendall(_PACKET.pack(*question))
        answer = _exactly(connection, _PACKET.size, deadline_s)
        length, program, _, procedure, kind, serial, _ = _PACKET.unpack(answer)
        if (program, procedure, kind, serial) != (_REMOTE_PROGRAM, _AUTH_LIST, _REPLY, self._serial):
            raise ConnectionError("not the answer to our question")
        if not _PACKET.size <= length <= _MAX_ANSWER:
            raise ConnectionError(f"an answer of {length} bytes")
        _exactly(connection, length - _PACKET.size, deadline_s)

    def _connected(self, deadline_s: float) -> socket.socket:
        if self._connection is None:
            with contextlib.ExitStack() as undo:
                connection = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                connection.settimeout(_remaining_s(deadline_s))
                connection.connect(str(self._path))
                undo.pop_all()
            self._connection = connection
        return self._connection


def _exactly(connection: socket.socket, size: int, deadline_s: float) -> bytes:
    received = b""
    while len(received) < size:
        connection.settimeout(_remaining_s(deadline_s))
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionError("closed by libvirtd")
        received += part
    return received


def _remaining_s(deadline_s: float) -> float:
    remaining_s = deadline_s - time.monotonic()
    if remaining_s <= 0:
        raise TimeoutError("libvirtd does not answer")
    return remaining_s
