"""pyone, OpenNebula's own Python client, against a real server on a free port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pyone
import pytest

from holdfast.api.app import make_app
from holdfast.api.server import Server
from holdfast.engine import commands
from holdfast.model.enums import HistoryAction
from holdfast.model.errors import (
    ActionError,
    AllocateError,
    ArgumentError,
    HoldfastError,
    NoSuchObject,
    TemplateError,
)
from holdfast.model.template_text import parse_any
from tests.unit.api.world import ADMIN_SESSION, GUEST_SESSION, FakeController, installation, vm_with_snapshots

LIMIT_S = 10.0


class Running:
    """A server in a thread of its own, as far from the client as another process."""

    def __init__(self, controller: FakeController) -> None:
        self.controller = controller
        self.port = 0
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="api under test")

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = Server(make_app(self.controller), port=0)
        await server.start()
        self.port = server.addresses[0][1]
        self._up.set()
        await self._end.wait()
        await server.stop()

    def start(self) -> None:
        """Returns when the server answers."""
        self._thread.start()
        assert self._up.wait(LIMIT_S)

    def stop(self) -> None:
        """Returns when the thread is over."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()

    def client(self, session: str = ADMIN_SESSION) -> Any:
        """A pyone client."""
        return pyone.OneServer(f"http://127.0.0.1:{self.port}/RPC2", session=session)


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running(installation())
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def one(running: Running) -> Any:
    return running.client()


def test_a_vm_is_read_with_its_states_template_and_history(one: Any) -> None:
    found = one.vm.info(1)
    assert (found.ID, found.NAME, found.STATE, found.LCM_STATE) == (1, "vm1", 3, 3)
    assert pyone.LCM_STATE(found.LCM_STATE) is pyone.LCM_STATE.RUNNING
    assert found.TEMPLATE["VMID"] == "1"
    assert found.TEMPLATE["DISK"]["IMAGE"] == "img0"
    assert [record.HOSTNAME for record in found.HISTORY_RECORDS.HISTORY] == ["s0", "s3"]
    assert found.PERMISSIONS.OWNER_U == 1
    assert (found.UNAME, found.GNAME) == ("oneadmin", "oneadmin")


def test_vms_are_listed_short_extended_by_page_and_by_id(one: Any) -> None:
    assert [each.ID for each in one.vmpool.info(-2, -1, -1, -1).VM] == [1, 0]
    assert [each.ID for each in one.vmpool.info(-2, 0, -1, -2).VM] == [2, 1, 0]
    assert [each.ID for each in one.vmpool.info(-2, 1, -2, -2).VM] == [1, 0]
    assert [each.HISTORY_RECORDS.HISTORY[0].HID for each in one.vmpool.infoextended(-2, -1, -1, -1).VM] == [3, 2]
    assert [each.ID for each in one.vmpool.infoset("0,2", False).VM] == [2, 0]


def test_hosts_are_read_and_listed(one: Any) -> None:
    found = one.host.info(2)
    assert (found.NAME, found.STATE, found.CLUSTER) == ("s2", 2, "default")
    assert (found.HOST_SHARE.MAX_CPU, found.HOST_SHARE.MEM_USAGE, found.HOST_SHARE.RUNNING_VMS) == (800, 65536, 1)
    assert found.VMS.ID == [0]
    assert found.MONITORING.CAPACITY.FREE_CPU == 790
    assert found.TEMPLATE["FENCE"]["PASSWORD"] == "********"
    assert [each.ID for each in one.hostpool.info().HOST] == [3, 2]


def test_hooks_are_read_with_their_log_and_listed(one: Any) -> None:
    found = one.hook.info(0)
    assert (found.NAME, found.TYPE, found.TEMPLATE["COMMAND"]) == ("ft0", "state", "ft/host_error")
    records = found.HOOKLOG.HOOK_EXECUTION_RECORD
    assert [(each.EXECUTION_ID, each.EXECUTION_RESULT.CODE) for each in records] == [(0, "0"), (1, "255")]
    assert [each.ID for each in one.hookpool.info().HOOK] == [1, 0]
    assert one.hook.info(1).LOCK.LOCKED == 2


