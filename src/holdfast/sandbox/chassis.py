#!/usr/bin/python3 -IS
"""What ipmi_sim runs to read or change a host's power: asks the supervisor, which alone knows and can.

A copy of this file lies in each BMC's folder and is run there, so that nothing has to be said on the command line: the
folder's name is the host's, and the supervisor's socket is two folders up.  Standard library only.

    chassis get power boot ...         prints "power:1" or "power:0", and 0 for what it does not know
    chassis set power 0|1, reset 1     returns when it is done
    chassis check NAME                 says whether it can get and set NAME
"""

import json
import os
import socket
import sys
from collections.abc import Sequence

_SUPERVISOR = "../../control.sock"
_LIMIT_S = 20.0


def main() -> int:
    """Carries out one request of ipmi_sim; its first argument may be the address of the management controller."""
    words = [word for word in sys.argv[1:] if not word.startswith("0x")]
    if len(words) < 2 or words[0] not in ("get", "set", "check"):
        print("usage: chassis get NAME... | set NAME VALUE... | check NAME...", file=sys.stderr)
        return 1
    action, names = words[0], words[1:]
    if action == "get":
        for name in names:
            print(f"{name}:{int(_power_reading()) if name == 'power' else 0}")
        return 0
    if action == "set":
        return _set(names)
    return 0 if all(name in ("power", "reset") for name in names) else 1


def _set(words: Sequence[str]) -> int:
    for name, value in zip(words[::2], words[1::2], strict=False):
        if name == "power":
            _ask("bmc-order", order="on" if value == "1" else "off")
        elif name == "reset":
            _ask("bmc-order", order="reset")
        elif name == "shutdown":
            _ask("bmc-order", order="off")
    return 0


def _power_reading() -> bool:
    return _ask("bmc-reading")["power"] is True


def _ask(command: str, **fields: str) -> dict[str, object]:
    request = {"command": command, "host": os.path.basename(os.getcwd()), **fields}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_LIMIT_S)
        connection.connect(_SUPERVISOR)
        connection.sendall(json.dumps(request).encode() + b"\n")
        answer: dict[str, object] = json.loads(connection.makefile("rb").readline())
    if answer.get("ok") is not True:
        raise SystemExit(f"chassis: {answer.get('error')}")
    return answer


if __name__ == "__main__":
    sys.exit(main())
