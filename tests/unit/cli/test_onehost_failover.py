"""``onehost failover``: the screens an operator reads at night, and the one dangerous command."""

from __future__ import annotations

import json

import pytest

from holdfast.cli.onehost import main
from tests.unit.cli.golden import assert_screen, own_sample
from tests.unit.cli.scripted_server import ScriptedServer, sample

Captured = pytest.CaptureFixture[str]


def _ended(text: str) -> str:
    """The failover with an end, so that its screen does not depend on the time."""
    return text.replace("<ETIME>0</ETIME>", "<ETIME>1795335674.5</ETIME>")


@pytest.fixture
def done() -> str:
    return own_sample("failover_done.xml")


@pytest.fixture
def blocked() -> str:
    return _ended(own_sample("failover_blocked.xml"))


def test_the_list_shows_the_blocked_one_with_its_reason(
    server: ScriptedServer, capsys: Captured, done: str, blocked: str
) -> None:
    server.answers["one.failoverpool.info"] = f"<FAILOVER_POOL>{blocked}{done}</FAILOVER_POOL>"
    assert main(["failover", "list"]) == 0
    assert_screen("failover_list", capsys.readouterr().out)


def test_the_list_can_be_filtered_and_exported(
    server: ScriptedServer, capsys: Captured, done: str, blocked: str
) -> None:
    server.answers["one.failoverpool.info"] = f"<FAILOVER_POOL>{blocked}{done}</FAILOVER_POOL>"
    assert main(["failover", "list", "-f", "STATE=DONE", "--csv", "--no-header"]) == 0
    assert capsys.readouterr().out == "3,node3,DONE,2/2,11/22 08:16:22,6.5 s,\n"


def test_one_that_goes_on_shows_the_time_so_far(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.failoverpool.info"] = f"<FAILOVER_POOL>{own_sample('failover_blocked.xml')}</FAILOVER_POOL>"
    assert main(["failover", "list", "--csv", "--no-header", "-l", "TOOK"]) == 0
    assert capsys.readouterr().out.strip() not in ("", "0.0 s")


def test_show_of_a_finished_one_tells_evidence_proof_vms_and_timeline(
    server: ScriptedServer, capsys: Captured, done: str
) -> None:
    server.answers["one.failover.info"] = done
    assert main(["failover", "show", "3"]) == 0
    assert server.calls == [("one.failover.info", (3,))]
    assert_screen("failover_show_done", capsys.readouterr().out)


def test_show_of_a_blocked_one_says_exactly_what_unblocks_it(
    server: ScriptedServer, capsys: Captured, blocked: str
) -> None:
    server.answers["one.failover.info"] = blocked
    assert main(["failover", "show", "4"]) == 0
    assert_screen("failover_show_blocked", capsys.readouterr().out)


def test_a_blocked_one_with_a_proof_does_not_ask_for_a_confirmation(
    server: ScriptedServer, capsys: Captured, blocked: str
) -> None:
    proof = "<PROOFS><PROOF><ID>1</ID><KIND>FENCED</KIND><TIME>1795335483</TIME></PROOF></PROOFS>"
    server.answers["one.failover.info"] = blocked.replace("<PROOFS></PROOFS>", proof)
    assert main(["failover", "show", "4"]) == 0
    printed = capsys.readouterr().out
    assert "onehost failover confirm" not in printed
    assert "onehost failover retry 4" in printed


def test_show_of_an_aborted_one_says_why(server: ScriptedServer, capsys: Captured, blocked: str) -> None:
    server.answers["one.failover.info"] = blocked.replace("BLOCKED</STATE_STR>", "ABORTED</STATE_STR>")
    assert main(["failover", "show", "4"]) == 0
    printed = capsys.readouterr().out
    assert "\nAborted: Fence device node2-bmc did not answer" in printed
    assert "IT WAITS FOR YOU" not in printed


def test_show_as_json_has_lists_of_vms_and_steps(server: ScriptedServer, capsys: Captured, done: str) -> None:
    server.answers["one.failover.info"] = done
    assert main(["failover", "show", "3", "-j"]) == 0
    failover = json.loads(capsys.readouterr().out)["FAILOVER"]
    assert [vm["ID"] for vm in failover["VMS"]["VM"]] == ["5", "6"]
    assert isinstance(failover["PROOFS"]["PROOF"], list)


@pytest.mark.parametrize(
    ("options", "mode", "flags"),
    [
        ([], "migrate", 'FORCE="NO" FENCING="YES"'),
        (["-m", "-p", "5"], "migrate", 'FORCE="NO" PAUSE="5" FENCING="YES"'),
        (["-rf", "-p0", "-u"], "recreate", 'FORCE="YES" PAUSE="0" FENCING="NO"'),
        (["-m", "--delete"], "delete", 'FORCE="NO" FENCING="YES"'),
    ],
)
def test_allocate_passes_mode_and_flags(
    server: ScriptedServer, capsys: Captured, options: list[str], mode: str, flags: str
) -> None:
    server.answers |= {"one.failover.allocate": 9, "one.hostpool.info": sample("hostpool.xml")}
    assert main(["failover", "allocate", "s11", *options]) == 0
    assert server.asked("one.failover.allocate") == [(13, mode, flags)]
    assert capsys.readouterr().out == "ID: 9\n"


@pytest.mark.parametrize("command", ["retry", "abort"])
def test_retry_and_abort_are_silent(server: ScriptedServer, capsys: Captured, command: str) -> None:
    server.answers[f"one.failover.{command}"] = 4
    assert main(["failover", command, "4"]) == 0
    assert server.calls == [(f"one.failover.{command}", (4,))]
    assert capsys.readouterr() == ("", "")


def test_confirm_without_a_terminal_insists_on_yes(server: ScriptedServer, capsys: Captured) -> None:
    assert main(["failover", "confirm", "4"]) == 255
    assert capsys.readouterr().err == "onehost failover confirm needs --yes when there is no terminal to ask on.\n"
    assert server.calls == []


def test_confirm_with_yes_passes_the_comment(server: ScriptedServer) -> None:
    server.answers["one.failover.confirm"] = 4
    assert main(["failover", "confirm", "4", "--yes", "--comment", "cable is in my hand"]) == 0
    assert server.calls == [("one.failover.confirm", (4, "cable is in my hand"))]


@pytest.mark.parametrize("command", ["show", "retry", "confirm", "abort"])
def test_a_failover_is_named_by_its_number(server: ScriptedServer, capsys: Captured, command: str) -> None:
    assert main(["failover", command, "node2"]) == 255
    assert "named by its number, not 'node2'" in capsys.readouterr().err
    assert server.calls == []


def test_against_opennebula_it_says_that_failovers_are_not_offered(server: ScriptedServer, capsys: Captured) -> None:
    assert main(["failover", "list"]) == 255
    assert capsys.readouterr().err == f"{server.endpoint} does not offer one.failoverpool.info.\n"