def test_datastores_and_images_are_read_and_listed(one: Any) -> None:
    assert one.datastore.info(1).IMAGES.ID == [0]
    assert [each.NAME for each in one.datastorepool.info().DATASTORE] == ["default", "system"]
    found = one.image.info(0)
    assert (found.NAME, found.STATE, found.SIZE, found.VMS.ID) == ("img0", 2, 1024, [0])
    assert [each.ID for each in one.imagepool.info(-2, -1, -1).IMAGE] == [1, 0]
    assert (one.image.info(1).LOCK.LOCKED, one.image.info(1).CLONING_ID) == (2, 0)


def test_the_rest_of_an_installation_is_read(one: Any) -> None:
    assert one.user.info(-1).NAME == "oneadmin"
    assert [each.NAME for each in one.userpool.info().USER] == ["ann", "serveradmin", "oneadmin"]
    assert one.group.info(0).USERS.ID == [0, 1]
    assert [each.NAME for each in one.grouppool.info().GROUP] == ["users", "oneadmin"]
    assert one.cluster.info(0).HOSTS.ID == [2, 3]
    assert one.clusterpool.info().CLUSTER[0].NAME == "default"
    assert one.zone.info(0).TEMPLATE["ENDPOINT"].startswith("http://")
    assert one.zonepool.info().ZONE[0].ID == 0
    assert one.zone.raftstatus().STATE == 0
    assert one.acl.info().ACL == []
    assert one.templatepool.info(-2, -1, -1).VMTEMPLATE == []
    assert one.system.version() == "7.0.2"
    assert one.system.config().MONITORING_INTERVAL_HOST == 1
    assert one.vmpool.monitoring(-2, -1).MONITORING[0].ID == 1


def test_objects_are_created_and_changed(running: Running, one: Any) -> None:
    assert one.host.allocate("s9", "holdfast", "kvm", -1) == 7
    assert one.vm.allocate({"TEMPLATE": {"CPU": "1", "DISK": {"IMAGE_ID": "0"}}}) == 7
    assert one.hook.allocate({"NAME": "ft", "TYPE": "state"}) == 7
    assert one.vm.action("poweroff-hard", 0) == 7
    assert one.vm.migrate(0, 3, False, False, -1, 0) == 7
    assert one.host.update(2, {"NOTE": "x"}, 1) == 7
    received = [command for _, command in running.controller.calls]
    assert received[0] == commands.AllocateHost("s9", "holdfast", "kvm", -1)
    assert isinstance(received[1], commands.AllocateVm)
    assert parse_any(received[1].text).section("DISK") == {"IMAGE_ID": "0"}
    assert isinstance(received[2], commands.AllocateHook)
    assert received[3:5] == [commands.VmAction(0, "poweroff-hard"), commands.MigrateVm(0, 3, False, False, -1, 0)]
    assert isinstance(received[5], commands.UpdateHost)
    assert received[5].append


def test_every_way_to_migrate_reaches_the_engine(running: Running, one: Any) -> None:
    assert one.vm.migrate(0, 3, True) == 7
    assert [one.vm.migrate(0, 3, False, True, 1, kind) for kind in (0, 1, 2)] == [7, 7, 7]
    assert [command for _, command in running.controller.calls] == [
        commands.MigrateVm(0, 3, live=True),
        *(commands.MigrateVm(0, 3, False, True, 1, kind) for kind in (0, 1, 2)),
    ]


def test_devices_and_sizes_are_changed(running: Running, one: Any) -> None:
    assert one.vm.attach(0, {"TEMPLATE": {"DISK": {"IMAGE_ID": "1", "DEV_PREFIX": "vd"}}}) == 7
    assert one.vm.attachnic(0, {"TEMPLATE": {"NIC": {"BRIDGE": "br0", "IP": "192.0.2.9"}}}) == 7
    assert one.vm.resize(0, {"CPU": "2", "MEMORY": "1024"}, False) == 7
    assert one.vm.detach(0, 1) == one.vm.detachnic(0, 0) == one.vm.diskresize(0, 1, "2048") == 7
    assert one.vm.resize(0, 'VCPU="2"') == 7
    disk, nic, size, *rest = [command for _, command in running.controller.calls]
    assert isinstance(disk, commands.AttachDisk)
    assert parse_any(disk.text).section("DISK") == {"IMAGE_ID": "1", "DEV_PREFIX": "vd"}
    assert isinstance(nic, commands.AttachNic)
    assert parse_any(nic.text).section("NIC") == {"BRIDGE": "br0", "IP": "192.0.2.9"}
    assert isinstance(size, commands.ResizeVm)
    assert (parse_any(size.text).singles(), size.enforce) == ({"CPU": "2", "MEMORY": "1024"}, False)
    assert rest == [
        commands.DetachDisk(0, 1),
        commands.DetachNic(0, 0),
        commands.ResizeDisk(0, 1, "2048"),
        commands.ResizeVm(0, 'VCPU="2"', enforce=True),
    ]


