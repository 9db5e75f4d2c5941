"""A rack with its controller, for tests: guests that keep a ledger, what the API says of them, and damage undone."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from xml.etree.ElementTree import Element

from holdfast.drivers.tm.home import MARK
from holdfast.sandbox import controller as controllers
from holdfast.sandbox import ledger
from holdfast.sandbox import rack as racks
from holdfast.sandbox.controller import Controller
from holdfast.sandbox.disks import find_disk
from holdfast.sandbox.layout import IMAGE_DATASTORE, Layout
from holdfast.sandbox.ledger import Ledger
from holdfast.sandbox.rack import BmcMode, Rack, RackConfig, Storage
from tests.e2e.daemon import until

GUESTS_LIMIT_S = 60.0
FAILOVER_LIMIT_S = 60.0


@contextmanager
def rack_with_controller(hosts: int = 3, storage: Storage = Storage.DIR) -> Iterator[Stage]:
    """A rack and its controller, whose log is printed in the end."""
    scratch = Path(tempfile.mkdtemp(prefix="hf-", dir="/var/tmp"))
    rack = racks.start(RackConfig(scratch / "rack", hosts, storage))
    try:
        stage = Stage(rack, controllers.start(OwnMounts.of(rack)))
        yield stage
        stage.controller.api.close()
        print(stage.controller.log.read_text(encoding="utf-8", errors="replace"))
    finally:
        controllers.stop(rack.directory)
        rack.stop()
        scratch.rmdir()


class OwnMounts(Rack):
    """The same rack, for a controller with mounts of its own: what a test mounts there shows nowhere else."""

    @classmethod
    def of(cls, rack: Rack) -> OwnMounts:
        """This rack."""
        return cls(Layout(rack.directory), rack.config, rack.supervisor_pid)

    def enter_argv(self, argv: Sequence[str], *, tied: bool = False) -> list[str]:
        """As the rack does it, and then away from the machine's mounts."""
        return super().enter_argv(["unshare", "--mount", "--", *argv], tied=tied)


