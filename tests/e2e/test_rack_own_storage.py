"""Real VMs on hosts that share nothing: their files are on one host at a time, copied by ssh, and never in two places.

The guest's ledger judges as everywhere; checksums compare what left a host with what arrived; and after each step every
host and the controller is searched for files that nobody needs.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from holdfast.drivers.tm.home import MARK
from holdfast.sandbox import ledger
from holdfast.sandbox.errors import RackError
from holdfast.sandbox.guest import guest_template, make_ledger_image
from holdfast.sandbox.ledger import Ledger
from holdfast.sandbox.rack import Storage
from tests.e2e.daemon import BIN, until
from tests.e2e.fleet import Fleet
from tests.e2e.stage import Stage, rack_with_controller

pytestmark = pytest.mark.rack
STEP_LIMIT_S = 90.0
RUNNING = ("3", "3")
STOPPED = ("4", "0")
SUSPENDED = ("5", "0")
DONE = ("6", "0")
POWEROFF = ("8", "0")
UNDEPLOYED = ("9", "0")
FRONT = "the controller"
VM = "retry"
BALLAST_BYTES = 96 << 20


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """A rack of two hosts that share nothing, with a controller."""
    with rack_with_controller(hosts=2, storage=Storage.SSH) as built:
        yield built
        built.end_all_guests()


class Nomad:
    """One VM on its way between hosts that share nothing."""

    def __init__(self, stage: Stage, name: str, image_format: str) -> None:
        self.stage, self.name = stage, name
        self.system = datastore(stage, "ssh_system")
        self.image_id = ledger_image(stage, name, image_format)
        stage.call("one.image.persistent", self.image_id, True)
        text = guest_template(name, stage.rack, image_id=self.image_id)
        self.vm_id = int(str(stage.call("one.vm.allocate", text, True)))
        self.boots = 0

    def info(self) -> Element:
        """What the API says."""
        return self.stage.xml("one.vm.info", self.vm_id)

    def act(self, action: str, state: tuple[str, str]) -> None:
        """``one.vm.action``, until the VM is there."""
        self.stage.call("one.vm.action", action, self.vm_id)
        self.reach(state)

    def reach(self, state: tuple[str, str]) -> None:
        """Waits until the VM is in this state."""

        def look() -> bool:
            info = self.info()
            error = info.findtext("USER_TEMPLATE/ERROR", "")
            assert not error, error
            return (info.findtext("STATE", ""), info.findtext("LCM_STATE", "")) == state

        until(look, STEP_LIMIT_S, f"VM {self.vm_id} in state {state}")

    def deploy(self, host: str) -> None:
        """On this host."""
        self.stage.call("one.vm.deploy", self.vm_id, self.stage.host_ids[host], False, -1, "")
        self.reach(RUNNING)

    def migrate(self, host: str, state: tuple[str, str] = RUNNING, kind: int = 0) -> None:
        """To this host; 0 saves, 1 powers off."""
        self.stage.call("one.vm.migrate", self.vm_id, self.stage.host_ids[host], False, False, -1, kind)
        self.reach(state)

    def writes_on(self, host: str, boots: int) -> Ledger:
        """The guest goes on writing on this host, where alone its files are."""
        known = self.stage.ledger(self.name).writers if self.boots == boots else ()
        written = known[-1].acknowledged if known else 0
        self.boots = boots
        read = self.stage.wait_for_writer(self.name, boots, written + 5)
        assert read.ok, read.to_json()
        assert self.stage.vm_at(self.vm_id)[2][-1] == host
        assert set(self.places()) == {host}
        return read

    def is_in_its_image(self) -> Ledger:
        """What the guest wrote, read from the persistent image after the VM's end."""
        wait_for_image(self.stage, self.image_id)
        source = self.stage.xml("one.image.info", self.image_id).findtext("SOURCE", "")
        return ledger.read(Path(source), [self.stage.rack.console(self.name)])

    def places(self) -> dict[str, set[str]]:
        """Every place that has files of the VM's datastore, with their names."""
        roots = {host: self.stage.rack.host_datastores(host) for host in self.stage.host_ids}
        found = {place: files(root / str(self.system)) for place, root in {**roots, FRONT: self.front}.items()}
        return {place: names for place, names in found.items() if names}

    @property
    def front(self) -> Path:
        """The controller's own datastores."""
        return self.stage.rack.datastores_path

    def checksums(self, host: str) -> dict[str, str]:
        """Of all its files on a host."""
        root = self.stage.rack.host_datastores(host) / str(self.system)
        return {name: checksum(root / name) for name in files(root) if not (root / name).is_dir()}

    def named(self, *names: str) -> set[str]:
        """These files of the VM, as ``places`` names them."""
        return {f"{self.vm_id}/{name}" for name in names}


