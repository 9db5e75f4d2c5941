"""A real controller for tests: ``holdfast serve`` as a process, the real commands, pyone, and a look at its journal.

The listening sockets belong to the test and are inherited, so ports are free for certain and stay the same when the
controller is killed and started again, as with systemd's sockets.  Detection is quicker than by default, yet slower
than the second that the detector forgives a busy machine.
"""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from xml.etree.ElementTree import Element

import pyone

from holdfast.sandbox.api import Api

T = TypeVar("T")
BIN = Path(sys.executable).parent
START_LIMIT_S = 20.0
STOP_LIMIT_S = 15.0
COMMAND_LIMIT_S = 60.0
PERIOD_S = 0.25
SETTINGS = {"beacon_period_s": PERIOD_S, "suspect_after_s": 0.5, "dead_after_s": 1.5}
GUIDE_HOOK = """ARGUMENTS = "$TEMPLATE -m -p 5"
ARGUMENTS_STDIN = "yes"
COMMAND   = "ft/host_error.rb"
NAME      = "host_error"
STATE     = "ERROR"
REMOTE    = "no"
RESOURCE  = HOST
TYPE      = state
"""


def until(look: Callable[[], T | None], limit_s: float = 20.0, what: str = "") -> T:
    """The first answer that is not empty; fails the test when there is none in this time."""
    ends = time.monotonic() + limit_s
    while True:
        answer = look()
        if answer:
            return answer
        if time.monotonic() > ends:
            raise AssertionError(f"not within {limit_s:g} s: {what or look}")
        time.sleep(0.02)


@dataclass(frozen=True)
class Journaled:
    """A row of the journal."""

    oid: int
    kind: str
    subject: int
    state: str


