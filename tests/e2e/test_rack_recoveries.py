"""Starts, transfers and ends of real VMs fail for real, and ``onevm recover`` gets each VM out, by every operation.

In each test the VMs of a :class:`Fleet` fail in the same way, one for each operation, and every one ends where the
reference says.  Where a guest runs again its ledger is the judge; what no VM needs any more (domains, capacity, files)
must be gone.  One rack serves all tests; each puts back what it broke.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from holdfast.sandbox.commands import SEARCH_PATH
from tests.e2e.daemon import until
from tests.e2e.fleet import Fleet, unchanged
from tests.e2e.stage import Stage, rack_with_controller

pytestmark = pytest.mark.rack
QEMU = str(shutil.which("qemu-system-x86_64", path=SEARCH_PATH))
PARTS = ("success", "retry", "delete", "recreate", "delete-db")
DOOMED = ("delete", "recreate", "delete-db")
"""Their disks are given up."""
BALLAST_BYTES = 4 << 20


@pytest.fixture(scope="module")
def built() -> Iterator[Stage]:
    """A rack of three hosts with a controller."""
    with rack_with_controller() as stage:
        yield stage


@pytest.fixture
def stage(built: Stage) -> Iterator[Stage]:
    """The rack, empty again after each test."""
    yield built
    built.end_all_guests()


@contextmanager
def broken_hypervisor(stage: Stage, host: str) -> Iterator[None]:
    """No domain can be started on this host: its QEMU is no program any more."""
    stage.on(host, "mount", "--bind", "/dev/null", QEMU)
    try:
        yield
    finally:
        stage.on(host, "umount", QEMU)


def nothing(fleet: Fleet) -> None:
    """The VMs have never run."""


def undeployed(fleet: Fleet) -> None:
    """The VMs have run; their files are on the front-end."""
    running(fleet)
    fleet.act("undeploy-hard")
    fleet.reach("UNDEPLOYED")


def stopped(fleet: Fleet) -> None:
    """As undeployed, with the guests' memory."""
    running(fleet)
    fleet.act("stop")
    fleet.reach("STOPPED")


def running(fleet: Fleet) -> None:
    """The VMs run on the first host; those whose disks go on have written, the others have not come far."""
    writers = [part for part in fleet.ids if part not in DOOMED]
    fleet.deploy("host1", *writers)
    fleet.write(dict.fromkeys(writers, 1))
    fleet.deploy("host1", *DOOMED)
    fleet.reach("RUNNING")


def create(fleet: Fleet, part: str, host: str) -> None:
    """An operator starts the domain with the deployment file that the driver had."""
    folder = fleet.stage.rack.directory / "controller" / "vms" / str(fleet.ids[part])
    newest = max(folder.glob("deployment.*"), key=lambda path: int(path.suffix[1:]))
    fleet.stage.virsh(host, "create", str(newest))


def restore(fleet: Fleet, part: str, host: str) -> None:
    """An operator restores the domain from its checkpoint, which then fits no more."""
    checkpoint = fleet.directory(part) / "checkpoint"
    fleet.stage.virsh(host, "restore", str(checkpoint))
    checkpoint.unlink()


@dataclass(frozen=True)
class Start:
    """A way to start a VM: what comes before, how it is ordered, and how an operator does it by hand."""

    failure: str
    before: Callable[[Fleet], None]
    order: Callable[[Fleet], None]
    by_hand: Callable[[Fleet, str, str], None]
    boots: int = 1
    moved: Mapping[str, str] = field(default_factory=dict)
    """Parts that ``onevm migrate`` takes to another host instead."""

    def __str__(self) -> str:
        return self.failure


STARTS = (
    Start("BOOT_FAILURE", nothing, lambda fleet: fleet.deploy("host2"), create, moved={"migrate": "host3"}),
    Start("BOOT_UNDEPLOY_FAILURE", undeployed, lambda fleet: fleet.deploy("host2"), create, boots=2),
    Start("BOOT_STOPPED_FAILURE", stopped, lambda fleet: fleet.deploy("host2"), restore),
    Start("BOOT_MIGRATE_FAILURE", running, lambda fleet: fleet.migrate("host2"), restore, moved={"migrate": "host3"}),
)


