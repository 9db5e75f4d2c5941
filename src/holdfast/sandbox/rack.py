"""The way in: builds a rack, finds one that is up, and works its switches.

`start` returns when every host's libvirtd answers.  The rack then belongs to nobody: the process that started it may
end, `attach` finds it again from its directory, `Rack.stop` or `remove` ends it.  The lock on the directory is held by
the supervisor for as long as it lives, so a rack cannot be started twice and what a crash left is told from a live one.
"""

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.sandbox import control
from holdfast.sandbox.bmc import BmcMode, new_password
from holdfast.sandbox.commands import environment
from holdfast.sandbox.errors import RackDownError, RackError
from holdfast.sandbox.guest.image import GuestImage, ensure_guest
from holdfast.sandbox.layout import (
    BMC_PORT,
    BMC_USER,
    CONTROLLER_ADDRESS,
    Layout,
    RackConfig,
    Storage,
    default_directory,
    find_host,
    require_private,
)
from holdfast.sandbox.namespaces import enter_host, enter_network, rack_namespaces
from holdfast.sandbox.requirements import require_direct_io, require_machine
from holdfast.sandbox.sshd import ensure_sshd

__all__ = ["BmcMode", "Host", "Rack", "RackConfig", "Storage", "attach", "default_directory", "remove", "start"]

_START_LIMIT_S = 120.0
_ORDER_LIMIT_S = 45.0
_STOP_LIMIT_S = 30.0
_DYING_LIMIT_S = 5.0


@dataclass(frozen=True)
class Host:
    """A host as it is now."""

    number: int
    name: str
    address: str
    libvirt_uri: str
    bmc_ip: str
    bmc_port: int
    powered: bool
    cut: bool
    ssh: bool
    boot_id: str | None
    booted_at: float | None
    first_pid: int | None
    bmc_mode: BmcMode
    bmc_delay_s: float
    directory: Path


