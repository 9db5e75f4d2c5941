"""Sockets: made here, handed over by number, or handed over as systemd does it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.serve.config import ConfigError
from holdfast.serve.sockets import beacon_socket, listening_socket

LIMIT_S = 20
TAKE_OVER = """
import os, sys
if sys.argv[1] == "me": os.environ["LISTEN_PID"] = str(os.getpid())
from holdfast.serve.sockets import inherited
found = inherited()
print([sock.getsockname()[1] for sock in found.api], [sock.getsockname()[1] for sock in found.beacons],
      [name for name in os.environ if name.startswith("LISTEN")], os.get_inheritable(3))
"""


def test_an_address_in_use_is_named() -> None:
    with listening_socket("127.0.0.1:0") as first, beacon_socket("127.0.0.1:0") as second:
        api, beacons = (f"127.0.0.1:{sock.getsockname()[1]}" for sock in (first, second))
        with pytest.raises(ConfigError, match=rf"^Cannot listen on {api}: Address already in use\.$"):
            listening_socket(api)
        with pytest.raises(ConfigError, match=rf"^Cannot receive beacons on {beacons}: Address already in use\.$"):
            beacon_socket(beacons)


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(ConfigError, match=r"Cannot listen on 192\.0\.2\.1:1: "):
        listening_socket("192.0.2.1:1")
    with pytest.raises(ConfigError, match=r"Cannot receive beacons on 192\.0\.2\.1:1: "):
        beacon_socket("192.0.2.1:1")


def test_a_socket_that_was_handed_over_is_used_as_it_is() -> None:
    made = socket.create_server(("127.0.0.1", 0))
    port = made.getsockname()[1]
    with listening_socket(f"fd://{made.detach()}") as taken:
        assert taken.getsockname() == ("127.0.0.1", port)


def test_a_number_that_is_no_fitting_socket_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(ConfigError, match="no socket was handed over there"):
        listening_socket(f"fd://{file.fileno()}")
    with pytest.raises(ConfigError, match="no socket was handed over there"):
        beacon_socket("fd://987")
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        with pytest.raises(ConfigError, match="a socket of type SOCK_DGRAM is needed there"):
            beacon_socket(f"fd://{tcp.fileno()}")
        assert tcp.getsockname()[1] > 0, "it is still open"


@pytest.mark.parametrize("meant", ["me", "another process"])
def test_sockets_of_a_service_manager_are_taken_over_by_their_kind(meant: str) -> None:
    """The shell puts them where systemd would: from descriptor 3 on."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        command = f'exec 3<&{tcp.fileno()} 4<&{udp.fileno()}; exec "$@"'
        done = subprocess.run(
            ["bash", "-c", command, "sh", sys.executable, "-c", TAKE_OVER, meant],
            env={**os.environ, "LISTEN_FDS": "2", "LISTEN_PID": "1", "LISTEN_FDNAMES": "a:b"},
            pass_fds=[tcp.fileno(), udp.fileno()],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=True,
        )
        ports = ([tcp.getsockname()[1]], [udp.getsockname()[1]]) if meant == "me" else ([], [])
        assert done.stdout.strip() == f"{ports[0]} {ports[1]} [] {meant != 'me'}"
