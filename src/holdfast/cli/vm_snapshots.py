"""The commands of ``onevm`` for snapshots: of the whole VM, and of one of its disks.

A snapshot is named by its id or, at the cost of one more call, by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from holdfast.cli import actions
from holdfast.cli.errors import CliError
from holdfast.cli.grammar import Call, Command
from holdfast.cli.listing import LIST_OPTIONS, print_list
from holdfast.cli.lookup import find_id, is_id
from holdfast.cli.vm_actions import VMS
from holdfast.cli.vm_devices import device_number
from holdfast.cli.vm_snapshot_table import DISK_SNAPSHOT_TABLE, SNAPSHOT_TABLE, disk_snapshots, system_snapshots
from holdfast.cli.xmltree import text_of


def _create(call: Call) -> int:
    name = call.argument(1) or ""

    def create(vm: int) -> None:
        snapshot = call.client.identifier("one.vm.snapshotcreate", vm, name)
        call.say(f"VM {vm}: snapshot {snapshot}")

    return actions.for_each(call, "VM", "creating snapshot", create)


def _revert(call: Call) -> int:
    return _on_snapshot(call, "one.vm.snapshotrevert", "reverting snapshot")


def _delete(call: Call) -> int:
    return _on_snapshot(call, "one.vm.snapshotdelete", "deleting snapshot")


def _on_snapshot(call: Call, method: str, doing: str) -> int:
    def act(vm: int) -> None:
        call.client.identifier(method, vm, _snapshot_id(call, vm, call.arguments[1]))

    return actions.for_one(call, "VM", doing, act)


def _snapshot_id(call: Call, vm: int, text: str) -> int:
    if is_id(text):
        return int(text)
    known = system_snapshots(_info(call, vm))
    return _named(known, text, "SNAPSHOT_ID", f"VM {vm}", f"onevm snapshot-list {vm}")


def _list(call: Call) -> int:
    vm = find_id(call.client, "VM", call.arguments[0])

    def fetch() -> str:
        return _document(system_snapshots(_info(call, vm)))

    return print_list(fetch, "SNAPSHOT", SNAPSHOT_TABLE, call.values)


def _create_of_disk(call: Call) -> int:
    disk_id, name = device_number(call.arguments[1], "disk"), call.arguments[2]

    def create(vm: int) -> None:
        snapshot = call.client.identifier("one.vm.disksnapshotcreate", vm, disk_id, name)
        call.say(f"VM {vm}: disk {disk_id}: snapshot {snapshot}")

    return actions.for_one(call, "VM", "creating disk snapshot", create)


def _revert_of_disk(call: Call) -> int:
    return _on_disk_snapshot(call, "one.vm.disksnapshotrevert", "reverting disk snapshot")


def _delete_of_disk(call: Call) -> int:
    return _on_disk_snapshot(call, "one.vm.disksnapshotdelete", "deleting disk snapshot")


def _rename_of_disk(call: Call) -> int:
    return _on_disk_snapshot(call, "one.vm.disksnapshotrename", "disk snapshot rename", call.arguments[3])


def _on_disk_snapshot(call: Call, method: str, doing: str, *name: str) -> int:
    disk_id = device_number(call.arguments[1], "disk")

    def act(vm: int) -> None:
        snapshot_id = _disk_snapshot_id(call, vm, disk_id, call.arguments[2])
        call.client.identifier(method, vm, disk_id, snapshot_id, *name)

    return actions.for_one(call, "VM", doing, act)


def _disk_snapshot_id(call: Call, vm: int, disk_id: int, text: str) -> int:
    if is_id(text):
        return int(text)
    known = _of_disk(_info(call, vm), vm, disk_id)
    return _named(known, text, "ID", f"Disk {disk_id} of VM {vm}", f"onevm disk-snapshot-list {vm} {disk_id}")


def _list_of_disk(call: Call) -> int:
    vm, disk_id = find_id(call.client, "VM", call.arguments[0]), device_number(call.arguments[1], "disk")

    def fetch() -> str:
        return _document(_of_disk(_info(call, vm), vm, disk_id))

    return print_list(fetch, "SNAPSHOT", DISK_SNAPSHOT_TABLE, call.values)


def _info(call: Call, vm: int) -> Element:
    return call.client.document("one.vm.info", vm, False)


def _of_disk(vm: Element, vm_id: int, disk_id: int) -> list[Element]:
    disks = [text_of(disk, "DISK_ID") for disk in vm.findall("TEMPLATE/DISK")]
    if str(disk_id) not in disks:
        raise CliError(f"VM {vm_id} has no disk {disk_id}; its disks: {', '.join(disks) or 'none'}.")
    return [snapshot for snapshot in disk_snapshots(vm) if text_of(snapshot, "DISK_ID") == str(disk_id)]


def _named(known: Sequence[Element], name: str, id_tag: str, owner: str, way_out: str) -> int:
    found = [int(text_of(snapshot, id_tag)) for snapshot in known if text_of(snapshot, "NAME") == name]
    if not found:
        raise CliError(f"{owner} has no snapshot named {name}; '{way_out}' shows what there is.")
    if len(found) > 1:
        raise CliError(f"{owner} has several snapshots named {name}; name it by its id: {', '.join(map(str, found))}.")
    return found[0]


def _document(snapshots: Sequence[Element]) -> str:
    root = Element("SNAPSHOTS")
    root.extend(snapshots)
    return ElementTree.tostring(root, encoding="unicode")


_ON_DISK = ("<vmid>", "<diskid>")
_ONE_OF_DISK = (*_ON_DISK, "<disk_snapshot_id>")
_ONE = ("<vmid>", "<snapshot_id>")

SNAPSHOT_COMMANDS = (
    Command("snapshot-create", (VMS, "[<name>]"), "take snapshots of running VMs, memory and all", _create),
    Command("snapshot-revert", _ONE, "put a VM back to a snapshot", _revert),
    Command("snapshot-delete", _ONE, "remove a snapshot of a VM", _delete),
    Command("snapshot-list", ("<vmid>",), "list the snapshots of a VM", _list, LIST_OPTIONS),
    Command("disk-snapshot-create", (*_ON_DISK, "<name>"), "take a snapshot of a disk", _create_of_disk),
    Command("disk-snapshot-revert", _ONE_OF_DISK, "put a disk back to a snapshot", _revert_of_disk),
    Command("disk-snapshot-delete", _ONE_OF_DISK, "remove a snapshot of a disk", _delete_of_disk),
    Command("disk-snapshot-rename", (*_ONE_OF_DISK, "<new_snapshot_name>"), "give it another name", _rename_of_disk),
    Command("disk-snapshot-list", _ON_DISK, "list the snapshots of a disk", _list_of_disk, LIST_OPTIONS),
)