class Daemon:
    """A controller on a directory of its own; :meth:`start` may be called again after :meth:`kill` or :meth:`stop`."""

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self._environment = {**os.environ, **(environment or {})}
        self.var = directory / "var"
        self.log_path = directory / "controller.log"
        self.auth_path = self.var / ".one" / "one_auth"
        self._api_socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._beacon_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._beacon_socket.bind(("127.0.0.1", 0))
        self.api_address: tuple[str, int] = self._api_socket.getsockname()
        self.endpoint = f"http://127.0.0.1:{self.api_address[1]}/RPC2"
        self.beacon_address: tuple[str, int] = self._beacon_socket.getsockname()
        self.api = self.client()
        self._process: subprocess.Popen[bytes] | None = None
        self._one: Any = None
        directory.mkdir(parents=True, exist_ok=True)
        self._config = directory / "holdfast.toml"
        self._config.write_text(_toml({**SETTINGS, **(settings or {})}), encoding="utf-8")

    @property
    def argv(self) -> list[str]:
        """How it is started."""
        sockets = ["--listen", f"fd://{self._api_socket.fileno()}", "--beacons", f"fd://{self._beacon_socket.fileno()}"]
        return [str(BIN / "holdfast"), "serve", "--config", str(self._config), "--var", str(self.var), *sockets]

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has said, in all its lives."""
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""

    def start(self) -> Daemon:
        """Returns when it answers."""
        said = len(self.log)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                pass_fds=[self._api_socket.fileno(), self._beacon_socket.fileno()],
                start_new_session=True,
            )
        process = self._process
        until(lambda: "ready: API at" in self.log[said:] or process.poll() is not None, START_LIMIT_S, "a start")
        assert process.poll() is None, f"it ended at once: {self.log[said:]}"
        return self

    def kill(self) -> None:
        """A crash: SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_LIMIT_S)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_LIMIT_S)

    def close(self) -> None:
        """Ends it, alive or dead, and shows pytest its log."""
        self.kill()
        self.api.close()
        if self._one is not None:
            self._one("close")()
        self._api_socket.close()
        self._beacon_socket.close()
        print(f"--- log of the controller in {self.directory}\n{self.log}")

    @property
    def one(self) -> Any:
        """A pyone client with oneadmin's credentials."""
        if self._one is None:
            self._one = pyone.OneServer(self.endpoint, session=self.auth_path.read_text(encoding="utf-8").strip())
        return self._one

    def client(self) -> Api:
        """Another client of the API, for a thread of its own."""
        return Api(self.endpoint, self.auth_path)

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """One of the commands (onevm, onehost, …) as a process."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "LANG": "C.UTF-8"}
        environment |= {"ONE_XMLRPC": self.endpoint, "ONE_AUTH": str(self.auth_path)}
        return subprocess.run(
            [str(BIN / words[0]), *words[1:]],
            input=stdin,
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )

    def done(self, *words: str, stdin: str = "") -> str:
        """As :meth:`run`, for a command that must succeed; what it printed."""
        ended = self.run(*words, stdin=stdin)
        assert ended.returncode == 0, f"{words}: {ended.returncode} {ended.stdout} {ended.stderr}"
        return ended.stdout

    def refused(self, *words: str, stdin: str = "") -> str:
        """As :meth:`run`, for a command that must fail; its complaint."""
        ended = self.run(*words, stdin=stdin)
        assert ended.returncode == 255, f"{words}: {ended.returncode} {ended.stdout} {ended.stderr}"
        assert "Traceback" not in ended.stderr
        return ended.stderr

    def hook(self, template: str = GUIDE_HOOK) -> int:
        """Creates a hook."""
        return int(self.api.call("one.hook.allocate", template))

    def host(self, name: str, im_mad: str = "dummy", vm_mad: str = "dummy", **attributes: str) -> int:
        """Registers a dummy host; with the driver that speaks for it, returns when it is MONITORED."""
        host_id = int(self.api.call("one.host.allocate", name, im_mad, vm_mad, -1))
        self.set_host(host_id, **attributes)
        if im_mad == "dummy":
            until(lambda: self.host_state(host_id) == "2", what=f"{name} MONITORED")
        return host_id

    def set_host(self, host_id: int, **attributes: str) -> None:
        """Adds attributes to a host's template."""
        text = "\n".join(f'{name}="{value}"' for name, value in attributes.items())
        if text:
            self.api.call("one.host.update", host_id, text, 1)

    def host_state(self, host_id: int) -> str:
        """STATE of a host."""
        return self.api.xml("one.host.info", host_id).findtext("STATE", "")

    def vm(self, name: str, host_id: int, **attributes: str) -> int:
        """A VM that runs on this host."""
        lines = {"NAME": name, "CPU": "1", "MEMORY": "128", **attributes}
        text = "\n".join(f'{key}="{value}"' for key, value in lines.items())
        vm_id = int(self.api.call("one.vm.allocate", text, True))
        self.api.call("one.vm.deploy", vm_id, host_id, False, -1, "")
        self.wait_for_vm(vm_id, host_id)
        return vm_id

    def vm_at(self, vm_id: int) -> tuple[str, str, list[int]]:
        """STATE and LCM_STATE of a VM, and the hosts of its history."""
        vm = self.api.xml("one.vm.info", vm_id)
        hosts = [int(record.findtext("HID", "-1")) for record in vm.findall("HISTORY_RECORDS/HISTORY")]
        return vm.findtext("STATE", ""), vm.findtext("LCM_STATE", ""), hosts

    def wait_for_vm(self, vm_id: int, host_id: int, limit_s: float = 30.0) -> None:
        """Returns when the VM is RUNNING on this host."""

        def look() -> bool:
            state, lcm_state, hosts = self.vm_at(vm_id)
            return (state, lcm_state) == ("3", "3") and hosts[-1] == host_id

        until(look, limit_s, f"VM {vm_id} RUNNING on host {host_id}: {self.vm_at(vm_id)}")

    def failover(self, failover_id: int = 0) -> Element:
        """A failover."""
        return self.api.xml("one.failover.info", failover_id)

    def failovers(self) -> list[Element]:
        """All failovers."""
        return self.api.xml("one.failoverpool.info").findall("FAILOVER")

    def wait_for_failover(self, *states: str, failover_id: int = 0, limit_s: float = 30.0) -> Element:
        """The failover as soon as it is in one of these states."""

        def look() -> Element | None:
            known = [found for found in self.failovers() if found.findtext("ID") == str(failover_id)]
            return known[0] if known and known[0].findtext("STATE_STR") in states else None

        return until(look, limit_s, f"failover {failover_id} {' or '.join(states)}")

    def journal(self, kind: str = "") -> list[Journaled]:
        """All effects in the order of their planning, straight from the database."""
        with closing(sqlite3.connect(f"file:{self.var}/holdfast.db?mode=ro", uri=True, timeout=5)) as database:
            rows = database.execute("SELECT oid, kind, subject, state FROM effect ORDER BY oid").fetchall()
        return [Journaled(*row) for row in rows if not kind or row[1] == kind]

    def starts(self, vm_id: int) -> int:
        """How many times a driver was told to start this VM."""
        return sum(1 for effect in self.journal("vmm.deploy") if effect.subject == vm_id)


def _toml(settings: Mapping[str, object]) -> str:
    return "".join(f"{key} = {value!r}\n" for key, value in settings.items())


class PowerSwitch:
    """A fence device of Debian's ``fence_dummy``: a file that says on or off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.put("on")

    def put(self, power: str) -> None:
        """Sets the power by hand."""
        self.path.write_text(power, encoding="ascii")

    @property
    def power(self) -> str:
        """``on`` or ``off``."""
        return self.path.read_text(encoding="ascii").strip()

    @property
    def attributes(self) -> dict[str, str]:
        """For the host's template."""
        return {"FENCE_AGENT": "fence_dummy", "FENCE_STATUS_FILE": str(self.path)}
