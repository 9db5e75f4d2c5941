"""The real commands against the real controller: what they print, refuse and exit with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.e2e.daemon import GUIDE_HOOK, Daemon, PowerSwitch, until

VM = 'NAME="{name}"\nCPU="{cpu}"\nMEMORY="{memory}"\n'


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One controller for the tests that only need objects of their own."""
    running = Daemon(tmp_path_factory.mktemp("shared"))
    try:
        yield running.start()
    finally:
        running.close()


def created(printed: str) -> int:
    """The id that a create command prints."""
    assert printed.startswith("ID: ")
    return int(printed.removeprefix("ID: "))


def shown(daemon: Daemon, command: str, object_id: int) -> ElementTree.Element:
    """What ``show -x`` prints."""
    return ElementTree.fromstring(daemon.done(command, "show", str(object_id), "-x"))


def held_vm(daemon: Daemon, name: str, cpu: float = 1, memory: int = 64) -> int:
    """A VM on hold."""
    return created(daemon.done("onevm", "create", "--hold", stdin=VM.format(name=name, cpu=cpu, memory=memory)))


def test_a_vm_is_deployed_listed_switched_off_and_ended_by_name(shared: Daemon) -> None:
    host = created(shared.done("onehost", "create", "cli-host", "--im", "dummy", "--vm", "dummy"))
    until(lambda: shown(shared, "onehost", host).findtext("STATE") == "2", what="the host")
    vm_id = held_vm(shared, "cli-vm")
    assert shared.done("onevm", "deploy", "cli-vm", "cli-host") == ""
    shared.wait_for_vm(vm_id, host)
    line = shared.done("onevm", "list", "--list", "ID,NAME,STAT,HOST", "--no-header").split()
    assert line == [str(vm_id), "cli-vm", "runn", "cli-host"]
    assert "VM " + str(vm_id) + ": powering off" in shared.done("onevm", "poweroff", "--hard", "cli-vm", "-v")
    until(lambda: shown(shared, "onevm", vm_id).findtext("STATE") == "8", what="POWEROFF")
    shared.done("onevm", "terminate", "cli-vm")
    until(lambda: shown(shared, "onevm", vm_id).findtext("STATE") == "6", what="DONE")
    shared.done("onehost", "delete", "cli-host")
    assert "HOST named cli-host not found" in shared.refused("onehost", "show", "cli-host")


def test_a_vm_cannot_be_deployed_on_a_host_that_does_not_exist(shared: Daemon) -> None:
    vm_id = held_vm(shared, "homeless")
    assert "[one.vm.deploy] Error getting host [4711]." in shared.refused("onevm", "deploy", str(vm_id), "4711")
    assert "HOST named nowhere not found." in shared.refused("onevm", "deploy", str(vm_id), "nowhere")
    assert shown(shared, "onevm", vm_id).findtext("STATE") == "2"
    shared.done("onevm", "terminate", str(vm_id))


@pytest.mark.parametrize(
    ("command", "template", "said"),
    [
        ("onevm", 'NAME="x"\nCPU="1\nMEMORY="64"\n', "line 3, column 9: expected an attribute name, found '6'"),
        ("onevm", "NAME=x\nDISK=[ IMAGE_ID=0\n", "line 2, column 6: the '[' of DISK is never closed"),
        ("onevm", "NAME=x\n  = 7\n", "line 2, column 3: expected an attribute name, found '='"),
        ("onehook", 'NAME="h"\nTYPE "state"\n', "line 2, column 6: expected '=' after TYPE"),
        ("onevm", "<TEMPLATE><NAME>x</TEMPLATE>", "line 1"),
    ],
)
def test_a_malformed_template_is_refused_with_line_and_column(
    shared: Daemon, command: str, template: str, said: str
) -> None:
    before = shared.done(command, "list")
    assert said in shared.refused(command, "create", stdin=template)
    assert shared.done(command, "list") == before


