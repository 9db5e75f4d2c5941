"""Transfer files, byte for byte: what lies in ``vms/<id>`` after each step of a VM's life, on every kind of storage.

The VM has an image that is cloned (disk 0), a persistent one (1), a swap disk (2) and an empty file system (3); it
boots a kernel with an initrd. In the tables, ``{i}`` is the transfer driver of its images, ``{s}`` that of its system
datastore; ``{m}`` is the suffix that the lines of images have in a mixed mode, and ``{k}`` the suffix of volatile
disks, to which it sticks where all disks go together. A row is: what the user does, the file that this leaves, its
lines. Moves to another datastore fail, so that there is something to clean up in both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.drivers.tm.driver import TmDriver
from holdfast.drivers.tm.lines import Line
from holdfast.drivers.tm.registry import Registry
from holdfast.drivers.tm.tools import Clockwork
from holdfast.engine import commands as c
from holdfast.engine.commands import Command
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import EffectKind
from holdfast.model.vm import Vm
from tests.unit.engine.rig import Rig

ROOT = Path("/var/lib/one/datastores")
ELSEWHERE = 102
"""Another system datastore of the same driver."""
MORE = 2
"""An image that the VM does not have yet."""
Does = Callable[[int], Command]


@dataclass(frozen=True)
class Storage:
    """Where the images and the VM are; ``mode`` is the suffix of a mixed mode."""

    images: str
    system: str
    mode: str = ""


STORAGES = [
    Storage("shared", "shared"),
    Storage("qcow2", "qcow2"),
    Storage("ssh", "ssh"),
    Storage("local", "local"),
    Storage("dummy", "dummy"),
    Storage("qcow2", "ssh", ".ssh"),
    Storage("shared", "ssh", ".ssh"),
]


SEEN_BY_ALL = ("shared", "qcow2", "dummy")
"""Drivers of system datastores whose files do not go with a host that dies."""


@dataclass(frozen=True)
class Row:
    """What the user does, and the file that the last of it leaves; when it ``fails``, its transfer does."""

    does: list[Does]
    file: str
    lines: str
    fails: bool = False


def act(name: str) -> Does:
    return lambda vm: c.VmAction(vm, name)


def recover(operation: int) -> Does:
    return lambda vm: c.RecoverVm(vm, operation)


def to_host(hid: int) -> Does:
    return lambda vm: c.MigrateVm(vm, hid)


DEPLOY: Does = lambda vm: c.DeployVm(vm, 0)  # noqa: E731

PROLOG = """\
CLONE{m} {i} front:{a} host1:{sd}/disk.0 {vm} {ids}
LN{m} {i} front:{b} host1:{sd}/disk.1 {vm} {ids}
MKSWAP {s} 64 host1:{sd}/disk.2 {vm} {sds}
MKIMAGE {s} 10 {f} host1:{sd}/disk.3 {vm} {sds}
CLONE{m} {i} front:{d} host1:{sd}/kernel {vm} {fds}
CLONE{m} {i} front:{e} host1:{sd}/initrd {vm} {fds}
"""
STOP = """\
MV{m} {i} host1:{sd}/disk.0 front:{sd}/disk.0 {vm} {ids}
MV{m} {i} host1:{sd}/disk.1 front:{sd}/disk.1 {vm} {ids}
MV{k} {s} host1:{sd}/disk.2 front:{sd}/disk.2 {vm} {sds}
MV{k} {s} host1:{sd}/disk.3 front:{sd}/disk.3 {vm} {sds}
MV {s} host1:{sd} front:{sd} {vm} {sds}
"""
RESUME = """\
MV{m} {i} front:{sd}/disk.0 host1:{sd}/disk.0 {vm} {ids}
MV{m} {i} front:{sd}/disk.1 host1:{sd}/disk.1 {vm} {ids}
MV{k} {s} front:{sd}/disk.2 host1:{sd}/disk.2 {vm} {sds}
MV{k} {s} front:{sd}/disk.3 host1:{sd}/disk.3 {vm} {sds}
MV {s} front:{sd} host1:{sd} {vm} {sds}
"""
MIGRATE = """\
MV{m} {i} host1:{sd}/disk.0 host2:{sd}/disk.0 {vm} {ids}
MV{m} {i} host1:{sd}/disk.1 host2:{sd}/disk.1 {vm} {ids}
MV{k} {s} host1:{sd}/disk.2 host2:{sd}/disk.2 {vm} {sds}
MV{k} {s} host1:{sd}/disk.3 host2:{sd}/disk.3 {vm} {sds}
MV {s} host1:{sd} host2:{sd} {vm} {sds}
"""
EPILOG = """\
DELETE{m} {i} host1:{sd}/disk.0 {vm} {ids}
MVDS{m} {i} host1:{sd}/disk.1 {b} {vm} {ids}
DELETE {s} host1:{sd}/disk.2 {vm} {sds}
DELETE {s} host1:{sd}/disk.3 {vm} {sds}
DELETE {s} host1:{sd} {vm} {sds}
"""
DELETE = """\
DELETE{m} {i} host1:{sd}/disk.0 {vm} {ids}
DELETE{m} {i} host1:{sd}/disk.1 {vm} {ids}
DELETE{k} {s} host1:{sd}/disk.2 {vm} {sds}
DELETE{k} {s} host1:{sd}/disk.3 {vm} {sds}
DELETE {s} host1:{sd} {vm} {sds}
"""
MOVE = """\
MV{m} {i} host1:{sd}/disk.0 host2:{sd2}/disk.0 {vm} {ids}
MV{m} {i} host1:{sd}/disk.1 host2:{sd2}/disk.1 {vm} {ids}
MV{k} {s} host1:{sd}/disk.2 host2:{sd2}/disk.2 {vm} {sds2}
MV{k} {s} host1:{sd}/disk.3 host2:{sd2}/disk.3 {vm} {sds2}
MV {s} host1:{sd} host2:{sd2} {vm} {sds2}
"""
DELETE_THERE = DELETE.replace("host1", "host2").replace("{sd}", "{sd2}").replace("{sds}", "{sds2}")

LIVES: dict[str, list[Row]] = {
    "deployed and terminated": [
        Row([DEPLOY], "transfer.0.prolog", PROLOG),
        Row([act("terminate")], "transfer.0.epilog", EPILOG),
    ],
    "stopped, resumed, stopped and terminated": [
        Row([DEPLOY], "transfer.0.prolog", PROLOG),
        Row([act("stop")], "transfer.0.stop", STOP),
        Row([act("resume")], "transfer.1.resume", RESUME),
        Row([act("stop")], "transfer.1.stop", STOP),
        Row([act("terminate")], "transfer.1.epilog", EPILOG.replace("host1:", "front:")),
    ],
    "undeployed and deployed": [
        Row([DEPLOY], "transfer.0.prolog", PROLOG),
        Row([act("undeploy")], "transfer.0.stop", STOP),
        Row([DEPLOY], "transfer.1.resume", RESUME),
    ],
    "migrated while it is off": [
        Row([DEPLOY], "transfer.0.prolog", PROLOG),
        Row([act("poweroff"), to_host(1)], "transfer.1.migrate", MIGRATE),
        Row([act("terminate")], "transfer.1.epilog", EPILOG.replace("host1", "host2")),
    ],
    "migrated through a checkpoint": [
        Row([DEPLOY], "transfer.0.prolog", PROLOG),
        Row([to_host(1)], "transfer.1.migrate", MIGRATE),
    ],
    "deleted": [
        Row([DEPLOY], "transfer.0.prolog", PROLOG),
        Row([recover(3)], "transfer.0.delete", DELETE),
    ],
    "recreated": [
        Row([DEPLOY], "transfer.0.prolog", PROLOG),
        Row([recover(4)], "transfer.0.delete", DELETE),
        Row([], "transfer.1.prolog", PROLOG),
    ],
    "deleted while it moves to another datastore": [
        Row([DEPLOY], "transfer.0.prolog", PROLOG),
        Row([act("poweroff"), lambda vm: c.MigrateVm(vm, 1, ds_id=ELSEWHERE)], "transfer.1.migrate", MOVE, fails=True),
        Row([recover(3)], "transfer.1.delete_both", DELETE_THERE + DELETE),
    ],
    "given disks and snapshots while it is off": [
        Row([DEPLOY], "transfer.0.prolog", PROLOG),
        Row(
            [act("poweroff"), lambda vm: c.AttachDisk(vm, f"DISK=[IMAGE_ID={MORE}]")],
            "transfer.1.prolog_attach",
            "CLONE.{s} {i} front:{c} host1:{sd}/disk.4 {vm} {ids}\n",
        ),
        Row(
            [lambda vm: c.AttachDisk(vm, "DISK=[TYPE=swap, SIZE=5]")],
            "transfer.2.prolog_attach",
            "MKSWAP {s} 5 host1:{sd}/disk.5 {vm} {sds}\n",
        ),
        Row([lambda vm: c.DetachDisk(vm, 5)], "transfer.3.epilog_detach", "DELETE {s} host1:{sd}/disk.5 {vm} {sds}\n"),
        Row(
            [lambda vm: c.DetachDisk(vm, 4)],
            "transfer.4.epilog_detach",
            "DELETE.{s} {i} host1:{sd}/disk.4 {vm} {ids}\n",
        ),
        Row(
            [lambda vm: c.CreateDiskSnapshot(vm, 0)],
            "transfer.5.disk_snapshot",
            "SNAP_CREATE{m} {i} host1:{sd}/disk.0 0 {vm} {ids}\n",
        ),
        Row(
            [lambda vm: c.CreateDiskSnapshot(vm, 0)],
            "transfer.6.disk_snapshot",
            "SNAP_CREATE{m} {i} host1:{sd}/disk.0 1 {vm} {ids}\n",
        ),
        Row(
            [lambda vm: c.RevertDiskSnapshot(vm, 0, 0)],
            "transfer.7.disk_snapshot",
            "SNAP_REVERT{m} {i} host1:{sd}/disk.0 0 {vm} {ids}\n",
        ),
        Row(
            [lambda vm: c.DeleteDiskSnapshot(vm, 0, 1)],
            "transfer.8.disk_snapshot",
            "SNAP_DELETE{m} {i} host1:{sd}/disk.0 1 {vm} {ids}\n",
        ),
        Row(
            [lambda vm: c.ResizeDisk(vm, 1, "2048")],
            "transfer.9.disk_resize",
            "RESIZE{m} {i} host1:{sd}/disk.1 2048 {vm} {ids}\n",
        ),
        Row(
            [lambda vm: c.ResizeDisk(vm, 3, "20")],
            "transfer.10.disk_resize",
            "RESIZE {s} host1:{sd}/disk.3 20 {vm} {sds}\n",
        ),
        Row(
            [lambda vm: c.DetachDisk(vm, 1)],
            "transfer.11.epilog_detach",
            "MVDS{m} {i} host1:{sd}/disk.1 {b} {vm} {ids}\n",
        ),
    ],
}


class Nothing:
    """A transfer driver that does nothing, and is content."""

    async def perform(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        """Nothing."""


class Life:
    """A VM on one kind of storage; the engine and the TM driver are the real ones, only no file is moved."""

    def __init__(self, storage: Storage, vms_path: Path) -> None:
        self.rig = Rig(hosts=2)
        self.driver = TmDriver(ROOT, vms_path, "front", lambda: self.rig.now)
        self.rig.call(c.EnableDatastore(0, False))
        self.system = self._datastore(f"TYPE=SYSTEM_DS\nTM_MAD={storage.system}")
        images = self._datastore(f"TYPE=IMAGE_DS\nDS_MAD=fs\nTM_MAD={storage.images}")
        assert self._datastore(f"TYPE=SYSTEM_DS\nTM_MAD={storage.system}") == ELSEWHERE
        cloned, kept, more = (self._image(images, name) for name in ("cloned", "kept", "more"))
        assert more == MORE
        files = self._datastore(f"TYPE=FILE_DS\nDS_MAD=fs\nTM_MAD={storage.images}")
        kernel, initrd = (self._image(files, name, kind) for name, kind in (("linux", "KERNEL"), ("initrd", "RAMDISK")))
        self.rig.call(c.PersistImage(kept, True))
        disks = "".join(
            f"DISK=[{disk}]\n"
            for disk in (f"IMAGE_ID={cloned}", f"IMAGE_ID={kept}", "TYPE=swap, SIZE=64", "TYPE=fs, SIZE=10")
        )
        boots = f'OS=[KERNEL_DS="$FILE[IMAGE_ID={kernel}]", INITRD_DS="$FILE[IMAGE_ID={initrd}]"]'
        self.vm = self.rig.call(c.AllocateVm(f"CPU=0.1\nMEMORY=64\n{disks}{boots}", hold=True))
        self.directory = vms_path / str(self.vm)
        sources = (self.rig.engine.state.images[oid].source for oid in (cloned, kept, more, kernel, initrd))
        self.words = {
            **{"i": storage.images, "s": storage.system, "m": storage.mode, "k": storage.mode},
            **dict(zip("abcde", sources, strict=True)),
            "f": "qcow2" if storage.system == "qcow2" else "raw",
            "sd": f"{ROOT}/{self.system}/{self.vm}",
            "sd2": f"{ROOT}/{ELSEWHERE}/{self.vm}",
            **{
                "vm": str(self.vm),
                "ids": str(images),
                "sds": str(self.system),
                "sds2": str(ELSEWHERE),
                "fds": str(files),
            },
        }

    def _datastore(self, text: str) -> int:
        return self.rig.call(c.AllocateDatastore(f"NAME=ds{len(self.rig.engine.state.datastores)}\n{text}"))

    def _image(self, ds_id: int, name: str, kind: str = "OS") -> int:
        oid = self.rig.call(c.AllocateImage(f"NAME={name}\nTYPE={kind}\nPATH=/tmp/{name}", ds_id))
        self.rig.answer(EffectKind.IMAGE_CREATE, SIZE="512", FORMAT="raw")
        return oid

    def do(self, does: Does, fails: bool = False) -> None:
        """The user's command, and all that follows from it; when it ``fails``, the transfer that it brings does."""
        command = does(self.vm)
        if isinstance(command, c.DeployVm):
            command = c.DeployVm(command.oid, command.hid, ds_id=self.system)
        self.rig.call(command)
        self.rest(fails)

    def rest(self, fails: bool = False) -> None:
        """All that follows."""
        for _ in range(20):
            self.rig.tick()
            orders = list(self.rig.orders)
            for order in orders:
                answer = self.answer(order)
                is_transfer = order.kind.value.startswith("tm.")
                self.rig.reply(order, Answer(ok=False, message="no space") if fails and is_transfer else answer)
            if not orders:
                return
        raise AssertionError("it does not come to rest")

    def answer(self, effect: Effect) -> Answer:
        """Everything succeeds; transfers leave their file."""
        if not effect.kind.value.startswith("tm."):
            return Answer(ok=True)
        answer = asyncio.run(self.driver.run(Order(effect, self.rig.vm(self.vm))))
        assert answer.ok, answer
        return answer

    def wants(self, text: str) -> bytes:
        """The lines of a table for this VM."""
        return text.format_map(self.words).encode()


