"""``onehost``: what is printed and what the server is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.cli.onehost import main
from tests.unit.cli.golden import assert_screen
from tests.unit.cli.scripted_server import Refusal, ScriptedServer, sample

Captured = pytest.CaptureFixture[str]


def _host(host_id: int, name: str, state: int) -> str:
    share = (
        "<MEM_USAGE>131072</MEM_USAGE><CPU_USAGE>50</CPU_USAGE><MAX_MEM>8388608</MAX_MEM><MAX_CPU>400</MAX_CPU>"
        "<RUNNING_VMS>1</RUNNING_VMS>"
    )
    return (
        f"<HOST><ID>{host_id}</ID><NAME>{name}</NAME><STATE>{state}</STATE><CLUSTER>default</CLUSTER>"
        f"<HOST_SHARE>{share}</HOST_SHARE></HOST>"
    )


def test_the_list_is_that_of_opennebulas_command(server: ScriptedServer, capsys: Captured) -> None:
    hosts = _host(0, "node1", 2) + _host(1, "node2.example.org", 3)
    server.answers["one.hostpool.info"] = f"<HOST_POOL>{hosts}</HOST_POOL>"
    assert main(["list"]) == 0
    assert capsys.readouterr().out == (
        "  ID NAME            CLUSTER    TVM      ALLOCATED_CPU      ALLOCATED_MEM STAT\n"
        "   0 node1           default      1     50 / 400 (12%)     128M / 8G (1%) on\n"
        "   1 node2.example.o default      1     50 / 400 (12%)     128M / 8G (1%) err\n"
    )


def test_every_column_has_a_value(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.hostpool.info"] = f"<HOST_POOL>{sample('host_monitored_sim.xml')}</HOST_POOL>"
    names = "TCPU,FCPU,ACPU,TMEM,FMEM,AMEM,REAL_CPU,REAL_MEM,ZVM,PROVIDER"
    assert main(["list", "--csv", "--no-header", "-l", names]) == 0
    assert capsys.readouterr().out == "800,700,790,16G,15G,15.9G,100 / 800 (12%),1G / 16G (6%),0,-\n"


def test_a_host_that_never_reported_shows_dashes(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.hostpool.info"] = (
        "<HOST_POOL><HOST><ID>1</ID><NAME>new</NAME><STATE>0</STATE><HOST_SHARE/><MONITORING/></HOST></HOST_POOL>"
    )
    assert main(["list", "--csv", "--no-header", "-l", "NAME,ALLOCATED_CPU,REAL_CPU,REAL_MEM,STAT"]) == 0
    assert capsys.readouterr().out == "new,-,-,-,init\n"


def test_show_tells_everything(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.hostpool.info"] = sample("hostpool.xml")
    server.answers["one.host.info"] = sample("host_monitored_sim.xml")
    server.answers["one.vmpool.info"] = sample("vmpool_info.xml").replace(
        "<ETIME>0</ETIME>", "<ETIME>1795350000</ETIME>"
    )
    assert main(["show", "s0"]) == 0
    assert server.asked("one.host.info") == [(2,)]
    assert_screen("onehost_show", capsys.readouterr().out)


def test_show_tells_wild_vms_and_local_datastores(server: ScriptedServer, capsys: Captured) -> None:
    wild = "<VM><VM_NAME>stray</VM_NAME><DEPLOY_ID>0db95358-23c8-42f6-bace-1cee16126445</DEPLOY_ID></VM>"
    local = "<DS><ID>100</ID><TOTAL_MB>20480</TOTAL_MB><USED_MB>1024</USED_MB><FREE_MB>19456</FREE_MB></DS>"
    text = sample("host_error.xml").replace("<TEMPLATE>", f"<TEMPLATE>{wild}")
    server.answers["one.host.info"] = text.replace("<DATASTORES>", f"<DATASTORES>{local}")
    server.answers["one.vmpool.info"] = "<VM_POOL/>"
    assert main(["show", "13"]) == 0
    assert_screen("onehost_show_wild", capsys.readouterr().out)


def test_show_gives_the_servers_document(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.host.info"] = sample("host_error.xml")
    assert main(["show", "13", "-x"]) == 0
    assert capsys.readouterr().out.startswith("<HOST>\n  <ID>13</ID>\n  <NAME>s11</NAME>\n")
    assert server.methods() == ["one.host.info"]


def test_create_prints_the_id(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.host.allocate"] = 7
    server.answers["one.clusterpool.info"] = sample("clusterpool.xml")
    assert main(["create", "node7", "-i", "kvm", "-v", "kvm"]) == 0
    assert main(["create", "node8", "--im", "kvm", "--vm", "qemu", "-c", "default"]) == 0
    assert server.asked("one.host.allocate") == [("node7", "kvm", "kvm", -1), ("node8", "kvm", "qemu", 0)]
    assert capsys.readouterr() == ("ID: 7\nID: 7\n", "")


def test_create_needs_both_drivers(server: ScriptedServer, capsys: Captured) -> None:
    assert main(["create", "node7", "-i", "kvm"]) == 255
    assert capsys.readouterr().err == "Drivers are mandatory to create a host: --vm not given\n"
    assert server.calls == []


@pytest.mark.parametrize(("command", "status"), [("enable", 0), ("disable", 1), ("offline", 2)])
def test_the_status_is_set_silently(server: ScriptedServer, capsys: Captured, command: str, status: int) -> None:
    server.answers["one.host.status"] = 3
    assert main([command, "3,5"]) == 0
    assert server.asked("one.host.status") == [(3, status), (5, status)]
    assert capsys.readouterr() == ("", "")


def test_flush_disables_the_host_and_reschedules_what_can_move(server: ScriptedServer, capsys: Captured) -> None:
    def resched(action: str, vm: int) -> int:
        if vm == 0:
            raise Refusal("[one.vm.action] wrong state PROLOG")
        return vm

    server.answers |= {"one.host.status": 0, "one.vm.action": resched}
    pool = sample("vmpool_info.xml").replace("<HID>2</HID>", "<HID>0</HID>")
    server.answers["one.vmpool.info"] = pool
    assert main(["flush", "0"]) == 255
    assert server.asked("one.host.status") == [(0, 1)]
    assert server.asked("one.vm.action") == [("resched", 1), ("resched", 0)]
    assert capsys.readouterr().err == "VM 0 stays: [one.vm.action] wrong state PROLOG\n"


def test_flush_of_an_empty_host_succeeds(server: ScriptedServer, capsys: Captured) -> None:
    server.answers |= {"one.host.status": 0, "one.vmpool.info": "<VM_POOL/>"}
    assert main(["flush", "0,1"]) == 0
    assert server.asked("one.host.status") == [(0, 1), (1, 1)]


def test_update_takes_a_file_and_may_append(server: ScriptedServer, tmp_path: Path, capsys: Captured) -> None:
    server.answers["one.host.update"] = 3
    file = tmp_path / "extra"
    file.write_text('FENCE_IP="192.0.2.7"\n', encoding="utf-8")
    assert main(["update", "3", str(file)]) == 0
    assert main(["update", "3", str(file), "-a"]) == 0
    assert server.asked("one.host.update") == [(3, 'FENCE_IP="192.0.2.7"\n', 0), (3, 'FENCE_IP="192.0.2.7"\n', 1)]


def test_update_takes_standard_input(server: ScriptedServer, stdin: Callable[[str], None]) -> None:
    server.answers["one.host.update"] = 3
    stdin("A=1")
    assert main(["update", "3"]) == 0
    stdin("B=2")
    assert main(["update", "3", "-"]) == 0
    assert [arguments[1] for arguments in server.asked("one.host.update")] == ["A=1", "B=2"]


def test_update_without_anything_is_refused(server: ScriptedServer, capsys: Captured) -> None:
    assert main(["update", "3"]) == 255
    assert capsys.readouterr().err == "No template: give a file or standard input.\n"


def test_update_with_a_file_that_is_missing_names_it(tmp_path: Path, capsys: Captured) -> None:
    assert main(["update", "3", str(tmp_path / "none")]) == 255
    assert capsys.readouterr().err == f"Cannot read {tmp_path}/none: No such file or directory.\n"


def test_rename_finds_the_host_by_name(server: ScriptedServer) -> None:
    server.answers |= {"one.hostpool.info": sample("hostpool.xml"), "one.host.rename": 13}
    assert main(["rename", "s11", "spare"]) == 0
    assert server.asked("one.host.rename") == [(13, "spare")]


def test_an_unknown_host_is_told(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.hostpool.info"] = sample("hostpool.xml")
    assert main(["show", "s99"]) == 255
    assert capsys.readouterr() == ("", "HOST named s99 not found.\n")