@pytest.mark.parametrize("start", STARTS, ids=str)
def test_a_vm_that_could_not_be_started_is_recovered_in_every_way(stage: Stage, start: Start) -> None:
    fleet = Fleet(stage, start.failure.split("_")[1].lower(), (*PARTS, "seen", *start.moved))
    start.before(fleet)
    with broken_hypervisor(stage, "host2"):
        start.order(fleet)
        fleet.reach(start.failure)
        assert all("emulator" in fleet.error(part) or QEMU in fleet.error(part) for part in fleet.ids)
        fleet.check_host("host2", set(fleet.ids.values()), running=False)
        unchanged(fleet.states, lambda: fleet.recover_all("failure"))
        fleet.fails_again("retry", start.failure)
        fleet.recover("delete")
        fleet.forget()
        for part, host in start.moved.items():
            fleet.migrate(host, part)
        fleet.reach("DONE", "delete")
    fleet.sweep()
    help_by_hand(stage, fleet, start)
    fleet.forget_console("recreate")
    fleet.recover("retry")
    fleet.recover("recreate")
    again = {**dict.fromkeys(("success", "seen", "retry"), "host2"), **start.moved}
    fleet.reach("RUNNING", *again, "recreate")
    assert {part: fleet.hosts(part)[-1] for part in again} == again
    fleet.check_settled({**dict.fromkeys(again, start.boots), "recreate": 1})


def help_by_hand(stage: Stage, fleet: Fleet, start: Start) -> None:
    """An operator starts two VMs while nobody watches: one is recovered by his word, the other when it is seen."""
    with stage.without_agent("host2"):
        with stage.without_controller():
            start.by_hand(fleet, "success", "host2")
            start.by_hand(fleet, "seen", "host2")
        assert fleet.state("success") == start.failure
        fleet.recover("success")
        assert (fleet.state("success"), fleet.state("seen")) == ("RUNNING", start.failure)
    fleet.reach("RUNNING", "seen")


def test_a_vm_whose_image_was_missing_is_recovered_in_every_way(stage: Stage) -> None:
    fleet = Fleet(stage, "missing", PARTS)
    image = image_file(stage)
    aside = image.rename(image.with_name("aside"))
    try:
        fleet.deploy("host1")
        fleet.reach("PROLOG_FAILURE")
        assert all(f"image {image} does not exist" in fleet.error(part) for part in fleet.ids)
        fleet.check_host("host1", set(fleet.ids.values()), running=False)
        unchanged(fleet.states, lambda: fleet.recover_all("failure"))
        fleet.fails_again("retry", "PROLOG_FAILURE")
        fleet.recover("delete")
        fleet.forget()
        fleet.reach("DONE", "delete")
        assert stage.files() == set()
        give_disk(aside, fleet.directory("success") / "disk.0")
        fleet.recover("success")
    finally:
        aside.rename(image)
    fleet.recover("retry")
    fleet.recover("recreate")
    fleet.reach("RUNNING", "success", "retry", "recreate")
    fleet.check_settled(dict.fromkeys(("success", "retry", "recreate"), 1))


def image_file(stage: Stage, name: str = "ledger") -> Path:
    """Where this image is."""
    images = stage.xml("one.imagepool.info", -2, -1, -1).findall("IMAGE")
    return next(Path(image.findtext("SOURCE", "")) for image in images if image.findtext("NAME") == name)


def give_disk(image: Path, disk: Path) -> None:
    """An operator makes a disk by hand."""
    disk.parent.mkdir(exist_ok=True)
    shutil.copyfile(image, disk)


