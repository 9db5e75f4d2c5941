"""Reads, refusals and faults of ours, from the bytes of the request to those of the reply."""

from __future__ import annotations

import asyncio
import logging

import pytest
from lxml import etree

from holdfast.api.methods import REGISTRY
from holdfast.api.methods.installation import OPENNEBULA_VERSION
from holdfast.api.methods.opennebula import NAMES
from holdfast.api.responder import Responder
from holdfast.model.errors import ActionError, AllocateError, HoldfastError, NoSuchObject
from tests.unit.api.world import (
    ADMIN_SESSION,
    ANN,
    GUEST_SESSION,
    FakeController,
    call_body,
    failover,
    fault_of,
    host,
    installation,
    reply_values,
)


def answer(controller: FakeController, method: str, *arguments: object, session: str = ADMIN_SESSION) -> bytes:
    body = call_body(method, session, *arguments)
    return b"".join(asyncio.run(Responder(controller).reply(body)))


def document(method: str, *arguments: object, session: str = ADMIN_SESSION) -> etree._Element:
    succeeded, value, *_ = reply_values(answer(installation(), method, *arguments, session=session))
    assert succeeded == "1", value
    return etree.fromstring(value)


def ids(root: etree._Element) -> list[int]:
    return [int(child.findtext("ID", "")) for child in root]


@pytest.mark.parametrize(
    ("kind", "spoken"),
    [
        ("vm", "virtual machine"),
        ("host", "host"),
        ("datastore", "datastore"),
        ("image", "image"),
        ("hook", "hook"),
        ("user", "user"),
        ("group", "group"),
        ("cluster", "cluster"),
        ("zone", "zone"),
        ("template", "virtual machine template"),
        ("failover", "failover"),
    ],
)
def test_an_object_that_is_not_there_is_refused_in_opennebulas_words(kind: str, spoken: str) -> None:
    values = reply_values(answer(installation(), f"one.{kind}.info", 99))
    assert values == ["0", f"[one.{kind}.info] Error getting {spoken} [99].", "1024", "99", "-1"]


def test_the_id_of_nothing_stands_for_the_pool_in_messages() -> None:
    values = reply_values(answer(installation(), "one.vm.info", -1))
    assert values == ["0", "[one.vm.info] Error getting virtual machine Pool.", "1024", "-1", "-1"]


def test_the_id_of_nothing_is_the_caller_and_the_callers_group() -> None:
    assert document("one.user.info", -1).findtext("NAME") == "oneadmin"
    assert document("one.user.info", -1, session=GUEST_SESSION).findtext("NAME") == "ann"
    assert document("one.group.info", -1, session=GUEST_SESSION).findtext("NAME") == "users"


@pytest.mark.parametrize("method", ["host", "datastore", "hook", "user", "failover"])
def test_pools_list_the_newest_first(method: str) -> None:
    listed = [int(each.text or "") for each in document(f"one.{method}pool.info").xpath("*[not(self::QUOTAS)]/ID")]
    assert listed
    assert listed == sorted(listed, reverse=True)


@pytest.mark.parametrize(
    ("session", "flag", "found"),
    [
        (ADMIN_SESSION, -2, [2, 1, 0]),
        (ADMIN_SESSION, -3, [1, 0]),
        (ADMIN_SESSION, -4, [1, 0]),
        (ADMIN_SESSION, 2, [2]),
        (GUEST_SESSION, -3, [2]),
        (GUEST_SESSION, -1, [2]),
        (GUEST_SESSION, -2, [2, 1, 0]),
    ],
)
def test_vms_are_filtered_by_owner(session: str, flag: int, found: list[int]) -> None:
    assert ids(document("one.vmpool.info", flag, -1, -1, -2, session=session)) == found


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        (-1, -1, [2, 1, 0]),
        (1, -1, [2, 1]),
        (0, 1, [1, 0]),
        (0, -2, [2, 1]),
        (2, -2, [0]),
        (-1, -2, [2, 1]),
        (-1, 1, [2, 1, 0]),
        (9, -100, []),
    ],
)
def test_vms_are_chosen_by_id_or_by_page(start: int, end: int, found: list[int]) -> None:
    assert ids(document("one.vmpool.info", -2, start, end, -2)) == found


@pytest.mark.parametrize(("state", "found"), [(-2, [2, 1, 0]), (-1, [1, 0]), (6, [2]), (3, [1, 0]), (8, [])])
def test_vms_are_chosen_by_state(state: int, found: list[int]) -> None:
    for method in ("one.vmpool.info", "one.vmpool.infoextended"):
        assert ids(document(method, -2, -1, -1, state)) == found


