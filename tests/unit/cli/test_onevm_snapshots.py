"""``onevm``'s commands for snapshots, and snapshots on its screens."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from holdfast.cli.onevm import main
from tests.unit.cli.golden import assert_screen, own_sample
from tests.unit.cli.scripted_server import Refusal, ScriptedServer

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _one(server: ScriptedServer) -> None:
    snapshots = ("create", "revert", "delete")
    server.answers |= {
        "one.vm.info": own_sample("vm_with_snapshots.xml"),
        "one.vmpool.info": "<VM_POOL><VM><ID>5</ID><NAME>db</NAME></VM></VM_POOL>",
        **dict.fromkeys((f"one.vm.snapshot{verb}" for verb in snapshots), 2),
        **dict.fromkeys((f"one.vm.disksnapshot{verb}" for verb in (*snapshots, "rename")), 4),
    }


@pytest.mark.parametrize(
    ("argv", "method", "arguments"),
    [
        (["snapshot-create", "5"], "one.vm.snapshotcreate", [(5, "")]),
        (["snapshot-create", "5..6,db", "before"], "one.vm.snapshotcreate", [(5, "before"), (6, "before")]),
        (["snapshot-revert", "5", "1"], "one.vm.snapshotrevert", [(5, 1)]),
        (["snapshot-revert", "db", "before the upgrade"], "one.vm.snapshotrevert", [(5, 0)]),
        (["snapshot-delete", "5", "snapshot-1"], "one.vm.snapshotdelete", [(5, 1)]),
        (["disk-snapshot-create", "5", "0", "clean"], "one.vm.disksnapshotcreate", [(5, 0, "clean")]),
        (["disk-snapshot-revert", "5", "0", "1"], "one.vm.disksnapshotrevert", [(5, 0, 1)]),
        (["disk-snapshot-revert", "5", "0", "tried"], "one.vm.disksnapshotrevert", [(5, 0, 1)]),
        (["disk-snapshot-delete", "5", "2", "clean"], "one.vm.disksnapshotdelete", [(5, 2, 0)]),
        (["disk-snapshot-rename", "5", "0", "3", "best"], "one.vm.disksnapshotrename", [(5, 0, 3, "best")]),
        (["disk-snapshot-rename", "db", "0", "tried", "7"], "one.vm.disksnapshotrename", [(5, 0, 1, "7")]),
    ],
)
def test_snapshots_are_asked_for_by_id_or_name(
    server: ScriptedServer, capsys: Captured, argv: list[str], method: str, arguments: Sequence[object]
) -> None:
    assert main(argv) == 0
    assert server.asked(method) == arguments
    assert capsys.readouterr() == ("", "")


def test_an_id_costs_no_look_at_the_vm(server: ScriptedServer) -> None:
    assert main(["snapshot-revert", "5", "1"]) == 0
    assert main(["disk-snapshot-delete", "5", "0", "1"]) == 0
    assert "one.vm.info" not in server.methods()


def test_verbose_tells_the_id_of_the_new_snapshot(server: ScriptedServer, capsys: Captured) -> None:
    assert main(["snapshot-create", "5,6", "-v"]) == 0
    assert main(["disk-snapshot-create", "5", "0", "clean", "-v"]) == 0
    assert capsys.readouterr().out == (
        "VM 5: creating snapshot\nVM 5: snapshot 2\nVM 6: creating snapshot\nVM 6: snapshot 2\n"
        "VM 5: creating disk snapshot\nVM 5: disk 0: snapshot 4\n"
    )


def test_a_refused_snapshot_of_one_vm_does_not_keep_the_others_from_theirs(
    server: ScriptedServer, capsys: Captured
) -> None:
    def create(vm: int, name: str) -> int:
        if vm == 5:
            raise Refusal("[one.vm.snapshotcreate] This action is not available for state POWEROFF")
        return 0

    server.answers["one.vm.snapshotcreate"] = create
    assert main(["snapshot-create", "5,6"]) == 255
    assert server.asked("one.vm.snapshotcreate") == [(5, ""), (6, "")]
    assert capsys.readouterr().err.endswith("not available for state POWEROFF\n")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["snapshot-revert", "5", "after"],
            "VM 5 has no snapshot named after; 'onevm snapshot-list 5' shows what there is.",
        ),
        (["snapshot-delete", "5"], "Command snapshot-delete requires 2 parameters to run."),
        (["snapshot-create", "6..5"], "The range 6..5 must rise and hold at most 100000 ids."),
        (
            ["snapshot-create", "5", "two", "words"],
            "Wrong number of arguments\nThe arguments should be: <range|vmid_list> [<name>]",
        ),
        (["disk-snapshot-create", "5", "0"], "Command disk-snapshot-create requires 3 parameters to run."),
        (
            ["disk-snapshot-create", "5", "vda", "clean"],
            "A disk is named by its number, not 'vda'; 'onevm show' lists them.",
        ),
        (
            ["disk-snapshot-revert", "5", "0", "after"],
            "Disk 0 of VM 5 has no snapshot named after; 'onevm disk-snapshot-list 5 0' shows what there is.",
        ),
        (
            ["disk-snapshot-delete", "5", "0", "clean"],
            "Disk 0 of VM 5 has several snapshots named clean; name it by its id: 0, 3.",
        ),
        (["disk-snapshot-revert", "5", "7", "clean"], "VM 5 has no disk 7; its disks: 0, 2."),
        (["disk-snapshot-list", "5", "7"], "VM 5 has no disk 7; its disks: 0, 2."),
        (["disk-snapshot-list", "5", "vda"], "A disk is named by its number, not 'vda'; 'onevm show' lists them."),
        (["snapshot-list", "nobody"], "VM named nobody not found."),
    ],
)
def test_a_mistake_is_told_in_one_message_and_nothing_is_changed(
    server: ScriptedServer, capsys: Captured, argv: list[str], message: str
) -> None:
    assert main(argv) == 255
    assert capsys.readouterr().err == message + "\n"
    assert set(server.methods()) <= {"one.vm.info", "one.vmpool.info"}


def test_snapshots_of_a_vm_are_listed(capsys: Captured) -> None:
    assert main(["snapshot-list", "db"]) == 0
    assert_screen("onevm_snapshot_list", capsys.readouterr().out)


def test_snapshots_of_a_disk_are_listed(capsys: Captured) -> None:
    assert main(["disk-snapshot-list", "5", "0"]) == 0
    assert_screen("onevm_disk_snapshot_list", capsys.readouterr().out)


def test_lists_of_snapshots_take_the_options_of_every_list(capsys: Captured) -> None:
    assert main(["disk-snapshot-list", "5", "0", "--csv", "-l", "ID,CHILDREN,NAME", "-f", "PARENT=-1"]) == 0
    assert main(["disk-snapshot-list", "5", "2", "-k", "--no-header", "-l", "DISK,SIZE"]) == 0
    assert main(["snapshot-list", "5", "--csv-del", ";", "-l", "ID,NAME"]) == 0
    assert capsys.readouterr().out == (
        'ID,CHILDREN,NAME\n0,"1,3",clean\n   2 1048576\nID;NAME\n0;before the upgrade\n1;snapshot-1\n'
    )


def test_lists_of_snapshots_as_json(capsys: Captured) -> None:
    assert main(["disk-snapshot-list", "5", "2", "-j"]) == 0
    printed = json.loads(capsys.readouterr().out)
    [snapshot] = printed["SNAPSHOTS"]["SNAPSHOT"]
    assert (snapshot["ID"], snapshot["DISK_ID"], snapshot["NAME"]) == ("0", "2", "clean")


def test_a_vm_without_snapshots_lists_none(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.vm.info"] = "<VM><ID>5</ID><TEMPLATE><DISK><DISK_ID>0</DISK_ID></DISK></TEMPLATE></VM>"
    assert main(["snapshot-list", "5", "--no-header"]) == 0
    assert main(["disk-snapshot-list", "5", "0", "--no-header"]) == 0
    assert capsys.readouterr().out == ""


def test_show_tells_the_snapshots_of_the_vm_and_its_disks(server: ScriptedServer, capsys: Captured) -> None:
    assert main(["show", "5"]) == 0
    assert_screen("onevm_show_snapshots", capsys.readouterr().out)
