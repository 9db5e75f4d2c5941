"""Sockets handed over by a supervisor, as systemd's socket activation does it (LISTEN_FDS, LISTEN_FDNAMES).

A stream socket serves the API, a datagram socket receives beacons.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field

from holdfast.serve.config import ConfigError, inherited_descriptor, split_address

_FIRST = 3


@dataclass(slots=True)
class Inherited:
    """The sockets that were handed over."""

    api: list[socket.socket] = field(default_factory=list)
    beacons: list[socket.socket] = field(default_factory=list)


def inherited() -> Inherited:
    """Takes the sockets over; none when the environment does not speak of any for this process."""
    found = Inherited()
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if not count.isdigit() or (pid and pid != str(os.getpid())):
        return found
    for descriptor in range(_FIRST, _FIRST + int(count)):
        sock = socket.socket(fileno=descriptor)
        os.set_inheritable(descriptor, False)
        (found.api if sock.type == socket.SOCK_STREAM else found.beacons).append(sock)
    return found


def listening_socket(address: str) -> socket.socket:
    """A socket that listens at ``ip:port``, or the inherited one written ``fd://n``; raises ConfigError."""
    found = _inherited(address, socket.SOCK_STREAM)
    if found is not None:
        return found
    host, port = split_address(address)
    try:
        return socket.create_server((host, port), family=_family(host), backlog=1024)
    except OSError as error:
        raise ConfigError(f"Cannot listen on {address}: {_reason(error)}.") from error


def beacon_socket(address: str) -> socket.socket:
    """A UDP socket bound to ``ip:port``, or the inherited one written ``fd://n``; raises ConfigError."""
    found = _inherited(address, socket.SOCK_DGRAM)
    if found is not None:
        return found
    host, port = split_address(address)
    sock = socket.socket(_family(host), socket.SOCK_DGRAM)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise ConfigError(f"Cannot receive beacons on {address}: {_reason(error)}.") from error
    return sock


def _reason(error: OSError) -> str:
    """The system's words; those of :mod:`socket` repeat the address."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _inherited(address: str, kind: socket.SocketKind) -> socket.socket | None:
    descriptor = inherited_descriptor(address)
    if descriptor is None:
        return None
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ConfigError(f"Cannot use {address}: no socket was handed over there.") from error
    if sock.type != kind:
        sock.detach()
        raise ConfigError(f"Cannot use {address}: a socket of type {kind.name} is needed there.")
    return sock


def tell_supervisor(state: str) -> None:
    """Tells systemd (or whoever set NOTIFY_SOCKET) how the service is: READY=1, STOPPING=1."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1.0)
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.sendall(state.encode())
