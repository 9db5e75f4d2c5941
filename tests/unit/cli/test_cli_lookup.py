"""Ids, names, lists and ranges."""

from __future__ import annotations

import pytest

from holdfast.cli.connection import Connection
from holdfast.cli.errors import CliError
from holdfast.cli.lookup import find_filter, find_id, find_ids
from holdfast.cli.rpc import Client
from tests.unit.cli.scripted_server import ScriptedServer, sample

_POOL = (
    "<VM_POOL><VM><ID>5</ID><NAME>web01</NAME></VM><VM><ID>6</ID><NAME>db</NAME></VM>"
    "<VM><ID>7</ID><NAME>db</NAME></VM><VM><ID>8</ID><NAME>a,b</NAME></VM></VM_POOL>"
)


@pytest.fixture
def client(server: ScriptedServer) -> Client:
    server.answers["one.vmpool.info"] = _POOL
    server.answers["one.userpool.info"] = sample("userpool.xml")
    return Client(Connection(server.endpoint, "oneadmin:x"))


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("7", [7]),
        ("1,8..10", [1, 8, 9, 10]),
        ("3..3", [3]),
        ("web01,9", [5, 9]),
        ("9,web01,9,5", [9, 5]),
        ("1,,2,", [1, 2]),
    ],
)
def test_a_list_names_each_object_once_in_order(client: Client, text: str, ids: list[int]) -> None:
    assert find_ids(client, "VM", text) == ids


def test_numbers_cost_no_call_and_names_cost_one(client: Client, server: ScriptedServer) -> None:
    find_ids(client, "VM", "1,2,3..5")
    assert server.calls == []
    find_ids(client, "VM", "web01,web01,4")
    assert server.methods() == ["one.vmpool.info"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nobody", "^VM named nobody not found.$"),
        ("1,nobody", "^VM named nobody not found.$"),
        ("db", "^There are multiple VMs with name db.$"),
        ("9..3", "The range 9..3 must rise"),
        ("0..999999999", "at most 100000 ids"),
        (",", "names no VM"),
    ],
)
def test_what_cannot_be_found_is_named(client: Client, text: str, message: str) -> None:
    with pytest.raises(CliError, match=message):
        find_ids(client, "VM", text)


def test_a_single_name_may_hold_a_comma(client: Client) -> None:
    assert find_id(client, "VM", "a,b") == 8


@pytest.mark.parametrize(
    ("text", "flag"),
    [(None, -2), ("a", -2), ("all", -2), ("m", -3), ("mine", -3), ("g", -1), ("group", -1), ("G", -4), ("17", 17)],
)
def test_filter_flags_are_opennebulas(client: Client, text: str | None, flag: int) -> None:
    assert find_filter(client, text) == flag


def test_a_filter_flag_may_be_a_users_name(client: Client) -> None:
    assert find_filter(client, "serveradmin") == 1