class Rack:
    """A rack that is up."""

    controller_address = CONTROLLER_ADDRESS
    bmc_user = BMC_USER

    def __init__(self, layout: Layout, config: RackConfig, supervisor_pid: int) -> None:
        self._layout = layout
        self.config = config
        self.supervisor_pid = supervisor_pid

    @property
    def directory(self) -> Path:
        """Where all its files are."""
        return self._layout.root

    @property
    def hosts(self) -> tuple[Host, ...]:
        """Its hosts, as they are now."""
        return tuple(self._host(fields) for fields in self._ask("status")["hosts"])

    @property
    def bmc_password(self) -> str:
        """The password of every BMC."""
        return self._layout.bmc_password.read_text(encoding="ascii").strip()

    @property
    def datastores_path(self) -> Path:
        """OpenNebula's datastores, at the same path on every host."""
        return self._layout.datastores

    @property
    def ssh_config(self) -> Path | None:
        """For `ssh -F` from within the rack's network; None without ssh servers on the hosts."""
        return self._layout.ssh_config if self.config.storage is Storage.SSH else None

    def host_datastores(self, host: str) -> Path:
        """Where the files lie that this host has at `datastores_path`, seen from outside."""
        place = find_host(self.config.places, host)
        shares_nothing = self.config.storage is Storage.SSH
        return self._layout.host_datastores(place) if shares_nothing else self._layout.datastores

    @property
    def heartbeat_path(self) -> Path:
        """The folder on the shared storage where the hosts' heartbeat files go."""
        return self._layout.heartbeats

    @property
    def guest(self) -> GuestImage:
        """The kernel and initial RAM file system that its VMs boot."""
        return ensure_guest()

    def console(self, vm_name: str) -> Path:
        """The file to which every hypervisor appends this VM's serial console."""
        return self._layout.consoles / f"{vm_name}.log"

    def host(self, text: str) -> Host:
        """The host of this name or number."""
        number = find_host(self.config.places, text).number
        return next(host for host in self.hosts if host.number == number)

    def power_off(self, host: str) -> None:
        """Takes the host's power away; on return none of its processes is left."""
        self._order("power-off", host)

    def power_on(self, host: str) -> None:
        """Gives it power; on return its libvirtd answers (if its network is not cut)."""
        self._order("power-on", host)

    def cut(self, host: str) -> None:
        """Cuts the host off the network, and with disks over the network off the storage."""
        self._order("cut", host)

    def heal(self, host: str) -> None:
        """Mends what was cut."""
        self._order("heal", host)

    def switch_ssh(self, host: str, *, on: bool) -> None:
        """Ends the host's ssh server with all its connections, or starts it again."""
        self._order("ssh", host, on=on)

    def set_bmc(self, host: str, mode: BmcMode, delay_s: float = 0.0) -> None:
        """Breaks or repairs the host's BMC."""
        self._order("bmc-mode", host, mode=mode.value, delay_s=delay_s)

    def enter_argv(self, argv: Sequence[str], *, tied: bool = False) -> list[str]:
        """The command line that runs this one in the rack's network, with its caller's files and descriptors.

        A tied one dies with the rack; it is a child of what is started, so signals have to go to the process group.
        """
        return [*enter_network(self.supervisor_pid, tied=tied), *argv]

    def enter_host_argv(self, host: str, argv: Sequence[str]) -> list[str]:
        """The command line that runs this one on a host, as its root, as if logged in there."""
        found = self.host(host)
        if found.first_pid is None:
            raise RackError(f"{found.name} has no power, so nothing can run on it")
        return [*enter_host(self.supervisor_pid, found.first_pid), *argv]

    def stop(self, *, keep_files: bool = False) -> None:
        """Ends everything in the rack, and removes its directory unless the files are to be kept."""
        remove(self.directory, keep_files=keep_files)

    def _order(self, command: str, host: str, **fields: object) -> None:
        self._ask(command, host=find_host(self.config.places, host).name, **fields)

    def _ask(self, command: str, **fields: object) -> dict[str, Any]:
        return control.ask(self._layout, command, _ORDER_LIMIT_S, **fields)

    def _host(self, fields: dict[str, Any]) -> Host:
        place = find_host(self.config.places, str(fields["number"]))
        return Host(
            number=place.number,
            name=place.name,
            address=place.address,
            libvirt_uri=place.libvirt_uri,
            bmc_ip=place.bmc_address,
            bmc_port=BMC_PORT,
            powered=fields["powered"],
            cut=fields["cut"],
            ssh=fields["ssh"],
            boot_id=fields["boot_id"],
            booted_at=fields["booted_at"],
            first_pid=fields["first_pid"],
            bmc_mode=BmcMode(fields["bmc_mode"]),
            bmc_delay_s=fields["bmc_delay_s"],
            directory=self._layout.host(place),
        )


def start(config: RackConfig) -> Rack:
    """Builds the rack; on return every host is up.  If it is interrupted or fails, nothing is left running."""
    layout = Layout(config.directory)
    try:
        config.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise RackError(f"{config.directory}: {exc.strerror}; choose another place with --dir") from None
    require_private(config.directory)
    with _locked(config.directory) as lock:
        _clear(layout)
        try:
            require_machine()
            require_direct_io(config.directory)
            ensure_guest()
            layout.create(config)
            new_password(layout.bmc_password)
            if config.storage is Storage.SSH:
                ensure_sshd()
            _launch(layout, lock)
            return attach(config.directory)
        except BaseException:
            shutil.rmtree(config.directory)
            raise


def attach(directory: Path) -> Rack:
    """The rack that is up in this directory; RackDownError when none is."""
    layout = Layout(directory)
    pid = control.supervisor_pid(layout)
    return Rack(layout, layout.config(), pid)