class Moving:
    """A VM with a second disk that takes a while to copy, which is moved although something is broken."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        ballast = stage.rack.directory / "ballast.image"
        ballast.write_bytes(os.urandom(BALLAST_BYTES))
        self.ballast = register_image(stage, "ballast", ballast, "raw")
        self.checksum = checksum(ballast)
        ballast.unlink()
        self.fleet = Fleet(stage, "moving", (VM,), f'DISK = [ IMAGE_ID = "{self.ballast}", DEV_PREFIX = "vd" ]')
        self.system = datastore(stage, "ssh_system")
        self.number = self.fleet.ids[VM]

    def start(self, host: str) -> None:
        """It runs and writes here."""
        self.fleet.deploy(host)
        self.reach("RUNNING")
        self.fleet.write({VM: 1})

    def reach(self, state: str) -> None:
        """It is there."""
        self.fleet.reach(state, VM)

    def fails(self, origin: str, target: str, said: str, act: Callable[[], None] = lambda: None) -> None:
        """A move that is broken, by ``act`` if by nothing yet, fails, says why, and leaves all that it was to move."""
        self.fleet.migrate(target)
        act()
        self.reach("PROLOG_MIGRATE_FAILURE")
        assert re.search(said, self.fleet.error(VM)), self.fleet.error(VM)
        assert {"disk.0", "disk.1", "checkpoint"} == self.names(origin)
        assert checksum(self.path(origin) / "disk.1") == self.checksum

    def goes_on_line_by_line(self, answers: str) -> subprocess.CompletedProcess[str]:
        """``onevm recover --retry --interactive`` with these answers."""
        argv = [str(BIN / "onevm"), "recover", "--retry", "--interactive", str(self.number)]
        environment = {**os.environ, **self.stage.controller.environment}
        return subprocess.run(
            argv, env=environment, input=answers, capture_output=True, text=True, timeout=STEP_LIMIT_S, check=False
        )

    def recovers(self, origin: str, target: str, operation: str = "retry") -> None:
        """What was broken is repaired: the same boot goes on at the target, and nothing is left of any attempt."""
        self.fleet.recover(operation, VM)
        self.reach("RUNNING")
        self.fleet.write({VM: 1})
        assert self.names(target) == {"disk.0", "disk.1"}
        assert checksum(self.path(target) / "disk.1") == self.checksum
        assert files(self.stage.rack.host_datastores(origin) / str(self.system)) == set()
        assert files(self.stage.rack.datastores_path / str(self.system)) == set()

    def path(self, host: str) -> Path:
        """Its directory on a host."""
        return self.stage.rack.host_datastores(host) / str(self.system) / str(self.number)

    def names(self, host: str) -> set[str]:
        """What it has on a host."""
        return files(self.path(host))


def datastore(stage: Stage, name: str) -> int:
    """The ID of this datastore."""
    found = stage.xml("one.datastorepool.info").findall("DATASTORE")
    return next(int(each.findtext("ID", "")) for each in found if each.findtext("NAME") == name)


def ledger_image(stage: Stage, name: str, image_format: str) -> int:
    """A new image for one guest, in the images of hosts that share nothing."""
    path = stage.rack.directory / f"{name}.image"
    make_ledger_image(path, 16, image_format)
    image_id = register_image(stage, name, path, image_format)
    path.unlink()
    return image_id


def register_image(stage: Stage, name: str, path: Path, image_format: str) -> int:
    """A copy of this file is an image, and ready."""
    text = f'NAME="{name}"\nPATH="{path}"\nTYPE="DATABLOCK"\nFORMAT="{image_format}"'
    image_id = int(str(stage.call("one.image.allocate", text, datastore(stage, "ssh_images"))))
    wait_for_image(stage, image_id)
    return image_id


def wait_for_image(stage: Stage, image_id: int) -> None:
    """It is READY: nobody uses it, and its file is whole."""
    until(lambda: stage.xml("one.image.info", image_id).findtext("STATE") == "1", what=f"image {image_id} ready")


def files(root: Path) -> set[str]:
    """All files and links below, and folders that hold nothing, without the marks of how a directory came there."""
    inner = {path.parent for path in root.glob("**/*")}
    return {str(path.relative_to(root)) for path in root.glob("**/*") if path not in inner and path.name != MARK}


def checksum(path: Path) -> str:
    """Of the whole file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_vm_lives_on_hosts_that_share_nothing(stage: Stage) -> None:
    vm = Nomad(stage, "nomad", "qcow2")
    vm.deploy("host1")
    vm.writes_on("host1", boots=1)
    assert vm.places() == {"host1": vm.named("disk.0", "disk.0.snap/0", "disk.0.snap/disk.0.snap")}
    with pytest.raises(RackError, match=r"cannot be migrated live: datastore .* is not shared"):
        stage.call("one.vm.migrate", vm.vm_id, stage.host_ids["host2"], True, False, -1, 0)
    layers = snapshotted_with_a_second_disk(vm)

    vm.migrate("host2")
    vm.writes_on("host2", boots=1)
    assert vm.places() == {"host2": {*layers, *vm.named("disk.1")}}, "the checkpoint is gone, too"
    stage.call("one.vm.detach", vm.vm_id, 1)
    vm.reach(RUNNING)
    assert vm.places() == {"host2": layers}
    vm.act("suspend", SUSPENDED)
    assert vm.places() == {"host2": {*layers, *vm.named("checkpoint")}}
    vm.migrate("host1", SUSPENDED)
    assert vm.places() == {"host1": {*layers, *vm.named("checkpoint")}}
    vm.act("resume", RUNNING)
    vm.writes_on("host1", boots=1)

    vm.act("stop", STOPPED)
    assert vm.places() == {FRONT: {*layers, *vm.named("checkpoint")}}
    vm.deploy("host2")
    vm.writes_on("host2", boots=1)
    vm.migrate("host1", kind=1)
    vm.writes_on("host1", boots=2)
    vm.act("undeploy", UNDEPLOYED)
    assert vm.places() == {FRONT: layers}
    vm.stage.call("one.vm.deploy", vm.vm_id, stage.host_ids["host2"], False, -1, "")
    vm.reach(RUNNING)
    vm.act("poweroff-hard", POWEROFF)
    left = vm.checksums("host2")
    assert set(left) == layers - vm.named("disk.0.snap/disk.0.snap")
    vm.migrate("host1", POWEROFF)
    assert vm.checksums("host1") == left
    vm.act("terminate", DONE)
    assert vm.places() == {}
    kept = vm.is_in_its_image()
    assert kept.ok, kept.to_json()