def test_a_vm_whose_datastore_was_full_is_recovered_in_every_way(stage: Stage) -> None:
    ballast_id = add_ballast(stage)
    fleet = Fleet(stage, "full", PARTS, f'DISK = [ IMAGE_ID = "{ballast_id}", DEV_PREFIX = "vd" ]')
    ds_id = add_datastore(stage, "small")
    folder = stage.rack.datastores_path / str(ds_id)
    folder.mkdir(exist_ok=True)
    with mounted(stage, folder, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        fleet.deploy("host1", ds_id=ds_id)
        fleet.reach("PROLOG_FAILURE")
        assert all(f"no space is left in {fleet.directory(part, ds_id)}" in fleet.error(part) for part in fleet.ids)
        fleet.check_host("host1", set(fleet.ids.values()), running=False)
        unchanged(fleet.states, lambda: fleet.recover_all("failure"))
        fleet.fails_again("retry", "PROLOG_FAILURE")
        fleet.recover("delete")
        fleet.forget()
        fleet.reach("DONE", "delete")
        left = {f"{fleet.ids[part]}/disk.0" for part in PARTS if part != "delete"}
        assert set(stage.beside_controller("find", str(folder), "-type", "f", "-printf", "%P\n").split()) == left
    for number, name in enumerate(("ledger", "ballast")):
        give_disk(image_file(stage, name), fleet.directory("success", ds_id) / f"disk.{number}")
    fleet.recover("success")
    fleet.recover("retry")
    fleet.recover("recreate")
    fleet.reach("RUNNING", "success", "retry", "recreate")
    places = {f"{place}/{fleet.ids[part]}" for part, place in (("success", ds_id), ("retry", ds_id), ("recreate", 0))}
    fleet.check_settled(
        dict.fromkeys(("success", "retry", "recreate"), 1),
        {f"{place}/{disk}" for place in places for disk in ("disk.0", "disk.1")},
    )


def add_ballast(stage: Stage) -> int:
    """An image whose data takes room."""
    path = stage.rack.directory / "ballast.raw"
    path.write_bytes(os.urandom(BALLAST_BYTES))
    text = f'NAME="ballast"\nPATH="{path}"\nTYPE="DATABLOCK"\nFORMAT="raw"'
    image_id = int(str(stage.call("one.image.allocate", text, 1)))
    until(lambda: stage.xml("one.image.info", image_id).findtext("STATE") == "1", what="the image ready")
    return image_id


def add_datastore(stage: Stage, name: str) -> int:
    """Another system datastore."""
    text = f'NAME="{name}"\nTYPE="SYSTEM_DS"\nTM_MAD="shared"'
    return int(str(stage.call("one.datastore.allocate", text, -1)))


@contextmanager
def mounted(stage: Stage, place: Path, *words: str) -> Iterator[None]:
    """Something is mounted there, as the controller sees it and nobody else."""
    stage.beside_controller("mount", *words, str(place))
    try:
        yield
    finally:
        stage.beside_controller("umount", str(place))


ON_THE_WAY = (*PARTS, "failure", "poweroff")


def test_a_vm_whose_files_could_not_be_moved_is_recovered_in_every_way(stage: Stage) -> None:
    """The one that moves through a power-off has no checkpoint: on its way back it boots."""
    fleet = Fleet(stage, "moved", ON_THE_WAY)
    ds_id = add_datastore(stage, "other")
    folder = stage.rack.datastores_path / str(ds_id)
    running(fleet)
    with not_a_directory(folder):
        fleet.migrate("host2", *(part for part in fleet.ids if part != "poweroff"), ds_id=ds_id)
        fleet.migrate("host2", "poweroff", ds_id=ds_id, kind=1)
        fleet.reach("PROLOG_MIGRATE_FAILURE")
        assert all(str(folder) in fleet.error(part) for part in fleet.ids)
        fleet.check_host("host1", set(), running=False)
        fleet.check_host("host2", set(fleet.ids.values()), running=False)
        fleet.fails_again("retry", "PROLOG_MIGRATE_FAILURE")
        fleet.recover("failure", "failure", "poweroff")
        fleet.recover("delete")
        fleet.forget()
        fleet.reach("RUNNING", "failure", "poweroff")
        fleet.reach("DONE", "delete")
    folder.mkdir()
    fleet.sweep()
    fleet.directory("success").rename(fleet.directory("success", ds_id))
    fleet.forget_console("recreate")
    for operation in ("success", "retry", "recreate"):
        fleet.recover(operation)
    run_again = {"success": 1, "failure": 1, "poweroff": 2, "retry": 1, "recreate": 1}
    fleet.reach("RUNNING", *run_again)
    assert [fleet.hosts(part) for part in ("failure", "poweroff")] == [["host1", "host2", "host1"]] * 2
    assert [fleet.hosts(part) for part in ("success", "retry")] == [["host1", "host2"]] * 2
    places = {part: ds_id if part in ("success", "retry") else 0 for part in run_again}
    fleet.check_settled(run_again, {f"{place}/{fleet.ids[part]}/disk.0" for part, place in places.items()})


@contextmanager
def not_a_directory(folder: Path) -> Iterator[None]:
    """Somebody has put a file in the place of a datastore."""
    if folder.exists():
        folder.rmdir()
    folder.write_bytes(b"")
    try:
        yield
    finally:
        folder.unlink()


def test_a_vm_whose_files_could_not_be_removed_is_recovered_in_every_way(stage: Stage) -> None:
    fleet = Fleet(stage, "busy", PARTS)
    fleet.deploy("host1")
    fleet.reach("RUNNING")
    with ExitStack() as mounts:
        for part in fleet.ids:
            folder = fleet.directory(part)
            mounts.enter_context(mounted(stage, folder, "--bind", str(folder)))
        fleet.act("terminate-hard")
        fleet.reach("EPILOG_FAILURE")
        assert all("Device or resource busy" in fleet.error(part) for part in fleet.ids)
        fleet.check_host("host1", set(fleet.ids.values()), running=False)
        unchanged(fleet.states, lambda: fleet.recover_all("failure"))
        fleet.fails_again("retry", "EPILOG_FAILURE")
        fleet.forget()
    fleet.sweep("success")
    fleet.sweep()
    fleet.forget_console("recreate")
    for operation in ("success", "retry", "delete", "recreate"):
        fleet.recover(operation)
    fleet.reach("DONE", "success", "retry", "delete")
    fleet.reach("RUNNING", "recreate")
    fleet.check_settled({"recreate": 1})
