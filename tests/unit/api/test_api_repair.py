"""``one.vm.repair*`` on the wire."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from xml.etree.ElementTree import Element, fromstring

import pytest

from holdfast.api.responder import Responder
from holdfast.engine import repair_commands as commands
from holdfast.engine.commands import Command
from holdfast.model.repair import Holder, Repair, RepairDeed, RepairRecord, RepairResult
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.api.world import (
    ADMIN_SESSION,
    GUEST_SESSION,
    FakeController,
    call_body,
    history,
    installation,
    reply_values,
    vm,
)

SESSION = "s" * 20
LINES = ("MV shared a:/1 b:/1 5 0", "MV shared a:/2 b:/2 5 0")
FILE = "transfer.0.migrate"
RUN = RepairRecord(
    4, RepairDeed.RUN, 100.5, "oneadmin", "ann@<desk>", FILE, 1, LINES[0], RepairResult.FAILURE, 101.0, "LOG E  no\nso"
)
REPAIR = Repair(
    5, LcmState.PROLOG_MIGRATE_FAILURE, FILE, LINES, 0, Holder(0, "oneadmin", "ann@<desk>", SESSION, 99.0),
    records=(RUN,), next_record=5,
)  # fmt: skip


def stuck() -> FakeController:
    controller = installation()
    failed = vm(5, state=VmState.ACTIVE, lcm_state=LcmState.PROLOG_MIGRATE_FAILURE, history=(history(),))
    controller.put(failed, REPAIR)
    controller.transfers.files[FILE] = LINES
    return controller


def call(controller: FakeController, method: str, *arguments: object, session: str = ADMIN_SESSION) -> list[str]:
    return reply_values(b"".join(asyncio.run(Responder(controller).reply(call_body(method, session, *arguments)))))


def document(controller: FakeController, method: str, *arguments: object) -> Element:
    succeeded, text, _ = call(controller, method, *arguments)
    assert succeeded == "1", text
    return fromstring(text)


@pytest.mark.parametrize(
    ("method", "arguments", "command"),
    [
        ("repair", (SESSION,), commands.BeginRepair(5, SESSION, "", FILE, LINES, False)),
        ("repair", (SESSION, "a@b", True), commands.BeginRepair(5, SESSION, "a@b", FILE, LINES, True)),
        ("repairhold", (SESSION,), commands.HoldRepair(5, SESSION)),
        ("repairrun", (SESSION, 2, 9), commands.RunRepairLine(5, SESSION, 2, 9)),
        ("repairskip", (SESSION, 2), commands.SkipRepairLine(5, SESSION, 2)),
        ("repairquit", (SESSION,), commands.LeaveRepair(5, SESSION)),
    ],
)
def test_a_call_reaches_the_engine_as_its_command(method: str, arguments: tuple[object, ...], command: Command) -> None:
    controller = stuck()
    assert call(controller, f"one.vm.{method}", 5, *arguments) == ["1", "7", "0"]
    [(actor, received)] = controller.calls
    assert (received, actor.name) == (command, "oneadmin")


def test_the_repair_is_shown_with_its_records_and_without_the_key_to_it() -> None:
    shown = document(stuck(), "one.vm.repairinfo", 5)
    assert shown.tag == "REPAIR"
    assert [line.text for line in shown.findall("LINES/LINE")] == list(LINES)
    values = {name: shown.findtext(name) for name in ("VM_ID", "FILE", "POSITION", "RUNNING", "NEXT_RECORD", "ENDED")}
    assert values == {
        "VM_ID": "5", "FILE": FILE, "POSITION": "1", "RUNNING": "0", "NEXT_RECORD": "5", "ENDED": "",
    }  # fmt: skip
    assert shown.findtext("LCM_STATE_STR") == "PROLOG_MIGRATE_FAILURE"
    assert (shown.findtext("HOLDER/SEAT"), shown.findtext("HOLDER/SINCE")) == ("ann@<desk>", "99.000")
    (record,) = shown.findall("RECORDS/RECORD")
    assert (record.findtext("RESULT"), record.findtext("ACTION"), record.findtext("ETIME")) == (
        "FAILURE", "1", "101.000",
    )  # fmt: skip
    assert SESSION not in call(stuck(), "one.vm.repairinfo", 5)[1]


def test_what_a_line_says_comes_from_memory_and_when_that_is_gone_from_the_record() -> None:
    controller = stuck()
    said = document(controller, "one.vm.repairoutput", 5, 4)
    assert [line.text for line in said.findall("LINES/LINE")] == ["LOG E  no", "so"]
    controller.transfers.told[5, 4] = ["LOG I  a", "LOG I  b", "LOG I  c"]
    said = document(controller, "one.vm.repairoutput", 5, 4, 1, 5)
    assert [line.text for line in said.findall("LINES/LINE")] == ["LOG I  b", "LOG I  c"]
    assert (said.findtext("FIRST"), said.findtext("RESULT"), said.findtext("RECORD_ID")) == ("1", "FAILURE", "4")


def test_who_waits_is_answered_as_soon_as_there_is_more_and_not_kept_for_long() -> None:
    controller = stuck()
    controller.put(replace(REPAIR, records=(replace(RUN, result=RepairResult.RUNNING, output=""),), effect_id=3))
    controller.transfers.told[5, 4] = ["LOG I  a"]
    begun = time.monotonic()
    assert document(controller, "one.vm.repairoutput", 5, 4, 1, 1).findtext("RESULT") == "RUNNING"
    assert time.monotonic() - begun > 0.9

    async def story() -> bytes:
        body = call_body("one.vm.repairoutput", ADMIN_SESSION, 5, 4, 1, 20)
        waiting = asyncio.create_task(Responder(controller).reply(body))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        controller.transfers.told[5, 4].append("LOG I  b")
        return b"".join(await asyncio.wait_for(waiting, 5))

    assert "LOG I  b" in reply_values(asyncio.run(story()))[1]


@pytest.mark.parametrize(
    ("method", "arguments", "code", "said"),
    [
        ("one.vm.repair", (99, SESSION), "1024", "Error getting virtual machine [99]"),
        (
            "one.vm.repair",
            (0, SESSION),
            "2048",
            "Current LCM STATE 'RUNNING' not compatible with RECOVER",
        ),
        ("one.vm.repairinfo", (0,), "2048", "was not repaired interactively"),
        ("one.vm.repairinfo", (99,), "1024", "Error getting virtual machine [99]"),
        ("one.vm.repairoutput", (5, 9), "2048", "has no record 9"),
        ("one.vm.repairoutput", (5, 4, 0, 21), "4096", "wait from 0 to 20"),
        ("one.vm.repairoutput", (5, 4, -1), "4096", "must not be negative"),
    ],
)
def test_what_cannot_be_is_refused(method: str, arguments: tuple[object, ...], code: str, said: str) -> None:
    succeeded, message, given, *_ = call(stuck(), method, *arguments)
    assert (succeeded, given) == ("0", code)
    assert said in message


def test_a_file_that_is_missing_is_named() -> None:
    controller = stuck()
    controller.transfers.files.clear()
    assert "Cannot read /vms/5/transfer.0.migrate" in call(controller, "one.vm.repair", 5, SESSION)[1]
    assert not controller.calls


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("repair", (SESSION,)),
        ("repairhold", (SESSION,)),
        ("repairrun", (SESSION, 1, 1)),
        ("repairskip", (SESSION, 1)),
        ("repairquit", (SESSION,)),
        ("repairinfo", ()),
        ("repairoutput", (4,)),
    ],
)
def test_an_ordinary_user_neither_sees_nor_repairs(method: str, arguments: tuple[object, ...]) -> None:
    controller = stuck()
    succeeded, _, code, *_ = call(controller, f"one.vm.{method}", 5, *arguments, session=GUEST_SESSION)
    assert (succeeded, code) == ("0", "512")
    assert not controller.calls