class Stage:
    """The rack and its controller, which may be killed and started again."""

    def __init__(self, rack: Rack, controller: Controller) -> None:
        self.rack = rack
        self.controller = controller
        self.host_ids = {
            host.findtext("NAME", ""): int(host.findtext("ID", "-1"))
            for host in self.xml("one.hostpool.info").findall("HOST")
        }

    def call(self, method: str, *arguments: object) -> object:
        """Calls the API."""
        return self.controller.api.call(method, *arguments)

    def xml(self, method: str, *arguments: object) -> Element:
        """Calls the API for a document."""
        return self.controller.api.xml(method, *arguments)

    def crash(self) -> None:
        """SIGKILL of the controller, a second of absence, and up again."""
        with self.without_controller():
            time.sleep(1.0)

    @contextmanager
    def without_controller(self) -> Iterator[None]:
        """The controller is killed, and started again in the end."""
        self.controller.api.close()
        controllers.kill(self.controller)
        try:
            yield
        finally:
            self.controller = controllers.restart(self.controller)

    @contextmanager
    def without_agent(self, host: str) -> Iterator[None]:
        """No agent runs on this host."""
        config = self.rack.host(host).directory / "agent.json"
        aside = config.with_name("agent.json.aside")
        config.rename(aside)
        pgrep = self.rack.enter_host_argv(host, ["pgrep", "-f", "holdfast[.]agent"])
        try:
            until(lambda: subprocess.run(pgrep, capture_output=True, timeout=30, check=False).returncode == 1)
            yield
        finally:
            aside.rename(config)

    def guests(self, host: str, *names: str) -> dict[str, int]:
        """Guests that run on this host and write; their VM ids by name."""
        ids = {}
        for name in names:
            ids[name] = int(str(self.call("one.vm.allocate", controllers.guest(self.controller, name), True)))
            self.call("one.vm.deploy", ids[name], self.host_ids[host], False, -1, "")
        for name in names:
            self.wait_for_writer(name, 1)
        return ids

    def ledger(self, name: str) -> Ledger:
        """What the guest has written so far."""
        disk, consoles = find_disk(self.rack.directory, name)
        return ledger.read(disk, consoles)

    def wait_for_writer(self, name: str, boots: int, records: int = 5, limit_s: float = GUESTS_LIMIT_S) -> Ledger:
        """The ledger as soon as this many boots have written, the last of them this many records."""

        def look() -> Ledger | None:
            if not self.rack.console(name).exists() or b"\nACK " not in self.rack.console(name).read_bytes():
                return None
            read = self.ledger(name)
            return read if len(read.writers) == boots and read.writers[-1].acknowledged >= records else None

        return until(look, limit_s, f"{name} writing in boot {boots}")

    def vm_at(self, vm_id: int) -> tuple[str, str, list[str]]:
        """STATE and LCM_STATE of a VM, and the hosts of its history."""
        vm = self.xml("one.vm.info", vm_id)
        hosts = [record.findtext("HOSTNAME", "") for record in vm.findall("HISTORY_RECORDS/HISTORY")]
        return vm.findtext("STATE", ""), vm.findtext("LCM_STATE", ""), hosts

    def host(self, name: str) -> Element:
        """A host as the controller sees it."""
        return self.xml("one.host.info", self.host_ids[name])

    def failovers(self, host: str) -> list[Element]:
        """The failovers of this host, the newest first."""
        found = [one for one in self.xml("one.failoverpool.info").findall("FAILOVER") if _is_of(one, host)]
        return sorted(found, key=lambda one: -int(one.findtext("ID", "0")))

    def wait_for_failover(self, host: str, state: str) -> Element:
        """The newest failover of this host as soon as it is in this state."""

        def look() -> Element | None:
            found = self.failovers(host)
            return found[0] if found and found[0].findtext("STATE_STR") == state else None

        return until(look, FAILOVER_LIMIT_S, f"the failover of {host} {state}")

    def starts(self, vm_id: int) -> int:
        """How many times a driver was told to start this VM."""
        return sum(1 for kind in self.orders(vm_id) if kind in ("vmm.deploy", "vmm.restore"))

    def orders(self, vm_id: int) -> list[str]:
        """What drivers were told to do for this VM, from the journal."""
        path = self.rack.directory / "controller" / "holdfast.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
            rows = database.execute("SELECT kind FROM effect WHERE subject = ? ORDER BY oid", [vm_id]).fetchall()
        return [kind for (kind,) in rows if kind.startswith(("vmm.", "tm."))]

    def domains(self, host: str) -> set[str]:
        """The domains that this host's libvirtd knows, running or not."""
        return set(self.virsh(host, "list", "--all", "--name").split())

    def virsh(self, host: str, *words: str) -> str:
        """virsh on this host; what it printed."""
        return self.on(host, "virsh", "-q", "-c", self.rack.host(host).libvirt_uri, *words)

    def files(self) -> set[str]:
        """What is on the system datastores, marks of moves aside: ``0/7/disk.0``."""
        root = self.rack.datastores_path
        paths = (path for path in root.glob("*/**/*") if path.name != MARK)
        leaves = (path for path in paths if not (path.is_dir() and any(path.iterdir())))
        return {name for path in leaves if not (name := str(path.relative_to(root))).startswith(f"{IMAGE_DATASTORE}/")}

    def on(self, host: str, *argv: str) -> str:
        """Runs a program on a host; what it printed."""
        return _run(self.rack.enter_host_argv(host, argv))

    def beside_controller(self, *argv: str) -> str:
        """Runs a program among the controller's mounts; what it printed."""
        as_ourselves = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return _run(["nsenter", "--target", str(self.controller.pid), *as_ourselves, "--mount", "--", *argv])

    def restore(self, host: str) -> None:
        """Gives the host back everything that a test may have taken."""
        self.call("one.host.update", self.host_ids[host], 'FENCE_TIMEOUT="10"', 1)
        self.rack.set_bmc(host, BmcMode.OK)
        if self.rack.host(host).cut:
            self.rack.heal(host)
        if not self.rack.host(host).powered:
            self.rack.power_on(host)
        until(lambda: self.host(host).findtext("STATE") == "2", what=f"{host} in service again")

    def end_all_guests(self) -> None:
        """Ends every VM."""

        def left() -> list[int]:
            return [int(vm.findtext("ID", "-1")) for vm in self.xml("one.vmpool.info", -2, -1, -1, -1).findall("VM")]

        for vm_id in left():
            self.call("one.vm.action", "terminate-hard", vm_id)
        until(lambda: not left(), GUESTS_LIMIT_S, "the end of all guests")


def _is_of(failover: Element, host: str) -> bool:
    return failover.findtext("HOSTNAME") == host


def _run(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{argv}: {done.returncode} {done.stdout} {done.stderr}"
    return done.stdout.strip()
