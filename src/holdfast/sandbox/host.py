"""The first process of a sandbox host: sets the host up, runs libvirtd and the agent, reaps orphans, never ends.

Started by machine.py in fresh namespaces, with the host's specification as JSON on standard input, which arrives once
the cable is there.  Its death, always by SIGKILL, is the host's power failure: the kernel kills everything below it.

The host's folder is also mounted at /run/host: QEMU's sockets lie in there, and their paths must stay short.
`agent.json` in the folder is the agent's switch, `ssh/sshd_config` that of the ssh server, where the rack has one.
Hosts that share nothing see only their own folder, their own datastores and the consoles of the rack's directory.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.sandbox import mounts, network
from holdfast.sandbox.commands import environment
from holdfast.sandbox.layout import LIBVIRT_PORT, SSH_USER, HostPlace, Layout
from holdfast.sandbox.namespaces import HYPERVISOR_ID, not_root
from holdfast.sandbox.sshd import ensure_sshd
from holdfast.sandbox.switched import Program, Switched

_HOST = Path("/run/host")
_LOOK_S = 0.2


@dataclass(frozen=True)
class HostSpec:
    """What the machine tells the host when it is switched on."""

    number: int
    hosts: int
    folder: str
    boot_id: str
    rack: str
    keep_visible: list[str] = field(default_factory=list)
    shares_nothing: bool = False

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
    switched = [Switched(program) for program in _programs(spec)]
    libvirtd = _start_libvirtd(spec)
    print(f"host{spec.number}: booted, libvirtd is process {libvirtd.pid}", flush=True)
    while True:
        select.select([wake], [], [], _LOOK_S)
        _drain(wake)
        ended = _reap()
        for program in switched:
            program.look_after(ended)


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
    mounts.private(Path("/run"), [Path(path) for path in (spec.rack, *spec.keep_visible)])
    _HOST.mkdir()
    mounts.bind(Path(spec.folder), _HOST)
    if spec.shares_nothing:
        _hide_what_others_have(Layout(Path(spec.rack)), spec.place)
    names = [f"{HostPlace(number).address} {HostPlace(number).name}" for number in range(1, spec.hosts + 1)]
    Path("/run/hosts").write_text("\n".join(["127.0.0.1 localhost", *names]) + "\n", encoding="ascii")
    mounts.bind(Path("/run/hosts"), Path("/etc/hosts"))
    _add_account("passwd", f"{SSH_USER}:x:{HYPERVISOR_ID}:{HYPERVISOR_ID}::{_HOST}:/bin/sh")
    _add_account("group", f"{SSH_USER}:x:{HYPERVISOR_ID}:")
    network.configure_host(spec.place)


def _hide_what_others_have(layout: Layout, place: HostPlace) -> None:
    mounts.private(layout.root, [layout.host(place), layout.consoles])
    layout.datastores.mkdir()
    mounts.bind(layout.host_datastores(place), layout.datastores)


def _add_account(name: str, entry: str) -> None:
    """libvirtd looks its own user up by number, ssh logs that user in, and a machine may give the number to another."""
    others = [line for line in Path("/etc", name).read_text(encoding="utf-8").splitlines() if not _same(line, entry)]
    file = Path("/run", name)
    file.write_text("".join(f"{line}\n" for line in [*others, entry]), encoding="utf-8")
    mounts.bind(file, Path("/etc", name))


def _same(line: str, entry: str) -> bool:
    """Whether both have the same name or number."""
    one, other = line.split(":"), entry.split(":")
    return one[0] == other[0] or one[2:3] == other[2:3]


def _variables(spec: HostSpec) -> dict[str, str]:
    return environment() | {
        "HOME": spec.folder,
        "HOLDFAST_BOOT_ID": spec.boot_id,
        "XDG_RUNTIME_DIR": str(_HOST / "run"),
        "XDG_CONFIG_HOME": str(_HOST / "config"),
        "XDG_CACHE_HOME": str(_HOST / "cache"),
        "XDG_DATA_HOME": str(_HOST / "data"),
    }


def _programs(spec: HostSpec) -> list[Program]:
    """What runs while its configuration is there."""
    folder, variables = Path(spec.folder), _variables(spec)
    config = folder / "agent.json"
    argv = [sys.executable, "-m", "holdfast.agent", "--config", str(config)]
    programs = [Program(argv, config, folder / "agent.log", variables)]
    if spec.shares_nothing:
        server, config = ensure_sshd(), _HOST / "ssh" / "sshd_config"
        argv = [*not_root(), *server.argv(config)]
        programs.append(Program(argv, config, folder / "sshd.log", variables | server.variables))
    return programs


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


if __name__ == "__main__":
    main()