def test_a_page_is_taken_after_the_state_filter() -> None:
    assert ids(document("one.vmpool.info", -2, 0, -2, -1)) == [1, 0]


@pytest.mark.parametrize(
    ("method", "arguments", "named"),
    [
        ("one.vmpool.info", (-5, -1, -1, -1), "Incorrect filter_flag -5"),
        ("one.imagepool.info", (-5, -1, -1), "Incorrect filter_flag -5"),
        ("one.templatepool.info", (-5, -1, -1), "Incorrect filter_flag -5"),
        ("one.vmpool.info", (-2, -1, -1, 12), "Incorrect state filter 12"),
        ("one.vmpool.info", (-2, -1, -1, -1, '{"NAME":"x"}'), "query"),
        ("one.vmpool.infoset", ("1,x", False), '"x"'),
        ("one.vmpool.infoset", ("1" * 5000, False), "Incorrect id"),
        ("one.hooklog.info", (-1, -1, -1, 2), "Incorrect rc filter 2"),
    ],
)
def test_argument_values_that_mean_nothing_are_refused(method: str, arguments: tuple[object, ...], named: str) -> None:
    succeeded, message, code, *_ = reply_values(answer(installation(), method, *arguments))
    assert (succeeded, code) == ("0", "4096")
    assert named in message


def test_a_set_of_vms_has_those_that_exist_each_once() -> None:
    assert ids(document("one.vmpool.infoset", "0, 2,7,0", False)) == [2, 0]
    assert ids(document("one.vmpool.infoset", "", False)) == []
    assert document("one.vmpool.infoset", "1", True).find("VM/PERMISSIONS") is not None


def test_the_extended_pool_has_full_bodies_with_one_history_record() -> None:
    pool = document("one.vmpool.infoextended", -2, -1, -1, -1)
    assert pool.xpath("VM/PERMISSIONS/OWNER_U/text()") == ["1", "1"]
    assert pool.xpath("VM[ID=1]/HISTORY_RECORDS/HISTORY/HOSTNAME/text()") == ["s3"]
    assert document("one.vm.info", 1).xpath("HISTORY_RECORDS/HISTORY/HOSTNAME/text()") == ["s0", "s3"]


def log(*arguments: object) -> list[tuple[str, str]]:
    root = document("one.hooklog.info", *arguments)
    return [(each.findtext("HOOK_ID", ""), each.findtext("EXECUTION_ID", "")) for each in root]


def test_the_hook_log_is_chosen_by_time_hook_and_outcome_and_has_the_newest_first() -> None:
    assert log(-1, -1, -1, 0) == [("1", "0"), ("0", "1"), ("0", "0")]
    assert log(-1, -1, 0, 0) == [("0", "1"), ("0", "0")]
    assert log(-1, -1, -1, 1) == [("1", "0"), ("0", "0")]
    assert log(-1, -1, -1, -1) == [("0", "1")]
    assert log(1001, -1, -1, 0) == [("0", "1")]
    assert log(-1, 1000, 0, 0) == [("0", "0")]
    assert log(-1, -1, 44, 0) == []


def test_a_hook_shows_its_log_oldest_first_and_a_list_of_hooks_shows_none() -> None:
    records = document("one.hook.info", 0).xpath("HOOKLOG/HOOK_EXECUTION_RECORD/EXECUTION_ID/text()")
    assert records == ["0", "1"]
    assert document("one.hookpool.info").find("HOOK/HOOKLOG") is None


def test_monitoring_answers_with_the_newest_record() -> None:
    assert document("one.vm.monitoring", 1).findtext("MONITORING/CPU") == "0.5"
    assert len(document("one.vm.monitoring", 0)) == 0
    assert document("one.host.monitoring", 2).findtext("MONITORING/TIMESTAMP") == "1795335201"


def test_an_open_failover_follows_its_hosts_and_a_finished_one_is_kept() -> None:
    controller = installation()
    responder = Responder(controller)

    def destinations() -> list[str]:
        reply = asyncio.run(responder.reply(call_body("one.failoverpool.info", ADMIN_SESSION)))
        return list(map(str, etree.fromstring(reply_values(b"".join(reply))[1]).xpath("FAILOVER/VMS/VM/TO/text()")))

    controller.put(failover(1, state=type(failover().state).RESTARTING))
    assert destinations() == ["s3", "s3"]
    controller.put(host(3, name="renamed"))
    assert destinations() == ["renamed", "s3"]


def test_the_version_spoken_is_that_of_opennebula_and_ours_is_in_the_configuration() -> None:
    assert reply_values(answer(installation(), "one.system.version")) == ["1", OPENNEBULA_VERSION, "0"]
    assert document("one.system.config").findtext("HOLDFAST/VERSION")