def snapshotted_with_a_second_disk(vm: Nomad) -> set[str]:
    """The running guest's disk gets a snapshot, and the VM another disk; the names of the first one's layers."""
    vm.stage.call("one.vm.snapshotcreate", vm.vm_id, "all of it")
    vm.reach(RUNNING)
    vm.stage.call("one.vm.snapshotdelete", vm.vm_id, 0)
    vm.reach(RUNNING)
    vm.stage.call("one.vm.disksnapshotcreate", vm.vm_id, 0, "before")
    vm.reach(RUNNING)
    layers = vm.named("disk.0", "disk.0.snap/0", "disk.0.snap/1", "disk.0.snap/disk.0.snap")
    vm.writes_on("host1", boots=1)
    assert vm.places() == {"host1": layers}
    vm.stage.call("one.vm.attach", vm.vm_id, 'DISK = [ TYPE = "fs", SIZE = "8", FORMAT = "raw", DEV_PREFIX = "vd" ]')
    vm.reach(RUNNING)
    assert vm.places() == {"host1": {*layers, *vm.named("disk.1")}}
    return layers


def test_moves_that_fail_lose_nothing_and_go_on_when_the_fault_is_repaired(stage: Stage) -> None:
    vm = Moving(stage)
    image = Path(stage.xml("one.image.info", vm.ballast).findtext("SOURCE", ""))
    aside = image.rename(image.with_name("aside"))
    vm.fleet.deploy("host1")
    vm.reach("PROLOG_FAILURE")
    assert f"image {image} does not exist" in vm.fleet.error(VM)
    aside.rename(image)
    vm.fleet.recover("retry", VM)
    vm.reach("RUNNING")
    vm.fleet.write({VM: 1})

    folder = str(stage.rack.datastores_path / str(vm.system))
    stage.on("host2", "mkdir", "-p", folder)
    stage.on("host2", "mount", "-t", "tmpfs", "-o", "size=16m,mode=777", "small", folder)
    vm.fails("host1", "host2", "no space is left in .*: [0-9]+ MB are needed, [0-9]+ MB are free")
    stage.on("host2", "umount", folder)
    vm.recovers("host1", "host2")

    locked = stage.rack.host_datastores("host1") / str(vm.system)
    locked.chmod(0o500)
    vm.fails("host2", "host1", "host host1: .*Permission denied")
    broken = vm.goes_on_line_by_line("r\n" * 9)
    assert re.search("LOG E  .*host host1: .*Permission denied", broken.stdout), broken.stdout
    locked.chmod(0o700)
    repaired = vm.goes_on_line_by_line("r\n" * 9)
    assert (repaired.returncode, "FAILURE" in repaired.stdout) == (0, False), repaired
    vm.recovers("host2", "host1", "success")

    stage.rack.switch_ssh("host2", on=False)
    vm.fails("host1", "host2", "host host2.*Connection refused")
    stage.rack.switch_ssh("host2", on=True)
    vm.recovers("host1", "host2")

    vm.fails("host2", "host1", "tar failed with exit code -9", lambda: kill_tar(stage, "host1"))
    vm.recovers("host2", "host1")

    vm.fails("host1", "host2", "host host2", lambda: lose_while_copying(stage, "host2"))
    stage.rack.power_on("host2")
    until(lambda: stage.host("host2").findtext("STATE") == "2", what="host2 in service again")
    vm.recovers("host1", "host2")
    vm.fleet.act("terminate-hard")
    vm.reach("DONE")
    assert not vm.path("host2").exists()


def kill_tar(stage: Stage, host: str) -> None:
    """SIGKILL of the program that writes the copy."""
    signal_tar(stage, host, "KILL")


def lose_while_copying(stage: Stage, host: str) -> None:
    """The host that a copy goes to loses its power; until then the copy stands still, lest it end before."""
    signal_tar(stage, host, "STOP")
    stage.rack.power_off(host)


def signal_tar(stage: Stage, host: str, name: str) -> None:
    """As soon as a copy is being written on this host."""
    send = stage.rack.enter_host_argv(host, ["pkill", f"-{name}", "-x", "tar"])
    until(lambda: subprocess.run(send, capture_output=True, timeout=30, check=False).returncode == 0, what="a copy")
