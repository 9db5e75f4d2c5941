"""The check of storage looks at hosts through real ssh servers, and names those that it cannot reach."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from holdfast.drivers.tm.host_inventory import capacity_of, inventory_of
from holdfast.drivers.tm.lines import TransferError
from holdfast.engine.ports import Snapshot
from holdfast.engine.state import State
from holdfast.engine.storage_audit import StorageReport
from holdfast.model.enums import DatastoreType, HostState
from holdfast.model.host import Host
from holdfast.model.storage import Datastore
from holdfast.model.template import Template
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState
from holdfast.serve.storage_check import StorageCheck
from tests.unit.tm.ssh_hosts import SshSite, running


def state_of(site: SshSite) -> State:
    """VM 7 runs on host1 with two disks, on a datastore that the hosts do not share."""
    datastore = Datastore(0, "local", DatastoreType.SYSTEM_DS, "ssh", "-", str(site.root / "0"))
    hosts = [Host(number, f"host{number}", HostState.MONITORED, "kvm", "kvm") for number in (1, 2)]
    disks = [("DISK", {"DISK_ID": str(number), "TM_MAD": "ssh"}) for number in (0, 1)]
    stay = History(0, 1, "host1", 0, 0, "kvm", "ssh")
    vm = Vm(7, 0, 0, "web", VmState.ACTIVE, LcmState.RUNNING, template=Template(disks), history=(stay,))
    return State(Snapshot(1, [datastore, *hosts, vm]))


def test_orphans_and_missing_files_on_hosts_are_found_and_a_host_that_is_off_is_named(tmp_path: Path) -> None:
    site = SshSite(tmp_path)

    async def check() -> StorageReport:
        return await StorageCheck(state_of(site), inventory_of(site.hands()), limit_s=15).report()

    for host in site.hosts:
        host.directory.mkdir()
        (host.directory / "disk.0").write_bytes(b"x" * 4096)
    (site.root / "0/8").mkdir()
    with running(site.host1):
        report = asyncio.run(check())
        found = [(each.kind.value, each.place.host, each.path) for each in report.findings]
        assert found == [("MISSING", "host1", "7/disk.1"), ("ORPHAN", "", "8")]
        assert [each.place.host for each in report.unseen] == ["host2"]
        assert "host2" in report.unseen[0].reason
        with running(site.host2):
            again = asyncio.run(check())
        assert ("STRAY", "host2", "7") in [(each.kind.value, each.place.host, each.path) for each in again.findings]
        assert again.unseen == ()


def test_a_host_tells_how_full_its_datastore_is(tmp_path: Path) -> None:
    site = SshSite(tmp_path)
    with running(site.host1):
        figures = asyncio.run(capacity_of(site.hands())("host1", f"{site.root}/0", 15))
    assert 0 <= figures.free_mb <= figures.total_mb
    assert figures.total_mb > 0


def test_only_directories_of_datastores_are_looked_at(tmp_path: Path) -> None:
    site = SshSite(tmp_path)

    async def look(path: str) -> None:
        await inventory_of(site.hands())("host1", path, 15)

    with running(site.host1):
        for path in ("/etc", str(site.root), f"{site.root}/0/7"):
            with pytest.raises(TransferError, match=r"host1: .* datastore"):
                asyncio.run(look(path))
