"""``onevm recover ID --retry --interactive`` on a pseudo-terminal: a move that really fails, on real files."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e.daemon import until
from tests.e2e.dialogue import Terminal
from tests.e2e.repair_stage import FAILURE, POWEROFF, RepairStage

MENU = "Choose action:\n(r) Run action\n(n) Skip to next action\n(a) Show all actions\n(q) Quit\n> "


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RepairStage]:
    """One controller for all tests here."""
    begun = RepairStage(tmp_path_factory.mktemp("repair"))
    try:
        yield begun
    finally:
        begun.close()


@pytest.fixture
def vm_id(stage: RepairStage) -> Iterator[int]:
    """A VM whose move has failed; it does not outlive its test."""
    stuck = stage.stuck_vm()
    yield stuck
    stage.open_gate()
    if not stage.mount.exists():
        stage.remount()

    def delete() -> bool:
        if stage.daemon.vm_at(stuck)[0] == "6":
            return True
        stage.daemon.run("onevm", "recover", "--delete", str(stuck))
        return False

    until(delete, 40, "its end")


def green(text: str) -> str:
    return f"\x1b[32m{text}\x1b[0m"


def red(text: str) -> str:
    return f"\x1b[31m{text}\x1b[0m"


def action_list(lines: list[str]) -> str:
    numbered = "".join(f"({number}) {line}\n" for number, line in enumerate(lines, 1))
    return f"{green('TM Action list:')}\n{numbered}\n"


def current(lines: list[str], number: int) -> str:
    return f"{green(f'Current action ({number}):')}\n{lines[number - 1]}\n\n{MENU}"


def begun(lines: list[str], number: int = 1) -> str:
    return f"{green('TM Debug Interactive Environment.')}\n\n{action_list(lines)}{current(lines, number)}"


def hint(vm_id: int) -> str:
    return (
        "If all the TM actions have been successful and you want to\n"
        "recover the Virtual Machine to the RUNNING state execute this \n"
        f"command $ onevm recover {vm_id} --success\n"
    )


def test_the_dialogue_of_the_guide(stage: RepairStage, vm_id: int) -> None:
    lines = stage.lines(vm_id)
    assert [line.split()[:2] for line in lines] == [["MV", "shared"], ["MV", "shared"]]
    with Terminal() as terminal, stage.dialogue(terminal, vm_id) as dialogue:
        expected = begun(lines)
        dialogue.becomes(expected)
        for typed, shown in (
            ("what", "\n> "),
            ("A", f"\n{action_list(lines)}{current(lines, 1)}"),
            (" r ", f"\nSUCCESS\n\n{current(lines, 2)}"),
        ):
            dialogue.type(typed)
            expected += f"{typed}\n{shown}"
            dialogue.becomes(expected)
        dialogue.type("r")
        cause = f"{stage.datastores}/100 leads to {stage.mount}, which is not there: is its storage mounted?"
        expected += f"r\n\nLOG E  {cause}\n\n{red('FAILURE. Repeat command.')}\n\n{current(lines, 2)}"
        dialogue.becomes(expected)
        stage.remount()
        dialogue.type("r")
        assert dialogue.code() == 0
        assert dialogue.screen == f"{expected}r\n\nSUCCESS\n\n{hint(vm_id)}"
    assert stage.records(vm_id) == [("RUN", "1", "SUCCESS"), ("RUN", "2", "FAILURE"), ("RUN", "2", "SUCCESS")]
    assert stage.daemon.vm_at(vm_id)[:2] == FAILURE
    stage.daemon.done("onevm", "recover", str(vm_id), "--success")
    assert stage.daemon.vm_at(vm_id)[0] == POWEROFF
    assert stage.disk_is_whole(vm_id)
    stage.daemon.done("onevm", "resume", str(vm_id))
    stage.daemon.wait_for_vm(vm_id, 1)


def test_a_driver_of_the_site_says_what_it_says_to_opennebula(stage: RepairStage, vm_id: int) -> None:
    stage.gated(vm_id)
    script = stage.gate / "mv"
    normal = script.read_text()
    words = ("INFO: mv: Moving stuff", "ERROR: mv: Command cp failed", "Error moving a to b")
    script.write_text("#!/bin/sh\n" + "".join(f'echo "{word}" >&2\n' for word in words) + "exit 3\n")
    failed = stage.daemon.run(*stage.command, str(vm_id), stdin="r\n").stdout
    script.write_text(f'#!/bin/sh\necho "{words[0]}" >&2\n')
    worked = stage.daemon.run(*stage.command, str(vm_id), stdin="r\n").stdout
    script.write_text(normal)
    assert (
        f"> \nLOG I  Command execution failed (exit code: 3): {script} here:/a there:/b 0 100\n"
        "LOG I  mv: Moving stuff\nLOG E  mv: Command cp failed\nLOG I  Error moving a to b\n"
        f"\n{red('FAILURE. Repeat command.')}\n\n"
    ) in failed
    assert "> \nLOG I  mv: Moving stuff\nSUCCESS\n\n" in worked


def test_what_was_done_is_told_by_show_and_by_the_log_of_the_vm(stage: RepairStage, vm_id: int) -> None:
    stage.remount()
    ended = stage.daemon.run(*stage.command[:1], *stage.command[1:], str(vm_id), stdin="r\nn\n")
    assert ended.returncode == 0
    assert ended.stderr == ("WARNING: action 2 was skipped and is recorded as skipped: --success takes it for done.\n")
    shown = stage.daemon.done("onevm", "show", str(vm_id))
    assert "; SKIPPED: action 2 of 2" in shown
    assert "TRANSFER REPAIR" in shown
    for words in (("RUN", "1", "SUCCESS"), ("SKIP", "2")):
        assert any(line.split()[-len(words) :] == list(words) for line in shown.splitlines()), shown
    log = stage.daemon.var / "log" / f"{vm_id}.log"
    until(lambda: "action 2 of 2 was SKIPPED by oneadmin" in log.read_text(), what="the log")
    written = log.read_text()
    assert "Repair of transfer.1.migrate begun by oneadmin" in written
    assert "Repair of transfer.1.migrate: action 1 of 2, run by oneadmin" in written
    assert "Repair of transfer.1.migrate left by oneadmin" in written


@pytest.mark.parametrize(("typed", "last"), [("q\n", "> \n"), ("", "> \n"), ("x\n", "> \n> \n")])
def test_to_quit_and_the_end_of_the_input_leave_the_vm_as_it_is(
    stage: RepairStage, vm_id: int, typed: str, last: str
) -> None:
    ended = stage.daemon.run(*stage.command, str(vm_id), stdin=typed)
    assert (ended.returncode, ended.stderr) == (255, "")
    assert ended.stdout.endswith(last)
    assert stage.repair(vm_id).findtext("HOLDER/UID") is None
    assert stage.daemon.vm_at(vm_id)[:2] == FAILURE


def test_a_second_operator_is_told_who_is_at_it_and_may_take_it_over(stage: RepairStage, vm_id: int) -> None:
    lines = stage.lines(vm_id)
    with Terminal() as one, Terminal() as two, stage.dialogue(one, vm_id) as first:
        first.answer("r")
        first.until(current(lines, 2))
        refusal = stage.daemon.refused("onevm", "recover", str(vm_id), "--retry", "--interactive")
        seat = one.name.removeprefix("/dev/")
        assert f", {seat}) since 20" in refusal
        assert f"onevm recover {vm_id} --retry --interactive --take-over" in refusal
        for way in ("--retry", "--success", "--failure", "--delete"):
            assert seat in stage.daemon.refused("onevm", "recover", str(vm_id), way)
        assert seat in stage.daemon.refused("onevm", "terminate", "--hard", str(vm_id))
        with stage.dialogue(two, vm_id, "--take-over") as second:
            assert second.until("> ").endswith(current(lines, 2))
            first.type("n")
            first.shows("is in other hands: oneadmin")
            assert first.code() == 255
            second.type("q")
            assert second.code() == 255
    assert [deed for deed, _, _ in stage.records(vm_id)] == ["RUN", "TAKE_OVER"]


def test_who_comes_back_to_his_terminal_goes_on_where_he_was(stage: RepairStage, vm_id: int) -> None:
    lines = stage.lines(vm_id)
    with Terminal() as terminal:
        with stage.dialogue(terminal, vm_id) as lost:
            lost.answer("r")
            lost.until(current(lines, 2))
            lost.process.kill()
            lost.process.wait(10)
        with stage.dialogue(terminal, vm_id) as back:
            back.until("> ")
            assert "Going on with action 2" in back.screen
            assert back.screen.endswith(current(lines, 2))
            back.type("q")
            assert back.code() == 255


def test_ctrl_c_ends_it_quietly_and_lets_others_in(stage: RepairStage, vm_id: int) -> None:
    with Terminal() as terminal, stage.dialogue(terminal, vm_id) as dialogue:
        dialogue.until("> ")
        dialogue.interrupt()
        assert dialogue.code() == 130
        assert dialogue.screen.endswith("> \nInterrupted.\n")
    assert stage.daemon.run(*stage.command, str(vm_id), stdin="q\n").stderr == ""


def test_a_line_goes_on_when_its_operator_leaves_and_the_next_one_sees_it(stage: RepairStage, vm_id: int) -> None:
    stage.gated(vm_id)
    with Terminal() as terminal:
        with stage.dialogue(terminal, vm_id) as dialogue:
            dialogue.answer("r")
            until(lambda: stage.runs() == 1, what="the run")
            dialogue.interrupt()
            assert dialogue.code() == 130
        assert "still runs" in stage.daemon.refused("onevm", "recover", str(vm_id), "--success")
        with stage.dialogue(terminal, vm_id) as again:
            again.shows("Action 1 is running since")
            stage.open_gate()
            again.until(current(["", stage.lines(vm_id)[1]], 2))
            assert "SUCCESS" in again.screen
            again.type("q")
            assert again.code() == 255
    assert stage.runs() == 1


def test_a_controller_that_is_killed_while_a_line_runs_does_not_run_it_again(stage: RepairStage, vm_id: int) -> None:
    stage.gated(vm_id)
    lines = stage.lines(vm_id)
    with Terminal() as terminal, stage.dialogue(terminal, vm_id) as dialogue:
        dialogue.answer("r")
        until(lambda: stage.runs() == 1, what="the run")
        stage.daemon.kill()
        dialogue.shows("Trying again for")
        stage.daemon.start()
        dialogue.until(f"{red('UNKNOWN. Look at the files before you repeat the command.')}\n\n{current(lines, 1)}")
        assert "LOG W  The controller stopped while this action ran" in dialogue.screen
        assert stage.runs() == 1
        stage.open_gate()
        dialogue.type("r")
        dialogue.until(f"SUCCESS\n\n{current(lines, 2)}")
        assert stage.runs() == 2
        stage.remount()
        dialogue.type("r")
        assert dialogue.code() == 0
    assert stage.records(vm_id) == [("RUN", "1", "UNKNOWN"), ("RUN", "1", "SUCCESS"), ("RUN", "2", "SUCCESS")]
    stage.daemon.done("onevm", "recover", str(vm_id), "--success")
    assert stage.disk_is_whole(vm_id)


def test_a_plain_retry_stops_a_line_that_nobody_watches_and_moves_everything(stage: RepairStage, vm_id: int) -> None:
    stage.gated(vm_id)
    with Terminal() as terminal, stage.dialogue(terminal, vm_id) as dialogue:
        dialogue.answer("r")
        until(lambda: stage.runs() == 1, what="the run")
        dialogue.interrupt()
        assert dialogue.code() == 130
    stage.remount()
    stage.daemon.done("onevm", "recover", str(vm_id), "--retry")
    until(lambda: stage.daemon.vm_at(vm_id)[0] == POWEROFF, what="POWEROFF")
    assert stage.records(vm_id) == [("RUN", "1", "CANCELLED")]
    assert stage.disk_is_whole(vm_id)


def test_what_is_not_a_failed_transfer_is_refused_with_the_way_out(stage: RepairStage, vm_id: int) -> None:
    refused = stage.daemon.refused
    with_both = ("--retry", "--interactive")
    assert "Error getting virtual machine [999]" in refused("onevm", "recover", "999", *with_both)
    assert "one VM at a time" in refused("onevm", "recover", f"{vm_id},{vm_id + 1}", *with_both)
    assert "one VM at a time" in refused("onevm", "recover", f"{vm_id}..{vm_id}", *with_both)
    assert "Say in one way how to recover" in refused("onevm", "recover", str(vm_id), "--interactive")
    assert "goes with --retry" in refused("onevm", "recover", str(vm_id), "--success", "--interactive")
    assert "goes with --retry --interactive" in refused("onevm", "recover", str(vm_id), "--retry", "--take-over")
    stage.file(vm_id).rename(stage.file(vm_id).with_suffix(".away"))
    missing = refused("onevm", "recover", str(vm_id), *with_both)
    assert f"Cannot read {stage.file(vm_id)}: No such file or directory" in missing
    stage.file(vm_id).with_suffix(".away").rename(stage.file(vm_id))
    running = stage.daemon.vm("plain", 0)
    state = refused("onevm", "recover", str(running), *with_both)
    assert "Current LCM STATE 'RUNNING' not compatible with RECOVER RETRY action." in state
    stage.daemon.done("onevm", "recover", "--delete", str(running))


def test_a_silent_dialogue_holds_the_vm_with_signs_of_life(stage: RepairStage, vm_id: int) -> None:
    with Terminal() as terminal, stage.dialogue(terminal, vm_id) as dialogue:
        dialogue.until("> ")
        time.sleep(5)
        refusal = stage.daemon.refused("onevm", "recover", str(vm_id), "--retry")
        heard_s = int(refusal.partition("last heard ")[2].split()[0])
        assert heard_s < 5
        dialogue.type("q")
        assert dialogue.code() == 255
