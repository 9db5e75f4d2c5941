"""The conversation with a rack's supervisor: one JSON object a line over its socket, one answer to each request.

The connection itself says which process the supervisor is, as seen from here; so no file holds a process id that could
be stale, and a socket that nobody listens on means that the rack is down.
"""

import json
import socket
import struct
from pathlib import Path
from typing import Any

from holdfast.sandbox.errors import RackDownError, RackError
from holdfast.sandbox.layout import Layout

_CREDENTIALS = struct.Struct("iII")


def ask(layout: Layout, command: str, limit_s: float, **fields: object) -> dict[str, Any]:
    """The supervisor's answer; RackError with its complaint, RackDownError when there is no supervisor."""
    with _connected(layout, limit_s) as connection:
        try:
            connection.sendall(json.dumps({"command": command, **fields}).encode() + b"\n")
            line = connection.makefile("rb").readline()
        except OSError as exc:
            raise RackError(f"the rack in {layout.root} does not answer {command}: {exc}") from None
    if not line:
        raise RackDownError(f"the rack in {layout.root} ended before it answered {command}; see {layout.log}")
    answer: dict[str, Any] = json.loads(line)
    if answer.get("ok") is not True:
        raise RackError(str(answer.get("error")))
    return answer


def supervisor_pid(layout: Layout) -> int:
    """The supervisor's process id in our process namespace."""
    with _connected(layout, 5.0) as connection:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(credentials)[0]
    if pid == 0:
        raise RackError(f"the rack in {layout.root} belongs to another process namespace and cannot be used from here")
    return pid


def _connected(layout: Layout, limit_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(limit_s)
    try:
        connection.connect(str(layout.control))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        raise RackDownError(f"no rack is up in {layout.root}; `holdfast sandbox up` starts one") from None
    except OSError as exc:
        connection.close()
        raise RackError(f"{layout.control}: {Path(layout.control).name} cannot be reached: {exc}") from None
    return connection