def test_a_refusal_carries_its_code_its_object_and_the_methods_name() -> None:
    controller = installation()
    controller.answer = ActionError("Could not perform a recover operation on VM 3, wrong state DONE.", 3)
    values = reply_values(answer(controller, "one.vm.recover", 3, 0))
    text = "[one.vm.recover] Could not perform a recover operation on VM 3, wrong state DONE."
    assert values == ["0", text, "2048", "3", "-1"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NoSuchObject("host", 4), "1024"),
        (AllocateError("host", "NAME is taken."), "16384"),
        (HoldfastError("x"), "8192"),
    ],
)
def test_each_error_has_opennebulas_code(error: HoldfastError, code: str) -> None:
    controller = installation()
    controller.answer = error
    assert reply_values(answer(controller, "one.host.delete", 4))[2] == code


def test_a_fault_of_ours_is_an_internal_error_whose_details_are_only_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    controller = installation()
    controller.answer = ZeroDivisionError("the details")
    with caplog.at_level(logging.ERROR, "holdfast.api"):
        values = reply_values(answer(controller, "one.host.delete", 2))
    assert values == ["0", "[one.host.delete] Internal error, explained in the server's log.", "8192", "-1", "-1"]
    assert "the details" in caplog.text
    assert "opennebula" not in caplog.text


@pytest.mark.parametrize("method", ["one.vm.info", "one.host.delete", "one.vn.info", "one.system.version"])
def test_nothing_is_answered_without_a_right_session(method: str) -> None:
    values = reply_values(answer(installation(), method, session="oneadmin:wrong"))
    assert values == ["0", f"[{method}] User couldn't be authenticated, aborting call.", "256", "-1", "-1"]


def test_a_call_without_a_session_is_a_type_fault() -> None:
    bare = Responder(installation()).reply(call_body("one.vm.info"))
    assert fault_of(b"".join(asyncio.run(bare)))[0] == -501
    number = Responder(installation()).reply(call_body("one.vm.info", 5))
    assert fault_of(b"".join(asyncio.run(number)))[0] == -501


def test_users_outside_the_oneadmin_group_read_but_change_nothing() -> None:
    controller = installation()
    values = reply_values(answer(controller, "one.vm.action", "stop", 0, session=GUEST_SESSION))
    text = "[one.vm.action] User [2] not authorized to perform action on virtual machine [0]."
    assert values == ["0", text, "512", "0", "-1"]
    created = reply_values(answer(controller, "one.host.allocate", "h", "a", "b", 0, session=GUEST_SESSION))
    assert created[1] == "[one.host.allocate] User [2] not authorized to perform action on host."
    assert controller.calls == []
    assert document("one.vm.info", 0, session=GUEST_SESSION).findtext("NAME") == "vm0"


def test_digests_of_secrets_are_not_shown_to_ordinary_users() -> None:
    shown = document("one.userpool.info", session=GUEST_SESSION).xpath("USER/PASSWORD/text()")
    assert set(shown) == {"********"}
    assert ANN.password in document("one.userpool.info").xpath("USER/PASSWORD/text()")


@pytest.mark.parametrize("method", sorted(NAMES - set(REGISTRY)))
def test_methods_of_opennebula_that_are_not_here_say_so(method: str) -> None:
    succeeded, message, code, *_ = reply_values(answer(installation(), method))
    assert (succeeded, code) == ("0", "2048")
    assert "does not support" in message


def test_an_unknown_method_is_a_fault_in_opennebulas_words() -> None:
    assert fault_of(answer(installation(), "one.no.such")) == (-506, "Method 'one.no.such' not defined")


def introspected(method: str, *arguments: str) -> list[str]:
    reply = asyncio.run(Responder(installation()).reply(call_body(method, *arguments)))
    return [str(each) for each in etree.fromstring(b"".join(reply)).xpath("//string/text()")]


def test_the_methods_can_be_listed_and_described_without_a_session() -> None:
    assert set(introspected("system.listMethods")) > set(REGISTRY)
    assert introspected("system.methodHelp", "one.vm.recover")[0].startswith("Repairs a stuck VM")
    assert introspected("system.methodSignature", "one.vm.migrate") == (
        ["array", "string", "int", "int", "boolean", "boolean", "int", "int"]
    )
    assert introspected("system.methodSignature", "system.methodHelp") == ["string", "string"]


@pytest.mark.parametrize(("arguments", "code"), [((), -501), ((1,), -501), (("one.no.such",), -506)])
def test_describing_what_is_no_method_is_a_fault(arguments: tuple[object, ...], code: int) -> None:
    reply = asyncio.run(Responder(installation()).reply(call_body("system.methodHelp", *arguments)))
    assert fault_of(b"".join(reply))[0] == code