def test_snapshots_are_taken_gone_back_to_renamed_and_removed(running: Running, one: Any) -> None:
    running.controller.answer = 0
    assert one.vm.snapshotcreate(5, "before") == 0
    assert one.vm.disksnapshotcreate(5, 1, "before") == 0
    running.controller.answer = 5
    assert one.vm.snapshotrevert(5, 0) == one.vm.snapshotdelete(5, 0) == 5
    assert one.vm.disksnapshotrevert(5, 1, 0) == one.vm.disksnapshotdelete(5, 1, 0) == 5
    assert one.vm.disksnapshotrename(5, 1, 0, "after") == 5
    assert [command for _, command in running.controller.calls] == [
        commands.CreateSnapshot(5, "before"),
        commands.CreateDiskSnapshot(5, 1, "before"),
        commands.RevertSnapshot(5, 0),
        commands.DeleteSnapshot(5, 0),
        commands.RevertDiskSnapshot(5, 1, 0),
        commands.DeleteDiskSnapshot(5, 1, 0),
        commands.RenameDiskSnapshot(5, 1, 0, "after"),
    ]


def test_snapshots_are_read(running: Running, one: Any) -> None:
    running.controller.put(vm_with_snapshots(1))
    found = one.vm.info(1)
    first, second = found.SNAPSHOTS
    assert (first.DISK_ID, first.CURRENT_BASE, first.NEXT_SNAPSHOT, first.ALLOW_ORPHANS) == (0, 3, 4, "NO")
    assert [(each.ID, each.PARENT, each.SIZE, each.NAME) for each in first.SNAPSHOT] == [
        (0, -1, 1024, "clean"),
        (1, 0, 1024, "tried"),
        (3, 0, 2048, "good]]>"),
    ]
    assert [(each.ACTIVE, each.CHILDREN) for each in first.SNAPSHOT] == [(None, "1,3"), (None, None), ("YES", None)]
    assert [each.DISK_ID for each in (first, second)] == [0, 2]
    assert [each["NAME"] for each in found.TEMPLATE["SNAPSHOT"]] == ["before & after", "snapshot-1"]
    actions = [record.ACTION for record in found.HISTORY_RECORDS.HISTORY]
    assert actions == [action.value for action in HistoryAction]


@pytest.mark.parametrize(
    ("error", "exception"),
    [
        (NoSuchObject("host", 2), pyone.OneNoExistsException),
        (ActionError("wrong state"), pyone.OneActionException),
        (ArgumentError("wrong value"), pyone.OneApiException),
        (TemplateError("line 1"), pyone.OneInternalException),
        (AllocateError("host", "NAME is taken."), pyone.OneException),
        (ZeroDivisionError("a bug of ours"), pyone.OneInternalException),
    ],
)
def test_refusals_become_the_clients_exceptions(
    running: Running, one: Any, error: HoldfastError, exception: type[Exception]
) -> None:
    running.controller.answer = error
    with pytest.raises(exception) as caught:
        one.host.delete(2)
    assert "[one.host.delete]" in str(caught.value)


def test_what_is_not_there_is_the_clients_no_exists_exception(one: Any) -> None:
    with pytest.raises(pyone.OneNoExistsException, match=r"Error getting virtual machine \[99\]"):
        one.vm.info(99)


def test_a_wrong_session_is_the_clients_authentication_exception(running: Running) -> None:
    with pytest.raises(pyone.OneAuthenticationException):
        running.client("oneadmin:wrong").vm.info(0)


def test_an_ordinary_user_gets_the_clients_authorization_exception(running: Running) -> None:
    guest = running.client(GUEST_SESSION)
    assert guest.vm.info(0).NAME == "vm0"
    with pytest.raises(pyone.OneAuthorizationException):
        guest.vm.recover(0, 3)


def test_a_method_that_is_not_here_is_the_clients_action_exception(one: Any) -> None:
    with pytest.raises(pyone.OneActionException, match="does not support"):
        one.vn.info(0)
