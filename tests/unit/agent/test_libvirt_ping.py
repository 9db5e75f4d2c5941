"""libvirtd answering, gone, hung, restarted, or something else behind its socket."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.agent.libvirt_ping import LibvirtPing


class Daemon:
    """Answers like libvirtd; `answers` may be replaced to misbehave."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.questions = 0
        self.connections: list[socket.socket] = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def answer(self, question: bytes) -> bytes:
        words = struct.unpack("!IIIIiIi", question)
        assert words[:5] == (28, 0x20008086, 1, 66, 0)
        return struct.pack("!IIIIiIiII", 36, 0x20008086, 1, 66, 1, words[5], 0, 1, 0)

    def stop(self) -> None:
        for connection in (self.listener, *self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while question := connection.recv(28, socket.MSG_WAITALL):
                self.questions += 1
                connection.sendall(self.answer(question))


class HungDaemon(Daemon):
    """The kernel accepts for it; it never answers."""

    def answer(self, question: bytes) -> bytes:
        return b""


class OtherService(Daemon):
    """Speaks some other protocol."""

    def answer(self, question: bytes) -> bytes:
        return b"HTTP/1.1 400 Bad Request\r\n\r\n" * 3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "libvirt-sock"


@pytest.fixture
def ping(path: Path) -> Iterator[LibvirtPing]:
    ping = LibvirtPing(path, limit_s=0.3)
    yield ping
    ping.close()


def test_a_daemon_that_answers_is_up_over_one_connection(path: Path, ping: LibvirtPing) -> None:
    daemon = Daemon(path)
    assert [ping.look() for _ in range(5)] == ["up"] * 5
    assert (daemon.questions, len(daemon.connections)) == (5, 1)
    daemon.stop()


def test_no_daemon_is_down(path: Path, ping: LibvirtPing) -> None:
    assert ping.look() == "down"
    path.touch()
    assert ping.look() == "down"


def test_a_hung_daemon_is_down_within_the_limit(path: Path, ping: LibvirtPing) -> None:
    daemon = HungDaemon(path)
    started_s = time.monotonic()
    assert ping.look() == "down"
    assert time.monotonic() - started_s < 2
    daemon.stop()


def test_a_restarted_daemon_is_up_at_the_next_look(path: Path, ping: LibvirtPing) -> None:
    first = Daemon(path)
    assert ping.look() == "up"
    first.stop()
    assert ping.look() == "down"
    second = Daemon(path)
    assert ping.look() == "up"
    second.stop()
    third = Daemon(path)
    assert ping.look() == "up", "a connection lost to a restart is opened anew in the same look"
    third.stop()


def test_something_else_behind_the_socket_is_not_libvirtd(path: Path, ping: LibvirtPing) -> None:
    daemon = OtherService(path)
    assert ping.look() == "down"
    daemon.stop()
