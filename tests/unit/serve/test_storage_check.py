"""The check of storage on real directories: what is planted is found, what changes meanwhile is not."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.drivers.inventory import Entry, inventory
from holdfast.engine.ports import Changes, Snapshot
from holdfast.engine.state import State
from holdfast.engine.storage_audit import StorageReport
from holdfast.model.enums import DatastoreType, HostState, ImageState, ImageType
from holdfast.model.errors import HoldfastError
from holdfast.model.host import Host
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Template
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState
from holdfast.serve.storage_check import StorageCheck


def vm(oid: int, ds_id: int = 0, state: VmState = VmState.ACTIVE) -> Vm:
    disk = {"DISK_ID": "0", "TM_MAD": "shared"}
    lcm = LcmState.RUNNING if state is VmState.ACTIVE else LcmState.LCM_INIT
    stay = History(0, 1, "host1", 0, ds_id, "dummy", "shared")
    return Vm(oid, 0, 0, f"vm{oid}", state, lcm, template=Template([("DISK", disk)]), history=(stay,))


def site(root: Path) -> State:
    """VMs 7 and 8 and image 3, all with their files."""
    datastores = (
        Datastore(0, "system", DatastoreType.SYSTEM_DS, "shared", "-", f"{root}/0"),
        Datastore(1, "default", DatastoreType.IMAGE_DS, "shared", "fs", f"{root}/1", images=(3,)),
    )
    image = Image(3, "alpine", 1, "default", ImageType.OS, ImageState.READY, source=f"{root}/1/abc")
    for oid in (7, 8):
        (root / f"0/{oid}").mkdir(parents=True)
        (root / f"0/{oid}/disk.0").write_bytes(b"x")
    (root / "1").mkdir()
    (root / "1/abc").touch()
    return State(Snapshot(1, [*datastores, image, vm(7), vm(8)]))


def report(check: StorageCheck) -> StorageReport:
    return asyncio.run(check.report())


def found(checked: StorageReport) -> list[tuple[str, str, int, int]]:
    return [(each.kind.value, each.path, each.vm_id, each.image_id) for each in checked.findings]


def test_where_all_is_well_nothing_is_found(tmp_path: Path) -> None:
    checked = report(StorageCheck(site(tmp_path)))
    assert (checked.findings, checked.unseen, checked.places) == ((), (), 2)


def test_one_of_each_is_planted_and_found(tmp_path: Path) -> None:
    state = site(tmp_path)
    (tmp_path / "0/7/disk.0").unlink()
    (tmp_path / "1/abc").unlink()
    (tmp_path / "0/99").mkdir()
    (tmp_path / "0/99/disk.0").write_bytes(b"x" * 8192)
    (tmp_path / "1/unknown").touch()
    (tmp_path / "0/8/disk.0.draft.0af").touch()
    checked = report(StorageCheck(state))
    assert found(checked) == [
        ("MISSING", "7/disk.0", 7, -1),
        ("MISSING", "abc", -1, 3),
        ("ORPHAN", "99", 99, -1),
        ("ORPHAN", "unknown", -1, -1),
        ("REMNANT", "8/disk.0.draft.0af", 8, -1),
    ]
    assert checked.findings[2].size_bytes == 8192


def test_what_is_over_or_begins_while_somebody_looks_is_no_finding(tmp_path: Path) -> None:
    state = site(tmp_path)
    state.publish(Changes(1, [replace(Datastore(100, "s", DatastoreType.SYSTEM_DS, "ssh", "-", f"{tmp_path}/100"))]))
    state.publish(Changes(1, [Host(1, "host1", HostState.MONITORED, "kvm", "kvm")]))

    async def look(host: str, path: str, limit_s: float) -> Sequence[Entry]:
        """While this host answers, VM 8 ends with its files, and VM 9 comes with its own."""
        shutil.rmtree(tmp_path / "0/8", ignore_errors=True)
        (tmp_path / "0/9").mkdir(exist_ok=True)
        (tmp_path / "0/9/disk.0").touch()
        state.publish(Changes(1, [vm(8, state=VmState.DONE), vm(9)]))
        return []

    assert report(StorageCheck(state, look)).findings == ()


def test_a_host_is_looked_at_and_one_that_cannot_be_is_named(tmp_path: Path) -> None:
    state = site(tmp_path / "here")
    there = tmp_path / "there"
    (there / "77").mkdir(parents=True)
    hosts = [Host(oid, f"host{oid}", HostState.MONITORED, "kvm", "kvm") for oid in (1, 2)]
    lost = Host(3, "host3", HostState.ERROR, "kvm", "kvm", error_since=5.0)
    state.publish(
        Changes(1, [Datastore(100, "s", DatastoreType.SYSTEM_DS, "ssh", "-", f"{tmp_path}/100"), lost, *hosts])
    )
    asked = []

    async def look(host: str, path: str, limit_s: float) -> Sequence[Entry]:
        asked.append((host, path))
        if host == "host2":
            raise HoldfastError("host host2: Connection refused")
        return inventory(there)

    checked = report(StorageCheck(state, look))
    assert [(each.place.host, each.path) for each in checked.findings] == [("host1", "77")]
    assert [(each.place.host, each.reason) for each in checked.unseen] == [
        ("host2", "host host2: Connection refused"),
        ("host3", "the host is lost"),
    ]
    assert "host3" not in {host for host, _ in asked}, "a dead host is never asked"
    blind = report(StorageCheck(state))
    assert [each.place.host for each in blind.unseen] == ["host1", "host2", "host3"]


def test_a_directory_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    state = site(tmp_path)
    shutil.rmtree(tmp_path / "1")
    (tmp_path / "1").touch()
    checked = report(StorageCheck(state))
    assert [(each.place.ds_id, each.reason) for each in checked.unseen] == [(1, "Not a directory")]
    assert (checked.findings, checked.places) == ((), 1)


def test_what_only_a_driver_knows_is_not_said_to_be_well(tmp_path: Path) -> None:
    state = site(tmp_path)
    state.publish(Changes(1, [Datastore(101, "c", DatastoreType.SYSTEM_DS, "ceph", "-", f"{tmp_path}/101")]))
    state.publish(Changes(1, [Datastore(102, "d", DatastoreType.SYSTEM_DS, "dummy", "-", f"{tmp_path}/102")]))
    [unseen] = report(StorageCheck(state)).unseen
    assert (unseen.place.ds_id, unseen.reason) == (101, "only its driver (ceph) knows where its files are")


def test_a_host_that_is_the_controllers_own_machine_is_not_looked_at_twice(tmp_path: Path) -> None:
    state = State(Snapshot(1, []))
    system = Datastore(0, "system", DatastoreType.SYSTEM_DS, "ssh", "-", f"{tmp_path}/0")
    state.publish(Changes(1, [system, Host(1, "host1", HostState.MONITORED, "kvm", "kvm"), vm(7)]))
    (tmp_path / "0/7").mkdir(parents=True)
    (tmp_path / "0/7/disk.0").touch()

    async def look(host: str, path: str, limit_s: float) -> Sequence[Entry]:
        raise AssertionError(host)

    checked = report(StorageCheck(state, look, frontend="host1"))
    assert (checked.findings, checked.unseen, checked.places) == ((), (), 1)


def test_two_hosts_with_one_storage_have_no_stray_and_an_old_copy_is_one(tmp_path: Path) -> None:
    system = Datastore(0, "system", DatastoreType.SYSTEM_DS, "ssh", "-", f"{tmp_path}/front")
    hosts = [Host(oid, f"host{oid}", HostState.MONITORED, "kvm", "kvm") for oid in (1, 2, 3)]
    state = State(Snapshot(1, [system, *hosts, vm(7)]))
    for name in ("one", "other"):
        (tmp_path / name / "7").mkdir(parents=True)
        (tmp_path / name / "7/disk.0").touch()

    async def look(host: str, path: str, limit_s: float) -> Sequence[Entry]:
        return inventory(tmp_path / ("other" if host == "host3" else "one"))

    [stray] = report(StorageCheck(state, look)).findings
    assert (stray.kind.value, stray.place.host, stray.path) == ("STRAY", "host3", "7")
