"""The first process of a sandbox host: sets the host up, runs libvirtd and the agent, reaps orphans, never ends.

Started by machine.py in fresh namespaces, with the host's specification as JSON on standard input, which arrives once
the cable is there.  Its death, always by SIGKILL, is the host's power failure: the kernel kills everything below it.

The host's folder is also mounted at /run/host: QEMU's sockets lie in there, and their paths must stay short.
`agent.json` in the folder is the agent's switch: it runs while the file is there and starts anew when the file changes.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.sandbox import mounts, network
from holdfast.sandbox.commands import environment
from holdfast.sandbox.layout import LIBVIRT_PORT, HostPlace
from holdfast.sandbox.namespaces import HYPERVISOR_ID, not_root

_HOST = Path("/run/host")
_AGENT_PAUSE_S = 0.2


@dataclass(frozen=True)
class HostSpec:
    """What the machine tells the host when it is switched on."""

    number: int
    hosts: int
    folder: str
    boot_id: str
    keep_visible: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """As it is sent."""
        return json.dumps(self.__dict__)

    @property
    def place(self) -> HostPlace:
        """The host's fixed properties."""
        return HostPlace(self.number)


def main() -> None:
    """Boots and then looks after the host until it is killed."""
    wake = _wake_on_child()
    spec = HostSpec(**json.loads(sys.stdin.readline()))
    _set_up(spec)
    folder = Path(spec.folder)
    agent = _Agent(folder / "agent.json", folder / "agent.log", _variables(spec))
    libvirtd = _start_libvirtd(spec)
    print(f"host{spec.number}: booted, libvirtd is process {libvirtd.pid}", flush=True)
    while True:
        select.select([wake], [], [], _AGENT_PAUSE_S)
        _drain(wake)
        agent.look_after(_reap())


def _wake_on_child() -> int:
    """A descriptor that becomes readable when a child has ended."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def _drain(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(descriptor, 4096)


def _reap() -> set[int]:
    """The processes that ended, ours and orphans alike."""
    ended: set[int] = set()
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.add(pid)


def _set_up(spec: HostSpec) -> None:
    socket.sethostname(spec.place.name)
    mounts.private_run([Path(path) for path in spec.keep_visible])
    _HOST.mkdir()
    mounts.bind(Path(spec.folder), _HOST)
    names = [f"{HostPlace(number).address} {HostPlace(number).name}" for number in range(1, spec.hosts + 1)]
    Path("/run/hosts").write_text("\n".join(["127.0.0.1 localhost", *names]) + "\n", encoding="ascii")
    mounts.bind(Path("/run/hosts"), Path("/etc/hosts"))
    _add_account("passwd", f"holdfast:x:{HYPERVISOR_ID}:{HYPERVISOR_ID}::/:/usr/sbin/nologin")
    _add_account("group", f"holdfast:x:{HYPERVISOR_ID}:")
    network.configure_host(spec.place)


def _add_account(name: str, entry: str) -> None:
    """libvirtd looks its own user up by number, and a fresh machine may have no user with that number."""
    known = Path("/etc", name).read_text(encoding="utf-8")
    if any(line.split(":")[2:3] == [str(HYPERVISOR_ID)] for line in known.splitlines()):
        return
    file = Path("/run", name)
    file.write_text(f"{known.rstrip()}\n{entry}\n", encoding="utf-8")
    mounts.bind(file, Path("/etc", name))


def _variables(spec: HostSpec) -> dict[str, str]:
    return environment() | {
        "HOME": spec.folder,
        "HOLDFAST_BOOT_ID": spec.boot_id,
        "XDG_RUNTIME_DIR": str(_HOST / "run"),
        "XDG_CONFIG_HOME": str(_HOST / "config"),
        "XDG_CACHE_HOME": str(_HOST / "cache"),
        "XDG_DATA_HOME": str(_HOST / "data"),
    }


def _start_libvirtd(spec: HostSpec) -> subprocess.Popen[bytes]:
    settings = _HOST / "config" / "libvirt"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "libvirtd.conf").write_text(_libvirtd_conf(spec), encoding="ascii")
    (settings / "qemu.conf").write_text(_qemu_conf(spec), encoding="ascii")
    program = ["libvirtd", "--listen", "--config", str(settings / "libvirtd.conf")]
    with (_HOST / "libvirtd.out").open("ab") as output:
        return subprocess.Popen(
            [*not_root(), *program],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_variables(spec),
            start_new_session=True,
        )


def _libvirtd_conf(spec: HostSpec) -> str:
    """A UUID of its own, because libvirt refuses to migrate between hosts with the same; and TCP for the controller."""
    return "\n".join(
        [
            f'host_uuid = "00000000-0000-4000-8000-{spec.number:012d}"',
            "listen_tls = 0",
            "listen_tcp = 1",
            f'tcp_port = "{LIBVIRT_PORT}"',
            'auth_tcp = "none"',
            f'listen_addr = "{spec.place.address}"',
            "keepalive_interval = 2",
            "keepalive_count = 3",
            f'log_outputs = "3:file:{_HOST}/libvirtd.log"',
            "",
        ]
    )


def _qemu_conf(spec: HostSpec) -> str:
    """Guests' output straight into files: there is no virtlogd here."""
    return "\n".join(
        [
            'stdio_handler = "file"',
            f'migration_host = "{spec.place.address}"',
            f'migration_address = "{spec.place.address}"',
            "keepalive_interval = 2",
            "keepalive_count = 3",
            "",
        ]
    )


class _Agent:
    """Runs the agent while its configuration exists, again and again if it ends."""

    def __init__(self, config: Path, log: Path, variables: dict[str, str]) -> None:
        self._config = config
        self._log = log
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None
        self._version: tuple[int, int] | None = None
        self._start_at_s = 0.0

    def look_after(self, ended: set[int]) -> None:
        """To be called often, with the processes that have been reaped since the last time."""
        if self._process and self._process.pid in ended:
            self._process.returncode = 0  # reaped already; Popen must not wait for it
            self._process = None
            self._start_at_s = time.monotonic() + _AGENT_PAUSE_S
        version = self._configured()
        if self._process is None:
            if version and time.monotonic() >= self._start_at_s:
                self._start(version)
        elif version != self._version:
            self._process.kill()

    def _configured(self) -> tuple[int, int] | None:
        try:
            found = self._config.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _start(self, version: tuple[int, int]) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "holdfast.agent", "--config", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._config.parent,
                env=self._variables,
                start_new_session=True,
            )
        self._version = version


if __name__ == "__main__":
    main()