def test_a_template_without_sense_is_refused_with_the_rule(shared: Daemon, tmp_path: Path) -> None:
    assert "MEMORY attribute must be a positive number" in shared.refused("onevm", "create", stdin="CPU=1\n")
    assert "CPU attribute must be a positive number" in shared.refused("onevm", "create", stdin="MEMORY=64\n")
    unknown = shared.refused("onevm", "create", stdin='CPU=1\nMEMORY=64\nDISK=[IMAGE="nothing"]\n')
    assert 'There is no image named "nothing"' in unknown
    assert "Error getting image [99]" in shared.refused("onevm", "create", stdin="CPU=1\nMEMORY=64\nDISK=[IMAGE_ID=99]")
    assert "No template" in shared.refused("onevm", "create")
    assert f"Cannot read {tmp_path}/no.one" in shared.refused("onevm", "create", str(tmp_path / "no.one"))
    assert "Drivers are mandatory" in shared.refused("onehost", "create", "x")
    assert "Invalid STATE: BURNING" in shared.refused("onehook", "create", stdin=GUIDE_HOOK.replace("ERROR", "BURNING"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("onevm", "show", "4711"), "Error getting virtual machine [4711]."),
        (("onehost", "show", "4711"), "Error getting host [4711]."),
        (("onehook", "show", "4711"), "Error getting hook [4711]."),
        (("onehost", "failover", "show", "4711"), "Error getting failover [4711]."),
        (("onehost", "failover", "retry", "4711"), "Error getting failover [4711]."),
        (("onehost", "failover", "confirm", "4711", "--yes"), "Error getting failover [4711]."),
        (("onehost", "failover", "allocate", "4711", "-m"), "Error getting host [4711]."),
        (("onehost", "failover", "show", "host1"), "A failover is named by its number"),
        (("onevm", "terminate", "4711"), "Error getting virtual machine [4711]."),
        (("onevm", "show", "nobody"), "VM named nobody not found."),
        (("onevm", "recover", "4711", "--retry"), "Error getting virtual machine [4711]."),
        (("onevm", "recover", "4711"), "Say in one way how to recover"),
    ],
)
def test_what_does_not_exist_is_refused_by_its_name(shared: Daemon, words: tuple[str, ...], said: str) -> None:
    assert said in shared.refused(*words)


def test_ranges_and_lists_act_on_every_object_and_tell_those_that_refused(shared: Daemon) -> None:
    first = held_vm(shared, "row-a")
    others = [held_vm(shared, name) for name in ("row-b", "row-c")]
    assert others == [first + 1, first + 2]
    complaint = shared.refused("onevm", "release", f"{first}..{first + 3}")
    assert complaint.count("\n") == 1
    assert f"Error getting virtual machine [{first + 3}]." in complaint
    states = [shown(shared, "onevm", vm_id).findtext("STATE") for vm_id in range(first, first + 3)]
    assert states == ["1", "1", "1"], "all that exist were released"
    assert "must rise" in shared.refused("onevm", "hold", f"{first + 2}..{first}")
    shared.done("onevm", "terminate", f"row-a,{first + 1}..{first + 2}")
    for vm_id in range(first, first + 3):
        assert shown(shared, "onevm", vm_id).findtext("STATE") == "6"


def test_a_vm_without_a_place_stays_pending_says_why_and_runs_when_there_is_room(daemon: Daemon) -> None:
    vm_id = created(daemon.done("onevm", "create", stdin=VM.format(name="big", cpu=2, memory=4096)))

    def reason() -> str:
        return shown(daemon, "onevm", vm_id).findtext("USER_TEMPLATE/SCHED_MESSAGE", "")

    assert "No host can take VMs" in until(reason, what="a reason")
    small = daemon.host("small", DUMMY_MEMORY_KB=str(1024 * 1024))
    until(lambda: "needed 4096 MB and 2 CPU" in reason(), what="the new reason")
    assert "SCHED_MESSAGE" in daemon.done("onevm", "show", str(vm_id))
    assert daemon.vm_at(vm_id)[:2] == ("1", "0")
    big = daemon.host("big")
    daemon.wait_for_vm(vm_id, big)
    assert reason() == ""
    assert daemon.vm_at(vm_id)[2] == [big]
    assert shown(daemon, "onehost", small).findtext("HOST_SHARE/RUNNING_VMS") == "0"


def test_a_lost_vm_without_a_place_waits_says_why_and_is_restarted_when_there_is_room(
    daemon: Daemon, tmp_path: Path
) -> None:
    switch = PowerSwitch(tmp_path / "power")
    lost = daemon.host("lost", **switch.attributes)
    daemon.hook(GUIDE_HOOK.replace("-p 5", "-p 0"))
    vm_id = daemon.vm("big", lost, MEMORY="4096")
    daemon.set_host(lost, DUMMY_DEAD="YES")
    daemon.wait_for_failover("RESTARTING")
    reason = daemon.failover().findtext("VMS/VM/REASON", "")
    assert "No host can take VMs" in reason or "No other host can take VMs" in reason
    assert "VM 0: No " in daemon.done("onehost", "failover", "show", "0")
    spare = daemon.host("spare")
    daemon.wait_for_vm(vm_id, spare)
    done = daemon.wait_for_failover("DONE")
    assert done.findtext("VMS/VM/REASON") == ""
    assert daemon.starts(vm_id) == 2


def test_commands_say_where_they_looked_when_nobody_answers(daemon: Daemon) -> None:
    daemon.close()
    complaint = daemon.refused("onevm", "list")
    assert daemon.endpoint in complaint
    assert complaint.count("\n") == 1
