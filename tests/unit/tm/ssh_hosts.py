"""Hosts that share nothing, each behind a real sshd on a port of the loopback network.

Every host has datastores of its own in its mount namespace, at the path where the controller has its own; the server
runs as a user who is not root.  Only what is below the test's directory is touched.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from holdfast.drivers.ssh import Ssh, SshSettings
from holdfast.drivers.tm.driver import TmDriver
from holdfast.drivers.tm.home import MARK
from holdfast.drivers.tm.layout import remove
from holdfast.drivers.tm.remote import Hand, Hands
from holdfast.drivers.tm.tools import Clockwork, TransferOverdue
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.storage import Datastore
from holdfast.model.vm import Vm
from holdfast.sandbox.sshd import ensure_sshd
from tests.unit.tm.site import Site, names_in
from tests.unit.vmm.objects import a_stay, elsewhere

_USER_ID = 1000
_START_LIMIT_S = 30.0
_PATIENCE = {"persist_s": 5}
_BEGIN = """
set -e
mount --bind "$1" "$2"
mount --bind "$3" /etc/passwd
[ -z "$4" ] || mount -t tmpfs -o "size=$4m,mode=777" tmpfs "$2/0"
shift 4
exec unshare --user --map-user=1000 --map-group=1000 -- "$@"
"""
PERSISTENT = "CLONE=NO, SAVE=YES, PERSISTENT=YES"


class SshHost:
    """One host; ``datastores`` is its own directory, as the test sees it."""

    def __init__(self, base: Path, name: str, root: Path, datastore_mb: int = 0) -> None:
        self.name, self.base = name, base / name
        self.datastores = self.base / "datastores"
        for datastore in ("0", "100"):
            (self.datastores / datastore).mkdir(parents=True)
        self.directory = self.datastores / "0/7"
        self._root, self._datastore_mb = root, datastore_mb
        self.port = _free_port()
        self._program: subprocess.Popen[bytes] | None = None
        for key in (base / "key", self.base / "host_key"):
            if not key.exists():
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        (self.base / "passwd").write_text(f"hand:x:{_USER_ID}:{_USER_ID}::{self.base}:/bin/sh\n", encoding="ascii")
        self.configure()

    def configure(self, **more: str) -> None:
        """Writes the server's configuration; it is read at the start."""
        settings = {
            "ListenAddress": f"127.0.0.1:{self.port}", "HostKey": str(self.base / "host_key"),
            "AuthorizedKeysFile": str(self.base.parent / "key.pub"), "StrictModes": "no", "UsePAM": "no",
            "PasswordAuthentication": "no", "PidFile": "none", "Subsystem": "sftp internal-sftp", **more,
        }  # fmt: skip
        text = "".join(f"{name} {value}\n" for name, value in settings.items())
        (self.base / "sshd_config").write_text(text, encoding="ascii")

    def client_config(self) -> str:
        """This host's section of the client's configuration."""
        known = self.base / "known_hosts"
        key = (self.base / "host_key.pub").read_text(encoding="ascii")
        known.write_text(f"{self.name} {key}", encoding="ascii")
        settings = {
            "HostName": "127.0.0.1", "Port": self.port, "User": "hand", "HostKeyAlias": self.name,
            "IdentityFile": self.base.parent / "key", "IdentitiesOnly": "yes", "UserKnownHostsFile": known,
            "GlobalKnownHostsFile": "/dev/null", "StrictHostKeyChecking": "yes",
        }  # fmt: skip
        head = f"Host {self.name} alias{self.name[-1]}\n"
        return head + "".join(f"  {name} {value}\n" for name, value in settings.items())

    def start(self) -> None:
        """Its server answers afterwards."""
        server = ensure_sshd()
        own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        mounts = [self.datastores, self._root, self.base / "passwd", str(self._datastore_mb or "")]
        begin = ["unshare", *own, "--mount", "--pid", "--fork", "--kill-child=KILL", "--"]
        begin += ["/bin/sh", "-c", _BEGIN, "sh"]
        with (self.base / "sshd.log").open("ab") as log:
            self._program = subprocess.Popen(
                [str(word) for word in (*begin, *mounts, *server.argv(self.base / "sshd_config"))],
                env={**os.environ, **server.variables}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + _START_LIMIT_S
        while not self._answers():
            assert self._program.poll() is None, (self.base / "sshd.log").read_text()
            assert time.monotonic() < deadline, f"{self.name}: sshd does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        """The host dies with all that runs there: its processes have a namespace of their own."""
        if self._program:
            self._program.kill()
            self._program.wait()
            self._program = None

    def processes(self) -> list[int]:
        """What runs on the host, by the numbers that the test sees."""
        assert self._program
        return descendants(self._program.pid)

    def find(self, *words: str) -> int:
        """A process on the host whose command line has these words, 0 when there is none."""
        return find(self.processes(), *words)

    @property
    def inside(self) -> Path:
        """Its datastores with all that is mounted there."""
        assert self._program
        return Path(f"/proc/{self._program.pid}/root{self._root}")

    def freeze(self, frozen: bool = True) -> None:
        """All of the host stands still, as behind a cut cable: nothing is closed, nobody answers."""
        for number in self.processes():
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGSTOP if frozen else signal.SIGCONT)

    def files(self, directory: str = "0/7") -> list[str]:
        """The names in a directory of its datastores, without the mark of how it came there."""
        return names_in(self.datastores / directory)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


def a_client(base: Path, *hosts: SshHost, **settings: int) -> Ssh:
    """A client that knows these hosts."""
    config = base / "ssh_config"
    config.write_text("".join(host.client_config() for host in hosts), encoding="ascii")
    return Ssh(SshSettings(base / "control", config, **{**_PATIENCE, **settings}))


@contextmanager
def running(*hosts: SshHost) -> Iterator[None]:
    """These hosts answer within the block."""
    try:
        for host in hosts:
            host.start()
        yield
    finally:
        for host in hosts:
            host.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        found = [int(number) for number in children.read_text().split()]
    except OSError:
        return []
    return [*found, *(number for child in found for number in descendants(child))]


def find(numbers: list[int], *words: str) -> int:
    """The process among these whose command line has these words, 0 when there is none."""
    for number in numbers:
        try:
            command = Path(f"/proc/{number}/cmdline").read_bytes()
        except OSError:
            continue
        if all(word.encode() in command for word in words):
            return number
    return 0


class CutHands(Hands):
    """Hands that can be kept from one kind of order, as if the controller died before it or a line was cut."""

    cut = ""

    @asynccontextmanager
    async def at_work(
        self, host: str, call: str, vm_id: int, clockwork: Clockwork, **values: Any
    ) -> AsyncIterator[Hand]:
        """As always, or not at all."""
        if call == self.cut:
            raise TransferOverdue(f"{call} is cut")
        async with super().at_work(host, call, vm_id, clockwork, **values) as hand:
            yield hand


class SshSite(Site):
    """The front-end's datastores, and two hosts; ``alias1`` is another name of the first one."""

    def __init__(self, base: Path, datastore_mb: int = 0) -> None:
        super().__init__(base)
        self.base = base
        self.host1 = SshHost(base, "host1", self.root, datastore_mb)
        self.host2 = SshHost(base, "host2", self.root, datastore_mb)
        self.hosts = (self.host1, self.host2)
        self._cut = ""
        self.patience: dict[str, int] = {}

    def clear(self) -> None:
        """Nothing lies on any datastore."""
        for root in (self.root, *(host.inside for host in self.hosts)):
            for datastore in root.iterdir():
                for entry in datastore.iterdir():
                    remove(entry)
        self._cut = ""
        self.patience = {}

    def cut(self, call: str) -> None:
        """From now on no hand gets an order of this kind."""
        self._cut = call

    def hands(self) -> Hands:
        """A controller's hands, as after its start."""
        hands = CutHands(self.root, "front", a_client(self.base, *self.hosts, **self.patience))
        hands.cut = self._cut
        return hands

    def disk(
        self, image: Path, image_format: str = "qcow2", extra: str = "CLONE=YES, SAVE=NO", disk_id: int = 0
    ) -> str:
        """A DISK of an image on a datastore of this driver, as text."""
        return super().disk(image, image_format, extra, disk_id).replace("TM_MAD=qcow2", "TM_MAD=ssh")

    def run(
        self, kind: EffectKind, vm: Vm, limit_s: float = 60, datastore: Datastore | None = None, **args: object
    ) -> Answer:
        """Carries out one step, with a controller that was just started."""
        self.driver = TmDriver(self.root, self.vms, "front", hands=self.hands())
        return super().run(kind, vm, limit_s, datastore, **args)

    def probe(self, kind: EffectKind, vm: Vm, **args: object) -> Answer | None:
        """Asks a controller that was just started whether a step was done."""
        self.driver = TmDriver(self.root, self.vms, "front", hands=self.hands())
        return super().probe(kind, vm, **args)

    def line(self, text: str) -> Answer:
        """Carries out one line for VM 7."""
        self.driver = TmDriver(self.root, self.vms, "front", hands=self.hands())
        return super().line(text)

    def leftovers(self) -> list[str]:
        """Names of drafts, and of marks and remnants of moves, on any machine."""
        found = super().leftovers()
        for root in (self.root, *(host.inside for host in self.hosts)):
            names = (path for path in root.rglob("*") if path.name.startswith("."))
            found += [str(path) for path in names if not path.name.endswith((".locks", ".brought-back", MARK))]
            found += [str(path) for path in root.rglob("*") if ".draft." in path.name or path.name.endswith(".moved")]
        return found


def ok(answer: Answer) -> None:
    """It was done; else the message is what one wants to see."""
    assert answer.ok, answer.message


def placed(vm: Vm, *host_ids: int, tm_mad: str = "ssh") -> Vm:
    """The VM after stays on these hosts, always on datastore 0."""
    return elsewhere(vm, *(a_stay(hid, seq, tm_mad=tm_mad) for seq, hid in enumerate(host_ids)))