def remove(directory: Path, *, keep_files: bool = False) -> bool:
    """Ends the rack in this directory, alive or dead, and removes what it left; False when there was nothing."""
    layout = Layout(directory)
    if not directory.exists():
        return False
    if not layout.marker.exists() and any(directory.iterdir()):
        raise RackError(f"{directory}: not the directory of a rack, so nothing in it is touched")
    _end_supervisor(layout)
    if not keep_files:
        shutil.rmtree(directory)
    return True


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[int]:
    """Holds the directory's lock; the descriptor may be handed on to whoever shall go on holding it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        give_up_at = time.monotonic() + _DYING_LIMIT_S
        while not _try_lock(descriptor):
            if time.monotonic() > give_up_at or _is_up(Layout(directory)):
                where = "" if directory == default_directory() else f" --dir {directory}"
                way_out = f"`holdfast sandbox status{where}` shows it, `holdfast sandbox down{where}` ends it"
                raise RackError(f"a rack is already up in {directory}; {way_out}")
            time.sleep(0.02)  # one that was killed just now may hold it for a moment
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_up(layout: Layout) -> bool:
    try:
        control.supervisor_pid(layout)
    except RackDownError:
        return False
    return True


def _clear(layout: Layout) -> None:
    """Removes what a rack that is no longer up left; refuses to touch anything else."""
    entries = list(layout.root.iterdir())
    if entries and not layout.marker.exists():
        raise RackError(f"{layout.root}: not empty, and not the directory of a rack; choose another with --dir")
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _launch(layout: Layout, lock: int) -> None:
    reader, writer = os.pipe()
    program = [
        sys.executable,
        "-m",
        "holdfast.sandbox.supervisor",
        "--dir",
        str(layout.root),
        "--ready-fd",
        str(writer),
    ]
    with os.fdopen(reader, "rb") as ready, layout.log.open("ab") as log:
        process = subprocess.Popen(
            [*rack_namespaces(), *program],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment(),
            pass_fds=[writer, lock],
            start_new_session=True,
        )
        os.close(writer)
        try:
            _wait_ready(layout, ready.fileno())
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            _wait_gone(ready.fileno())
            raise
    process.returncode = 0  # it is left running on purpose


def _wait_ready(layout: Layout, ready: int) -> None:
    readable, _, _ = select.select([ready], [], [], _START_LIMIT_S)
    if not readable or os.read(ready, 16) != b"ready\n":
        said = layout.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-12:]
        reason = "\n  ".join(said) or "its log is empty"
        what = "ended while starting" if readable else f"is not ready after {_START_LIMIT_S:g} s"
        raise RackError(f"the rack in {layout.root} {what}; it said:\n  {reason}")


def _wait_gone(ready: int) -> None:
    """Returns when the supervisor, the last to hold the other end, is dead, and all of the rack with it."""
    while select.select([ready], [], [], _STOP_LIMIT_S)[0]:
        if not os.read(ready, 16):
            return


def _end_supervisor(layout: Layout) -> None:
    """Asks the supervisor to end, and kills it if it does not; returns when it and all it started are gone."""
    give_up_at = time.monotonic() + _STOP_LIMIT_S
    while _is_locked(layout.root):
        try:
            pid = control.supervisor_pid(layout)
        except RackDownError:  # between its lock and its socket: it is starting or ending just now
            if time.monotonic() > give_up_at:
                raise RackError(
                    f"{layout.root} is locked by a process that is no supervisor; see: fuser {layout.root}"
                ) from None
            time.sleep(0.05)
            continue
        _end_process(layout, pid)


def _end_process(layout: Layout, pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with contextlib.suppress(RackError):
            control.ask(layout, "stop", _STOP_LIMIT_S / 2)
        if not select.select([descriptor], [], [], _STOP_LIMIT_S / 6)[0]:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            if not select.select([descriptor], [], [], _STOP_LIMIT_S / 2)[0]:
                raise RackError(f"the rack's supervisor, process {pid}, cannot be killed")
    finally:
        os.close(descriptor)


def _is_locked(directory: Path) -> bool:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)