@pytest.fixture(params=STORAGES, ids=lambda storage: f"{storage.images} on {storage.system}")
def life(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Life:
    monkeypatch.setattr(Registry, "carrying_out", lambda registry, line: Nothing())
    return Life(request.param, tmp_path)


@pytest.mark.parametrize("story", LIVES.values(), ids=LIVES)
def test_every_step_leaves_the_file_that_opennebula_leaves(life: Life, story: list[Row]) -> None:
    left = set()
    for row in story:
        for does in row.does:
            life.do(does, row.fails)
        left.add(row.file)
        assert (life.directory / row.file).read_bytes() == life.wants(row.lines), row.file
    assert {path.name for path in life.directory.iterdir()} == left
    assert life.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("life", [storage for storage in STORAGES if storage.system in SEEN_BY_ALL], indirect=True)
def test_a_vm_of_a_dead_host_leaves_the_file_of_a_migration(life: Life) -> None:
    life.do(DEPLOY)
    life.rig.lose(0)
    life.rig.open_failover(0, flags='PAUSE="0"')
    life.rig.answer(EffectKind.FENCE_STATUS, POWER="OFF", RAW="Status: OFF")
    life.rest()
    assert life.rig.vm(life.vm).state_name == "RUNNING"
    assert (life.directory / "transfer.1.migrate").read_bytes() == life.wants(MIGRATE)
