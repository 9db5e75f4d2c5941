"""``onevm``: what is printed and what the server is asked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.cli.onevm import main
from holdfast.cli.states import action_word
from tests.unit.cli.golden import assert_screen
from tests.unit.cli.scripted_server import Refusal, ScriptedServer, sample

Captured = pytest.CaptureFixture[str]


def _vm(vm_id: int, name: str, lcm_state: int) -> str:
    born_s = int(time.time()) - (1103 * 86400 + 12 * 3600 + 39 * 60 + 20)
    return (
        f"<VM><ID>{vm_id}</ID><UNAME>oneadmin</UNAME><GNAME>oneadmin</GNAME><NAME>{name}</NAME><STATE>3</STATE>"
        f"<LCM_STATE>{lcm_state}</LCM_STATE><STIME>{born_s}</STIME><ETIME>0</ETIME>"
        "<TEMPLATE><CPU>0.5</CPU><MEMORY>128</MEMORY></TEMPLATE>"
        "<HISTORY_RECORDS><HISTORY><SEQ>0</SEQ><HOSTNAME>node1</HOSTNAME></HISTORY></HISTORY_RECORDS></VM>"
    )


def test_the_list_is_that_of_opennebulas_command(server: ScriptedServer, capsys: Captured) -> None:
    vms = _vm(5, "web01", 3) + _vm(6, "db-with-a-very-long-name", 16)
    server.answers["one.vmpool.info"] = f"<VM_POOL>{vms}</VM_POOL>"
    assert main(["list"]) == 0
    assert capsys.readouterr().out == (
        "  ID USER     GROUP    NAME            STAT  CPU     MEM HOST             TIME\n"
        "   5 oneadmin oneadmin web01           runn  0.5    128M node1      1103d 12h3\n"
        "   6 oneadmin oneadmin db-with-a-very- unkn  0.5    128M node1      1103d 12h3\n"
    )


def test_the_list_asks_for_everything_or_what_the_flag_says(server: ScriptedServer, capsys: Captured) -> None:
    server.answers |= {"one.vmpool.info": "<VM_POOL/>", "one.vmpool.infoextended": "<VM_POOL/>"}
    assert main(["list"]) == 0
    assert main(["list", "mine"]) == 0
    assert main(["list", "5", "--extended"]) == 0
    assert server.calls == [
        ("one.vmpool.info", (-2, -1, -1, -1)),
        ("one.vmpool.info", (-3, -1, -1, -1)),
        ("one.vmpool.infoextended", (5, -1, -1, -1)),
    ]


def test_the_host_shows_only_while_the_vm_is_there_and_a_star_marks_resched(
    server: ScriptedServer, capsys: Captured
) -> None:
    stopped = _vm(7, "a", 0).replace("<STATE>3</STATE>", "<STATE>4</STATE>")
    moving = _vm(8, "b", 3).replace("<STATE>", "<RESCHED>1</RESCHED><STATE>")
    server.answers["one.vmpool.info"] = f"<VM_POOL>{stopped}{moving}</VM_POOL>"
    assert main(["list", "--csv", "--no-header", "-l", "NAME,STAT,HOST"]) == 0
    assert capsys.readouterr().out == "a,stop,\n*b,runn,node1\n"


def test_show_tells_everything(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.vm.info"] = sample("vm_running_disk_nic.xml").replace(
        "<STIME>1795335257</STIME><ETIME>0</ETIME>", "<STIME>1795335257</STIME><ETIME>1795335857</ETIME>"
    )
    assert main(["show", "1"]) == 0
    assert server.calls == [("one.vm.info", (1, False))]
    assert_screen("onevm_show", capsys.readouterr().out)


def test_show_tells_how_far_a_transfer_is_within_80_columns(server: ScriptedServer, capsys: Captured) -> None:
    progress = (
        "<TRANSFER>MV qcow2 front:/var/lib/one//datastores/100/12727 a-host-with-a-long-name.example.org:"
        "/var/lib/one//datastores/0/12727 12727 0</TRANSFER><TRANSFER_STEP>3/3</TRANSFER_STEP>"
        "<TRANSFER_BYTES>482344960</TRANSFER_BYTES><TRANSFER_TOTAL_BYTES>1073741824</TRANSFER_TOTAL_BYTES>"
        "<TRANSFER_PERCENT>44</TRANSFER_PERCENT>"
    )
    server.answers["one.vm.info"] = _vm(7, "web", 8).replace(
        "<HISTORY_RECORDS>", f"<USER_TEMPLATE><NOTE>x</NOTE>{progress}</USER_TEMPLATE><HISTORY_RECORDS>"
    )
    assert main(["show", "7"]) == 0
    printed = capsys.readouterr().out
    assert printed.partition("VIRTUAL MACHINE TRANSFER")[2].partition("PERMISSIONS")[0].split("\n")[1:-2] == [
        "STEP                : 3/3",
        "LINE                : MV qcow2 front:/var/lib/one//datastores/100/12727",
        "                      a-host-with-a-long-name.example.org:/var/lib/one//datastor",
        "                      es/0/12727",
        "                      12727 0",
        "COPIED              : 44 % (460M of 1G)",
    ]
    assert max(map(len, printed.splitlines())) <= 80
    assert 'NOTE="x"\n' in printed
    assert "TRANSFER_" not in printed


def test_show_of_a_vm_that_never_ran_has_no_history(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.vm.info"] = sample("vm_hold.xml")
    assert main(["show", "2"]) == 0
    printed = capsys.readouterr().out
    assert "STATE               : HOLD\nLCM_STATE           : LCM_INIT\n" in printed
    assert "HISTORY" not in printed
    assert "DEPLOY ID           : -\n" in printed


def test_show_all_repeats_disks_and_nics_in_the_template(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.vm.info"] = sample("vm_running_disk_nic.xml")
    assert main(["show", "1"]) == 0
    assert "DISK=[" not in capsys.readouterr().out
    assert main(["show", "1", "--all"]) == 0
    assert "DISK=[\n  ALLOW_ORPHANS=" in capsys.readouterr().out


def test_the_history_has_opennebulas_columns_within_a_page(server: ScriptedServer, capsys: Captured) -> None:
    record = (
        "<SEQ>0</SEQ><UID>-1</UID><REQUEST_ID>-1</REQUEST_ID><HOSTNAME>node1</HOSTNAME><ACTION>0</ACTION>"
        "<DS_ID>0</DS_ID><STIME>1700000000</STIME><ETIME>1795344740</ETIME>"
        "<PSTIME>1700000000</PSTIME><PETIME>1700000002</PETIME>"
    )
    server.answers["one.vm.info"] = (
        f"<VM><ID>5</ID><STATE>3</STATE><LCM_STATE>3</LCM_STATE><HISTORY_RECORDS><HISTORY>{record}</HISTORY>"
        "</HISTORY_RECORDS></VM>"
    )
    assert main(["show", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("SEQ UID REQ HOST             ACTION       DS          START        TIME   PROLOG")
    assert lines[at + 1] == "  0 -   -   node1            none          0 11/14 22:13:20 1103d 12h39 0h00m02s"


@pytest.mark.parametrize("action", ["disk-snapshot-delete", "disk-snapshot-rename", "poweroff-hard-migrate"])
def test_the_longest_actions_of_a_long_history_are_told_in_full_within_80_columns(
    server: ScriptedServer, capsys: Captured, action: str
) -> None:
    number = next(number for number in range(100) if action_word(number) == action)
    record = (
        "<SEQ>100</SEQ><UID>120</UID><REQUEST_ID>-1</REQUEST_ID><HOSTNAME>node12.example.org</HOSTNAME>"
        f"<ACTION>{number}</ACTION><DS_ID>104</DS_ID><STIME>1795257857</STIME><ETIME>1795344740</ETIME>"
        "<PSTIME>1795257857</PSTIME><PETIME>1795260857</PETIME>"
    )
    server.answers["one.vm.info"] = (
        f"<VM><ID>5</ID><STATE>3</STATE><HISTORY_RECORDS><HISTORY>{record}</HISTORY></HISTORY_RECORDS></VM>"
    )
    assert main(["show", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = lines[lines.index(f"{'VIRTUAL MACHINE HISTORY':<80}") + 2]
    assert shown.split()[:6] == ["100", "120", "-", "node12.example.org"[: len(shown.split()[3])], action, "104"]
    assert len(shown.split()[3]) >= 7
    assert max(len(line) for line in lines) <= 80


def test_show_as_json(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.vm.info"] = sample("vm_running_disk_nic.xml")
    assert main(["show", "1", "-j", "--decrypt"]) == 0
    assert server.calls == [("one.vm.info", (1, True))]
    vm = json.loads(capsys.readouterr().out)["VM"]
    assert vm["HISTORY_RECORDS"]["HISTORY"][0]["HOSTNAME"] == "h0"
    assert vm["TEMPLATE"]["DISK"][0]["IMAGE"] == "img0"


@pytest.mark.parametrize(
    ("command", "action"),
    [
        (["hold", "5"], "hold"),
        (["release", "5"], "release"),
        (["suspend", "5"], "suspend"),
        (["stop", "5"], "stop"),
        (["undeploy", "5"], "undeploy"),
        (["undeploy", "5", "--hard"], "undeploy-hard"),
        (["reboot", "5"], "reboot"),
        (["reboot", "5", "--hard"], "reboot-hard"),
        (["poweroff", "5"], "poweroff"),
        (["poweroff", "5", "--hard"], "poweroff-hard"),
        (["resume", "5"], "resume"),
        (["terminate", "5"], "terminate"),
        (["terminate", "--hard", "5"], "terminate-hard"),
        (["resched", "5"], "resched"),
        (["unresched", "5"], "unresched"),
    ],
)
def test_actions_are_opennebulas_and_silent(
    server: ScriptedServer, capsys: Captured, command: list[str], action: str
) -> None:
    server.answers["one.vm.action"] = 5
    assert main(command) == 0
    assert server.asked("one.vm.action") == [(action, 5)]
    assert capsys.readouterr() == ("", "")


def test_verbose_tells_what_is_done_to_each(server: ScriptedServer, capsys: Captured) -> None:
    def terminate(action: str, vm: int) -> int:
        if vm == 6:
            raise Refusal("[one.vm.action] not now")
        return vm

    server.answers["one.vm.action"] = terminate
    assert main(["terminate", "5..7", "-v"]) == 255
    assert capsys.readouterr() == (
        "VM 5: shutting down\nVM 6: shutting down\nVM 7: shutting down\n",
        "VM 6: [one.vm.action] not now\n",
    )


def test_a_refusal_that_names_no_vm_gets_its_name_when_there_are_several_and_is_verbatim_for_one(
    server: ScriptedServer, capsys: Captured
) -> None:
    refusal = 'Error performing action "suspend": This action is not available for state DONE'

    def suspend(action: str, vm: int) -> int:
        raise Refusal(f"[one.vm.action] {refusal if vm < 9 else f'Error getting virtual machine [{vm}].'}", 2048, vm)

    server.answers["one.vm.action"] = suspend
    assert main(["suspend", "5"]) == 255
    assert capsys.readouterr().err == f"[one.vm.action] {refusal}\n"
    assert main(["suspend", "5,8,9"]) == 255
    assert capsys.readouterr().err == (
        f"VM 5: [one.vm.action] {refusal}\nVM 8: [one.vm.action] {refusal}\n"
        "[one.vm.action] Error getting virtual machine [9].\n"
    )


def test_a_name_that_is_not_known_ends_the_command_before_anything_is_done(
    server: ScriptedServer, capsys: Captured
) -> None:
    server.answers["one.vmpool.info"] = "<VM_POOL/>"
    assert main(["suspend", "5,nobody,6"]) == 255
    assert capsys.readouterr() == ("", "VM named nobody not found.\n")
    assert server.asked("one.vm.action") == []


@pytest.mark.parametrize(
    ("option", "operation"),
    [("--failure", 0), ("--success", 1), ("--retry", 2), ("--delete", 3), ("--recreate", 4), ("--delete-db", 5)],
)
def test_recover_passes_opennebulas_number(server: ScriptedServer, option: str, operation: int) -> None:
    server.answers["one.vm.recover"] = 5
    assert main(["recover", "5,6", option]) == 0
    assert server.asked("one.vm.recover") == [(5, operation), (6, operation)]


def test_recover_takes_ranges_and_lists_and_goes_on_after_a_refusal(server: ScriptedServer, capsys: Captured) -> None:
    def recover(vm: int, operation: int) -> int:
        if vm in (4, 9):
            raise Refusal(f"[one.vm.recover] VM {vm} is not stuck", 2048, vm)
        return vm

    server.answers["one.vm.recover"] = recover
    assert main(["recover", "3..5,9,7", "--retry", "-v"]) == 255
    assert server.asked("one.vm.recover") == [(3, 2), (4, 2), (5, 2), (9, 2), (7, 2)]
    assert capsys.readouterr() == (
        "".join(f"VM {vm}: recovering\n" for vm in (3, 4, 5, 9, 7)),
        "[one.vm.recover] VM 4 is not stuck\n[one.vm.recover] VM 9 is not stuck\n",
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["recover", "7..3", "--retry"], "The range 7..3 must rise and hold at most 100000 ids.\n"),
        (["suspend", "3..x"], "VM named 3..x not found.\n"),
        (["stop", "nobody"], "VM named nobody not found.\n"),
        (["undeploy", "twin"], "There are multiple VMs with name twin.\n"),
        (["migrate", "5", "nowhere", "--live"], "HOST named nowhere not found.\n"),
        (["migrate", "5", "2", "nowhere"], "DATASTORE named nowhere not found.\n"),
        (["suspend", "5", "--hard"], "invalid option: --hard\n"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_happens(
    server: ScriptedServer, capsys: Captured, argv: list[str], message: str
) -> None:
    server.answers |= {
        "one.vmpool.info": f"<VM_POOL>{_vm(1, 'twin', 3)}{_vm(2, 'twin', 3)}</VM_POOL>",
        "one.hostpool.info": sample("hostpool.xml"),
        "one.datastorepool.info": sample("datastorepool.xml"),
    }
    assert main(argv) == 255
    assert capsys.readouterr() == ("", message)
    assert all(method.endswith("pool.info") for method in server.methods())


@pytest.mark.parametrize("options", [[], ["--retry", "--delete"]])
def test_recover_needs_exactly_one_way(server: ScriptedServer, capsys: Captured, options: list[str]) -> None:
    assert main(["recover", "5", *options]) == 255
    printed = capsys.readouterr()
    assert printed.err.startswith("Say in one way how to recover: --failure, --success, --retry,")
    assert server.calls == []


def test_deploy_passes_host_datastore_and_enforce(server: ScriptedServer) -> None:
    server.answers |= {
        "one.vm.deploy": 5,
        "one.hostpool.info": sample("hostpool.xml"),
        "one.datastorepool.info": sample("datastorepool.xml"),
    }
    assert main(["deploy", "5", "s11"]) == 0
    assert main(["deploy", "5,6", "s11", "sysd", "-e"]) == 0
    assert server.asked("one.vm.deploy") == [
        (5, 13, False, -1, ""),
        (5, 13, True, 100, ""),
        (6, 13, True, 100, ""),
    ]


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ([], (5, 2, False, False, -1, 0)),
        (["--live"], (5, 2, True, False, -1, 0)),
        (["--poff", "-e"], (5, 2, False, True, -1, 1)),
        (["--poff-hard"], (5, 2, False, False, -1, 2)),
    ],
)
def test_migrate_passes_how(server: ScriptedServer, options: list[str], arguments: tuple[object, ...]) -> None:
    server.answers["one.vm.migrate"] = 5
    assert main(["migrate", "5", "2", *options]) == 0
    assert server.asked("one.vm.migrate") == [arguments]


def test_migrate_refuses_two_ways_at_once(capsys: Captured) -> None:
    assert main(["migrate", "5", "2", "--live", "--poff"]) == 255
    assert capsys.readouterr().err == "--live and --poff exclude each other.\n"


def test_create_from_a_file_prints_the_id(server: ScriptedServer, tmp_path: Path, capsys: Captured) -> None:
    server.answers["one.vm.allocate"] = 7
    file = tmp_path / "vm"
    file.write_text("NAME=a\nCPU=1\n", encoding="utf-8")
    assert main(["create", str(file)]) == 0
    assert main(["create", str(file), "--hold"]) == 0
    assert server.asked("one.vm.allocate") == [("NAME=a\nCPU=1\n", False), ("NAME=a\nCPU=1\n", True)]
    assert capsys.readouterr().out == "ID: 7\nID: 7\n"


def test_create_from_standard_input(server: ScriptedServer, stdin: Callable[[str], None]) -> None:
    server.answers["one.vm.allocate"] = 7
    stdin("NAME=b")
    assert main(["create"]) == 0
    assert server.asked("one.vm.allocate") == [("NAME=b", False)]


def test_create_from_options_makes_several_numbered_vms(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.vm.allocate"] = 7
    options = [
        "--name",
        "web%i",
        "--cpu",
        "0.5",
        "--vcpu",
        "2",
        "--memory",
        "8g",
        "--disk",
        "3,img0:size=20:target=vdb",
    ]
    assert main(["create", *options, "-m", "2"]) == 0
    expected = (
        'NAME="web{}"\nCPU="0.5"\nVCPU="2"\nMEMORY="8192"\n'
        'DISK=[\n  IMAGE_ID="3" ]\nDISK=[\n  IMAGE="img0",\n  SIZE="20",\n  TARGET="vdb" ]'
    )
    assert [arguments[0] for arguments in server.asked("one.vm.allocate")] == [expected.format(0), expected.format(1)]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["create"], "No template: give a file, standard input or options that describe the object."),
        (["create", "file", "--cpu", "1"], "Give a template file or template options, not both: file and --cpu."),
        (["create", "--name", "a", "--memory", "lots"], "--memory must be a size of at least 1 MB"),
        (["create", "--name", "a", "-m", "0"], "--multiple must be from 1 to 10000, it is 0."),
        (["create", "--name", "a", "--disk", "3:size"], "--disk takes IMAGE:KEY=VALUE, not '3:size'."),
    ],
)
def test_create_refuses_what_makes_no_sense(
    server: ScriptedServer, capsys: Captured, argv: list[str], message: str
) -> None:
    assert main(argv) == 255
    assert capsys.readouterr().err.startswith(message)
    assert server.calls == []


def test_update_and_rename(server: ScriptedServer, stdin: Callable[[str], None]) -> None:
    server.answers |= {"one.vm.update": 5, "one.vm.rename": 5}
    stdin('RESTART_ORDER="2"')
    assert main(["update", "5", "--append"]) == 0
    assert main(["rename", "5", "web02"]) == 0
    assert server.calls == [("one.vm.update", (5, 'RESTART_ORDER="2"', 1)), ("one.vm.rename", (5, "web02"))]


def test_the_servers_refusal_is_passed_on_word_for_word(server: ScriptedServer, capsys: Captured) -> None:
    def missing(vm: int, decrypt: bool) -> str:
        raise Refusal(f"[one.vm.info] Error getting virtual machine [{vm}].", 1024, vm)

    server.answers["one.vm.info"] = missing
    assert main(["show", "9999"]) == 255
    assert capsys.readouterr() == ("", "[one.vm.info] Error getting virtual machine [9999].\n")
