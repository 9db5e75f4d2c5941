"""The options that all lists share, tried on the hosts."""

from __future__ import annotations

import json

import pytest

from holdfast.cli.onehost import main as onehost
from holdfast.cli.onevm import main as onevm
from tests.unit.cli.scripted_server import ScriptedServer, sample

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def pool(server: ScriptedServer) -> None:
    """Thirteen hosts, some of them down."""
    server.answers["one.hostpool.info"] = sample("hostpool.xml")
    server.answers["one.vmpool.info"] = sample("vmpool_info.xml")


def listed(capsys: Captured, *options: str) -> list[str]:
    """The lines that ``onehost list`` prints."""
    assert onehost(["list", *options]) == 0
    return capsys.readouterr().out.splitlines()


def test_columns_are_chosen_in_any_case_and_order(capsys: Captured) -> None:
    assert listed(capsys, "-l", "stat,ID")[:2] == ["STAT   ID", "err    13"]


def test_a_predefined_set_of_columns_may_be_named(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    assert onevm(["list", "--listconf", "user", "-f", "ID=1"]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header == "  ID NAME            IP              STAT  CPU     MEM HOST             TIME"
    assert line.startswith("   1 withdisk        192.0.2.11      runn  0.1     64M h0")
    monkeypatch.setenv("ONE_LISTCONF", "user")
    assert onevm(["list"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == header


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("STAT=err,ID>5", ["13"]),
        ("STAT!=on", ["13", "4", "3", "2"]),
        ("ID<=3", ["3", "2"]),
        ("ID<3", ["2"]),
        ("ID>=12", ["13", "12"]),
        ("NAME~s1", ["13", "12", "3"]),
        ("name=s4", ["6"]),
    ],
)
def test_rows_are_filtered_and_numbers_compared_as_numbers(capsys: Captured, condition: str, ids: list[str]) -> None:
    assert [line.strip() for line in listed(capsys, "-l", "ID", "--no-header", "-f", condition)] == ids


def test_filters_may_be_alternatives(capsys: Captured) -> None:
    lines = listed(capsys, "-l", "ID", "--no-header", "-f", "ID=13,NAME=s0", "--operator", "OR")
    assert [line.strip() for line in lines] == ["13", "2"]


def test_csv_is_uncut_with_a_header_and_a_chosen_separator(capsys: Captured) -> None:
    lines = listed(capsys, "--csv", "-l", "ID,ALLOCATED_CPU,STAT", "-s", "ALLOCATED_CPU=3")
    assert lines[:2] == ["ID,ALLOCATED_CPU,STAT", "13,0 / 800 (0%),err"]
    assert listed(capsys, "--csv-del", ";", "--no-header", "-l", "ID,NAME,STAT")[0] == "13;s11;err"


def test_csv_quotes_a_cell_that_holds_the_separator(capsys: Captured, server: ScriptedServer) -> None:
    server.answers["one.hostpool.info"] = '<HOST_POOL><HOST><ID>1</ID><NAME>a,"b"</NAME></HOST></HOST_POOL>'
    assert listed(capsys, "--csv", "--no-header", "-l", "ID,NAME") == ['1,"a,""b"""']


def test_widths_may_be_set_and_columns_told_to_grow(capsys: Captured) -> None:
    assert listed(capsys, "-l", "NAME,STAT", "-s", "NAME=2")[:2] == ["NA STAT", "s1 err"]
    assert listed(capsys, "-l", "NAME,STAT", "-s", "NAME=2", "--adjust", "NAME")[1] == "s11 err"


def test_kilobytes_are_shown_raw(capsys: Captured) -> None:
    assert listed(capsys, "-k", "-l", "TMEM", "-s", "TMEM=10", "--no-header")[0] == "  16777216"


def test_numeric_shows_ids_of_users(capsys: Captured) -> None:
    assert onevm(["list", "-n", "-l", "USER,GROUP", "--no-header"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "0        0"


def test_columns_are_described_without_asking_the_server(capsys: Captured, server: ScriptedServer) -> None:
    lines = listed(capsys, "--describe")
    assert lines[0] == f"{'ID':<20}: identifier"
    assert len(lines) == 17
    assert server.calls == []


def test_json_yaml_and_xml_give_the_whole_pool(capsys: Captured) -> None:
    assert len(json.loads("\n".join(listed(capsys, "-j")))["HOST_POOL"]["HOST"]) == 12
    assert listed(capsys, "-y")[:4] == ["---", "HOST_POOL:", "  HOST:", '  - ID: "13"']
    assert listed(capsys, "-x")[:3] == ["<HOST_POOL>", "  <HOST>", "    <ID>13</ID>"]


def test_control_characters_in_a_name_do_not_reach_the_terminal(capsys: Captured, server: ScriptedServer) -> None:
    server.answers["one.hostpool.info"] = "<HOST_POOL><HOST><ID>1</ID><NAME>a\u009b31mb&#10;c</NAME></HOST></HOST_POOL>"
    assert listed(capsys, "--no-header", "-l", "NAME") == ["a 31mb c"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-l", "ID,COLOUR"], "Column 'COLOUR' not found"),
        (["-f", "COLOUR=1"], "Column 'COLOUR' not found"),
        (["-f", "STAT"], "--filter takes COLUMN, one of = != < <= > >= ~, and a value; not 'STAT'."),
        (["--operator", "XOR"], "--operator must be AND or OR, it is 'XOR'."),
        (["-s", "ID"], "--size takes COLUMN=N, not 'ID'."),
        (["--csv-del", ";;"], "--csv-del takes one character, not ';;'."),
        (["-c", "mine"], "There is no predefined list 'mine'; there are: default."),
        (["--expand", "NAME=wide"], "--expand takes COLUMN or COLUMN=PROPORTION, not 'NAME=wide'."),
    ],
)
def test_a_wrong_list_option_is_one_line_and_255(capsys: Captured, options: list[str], message: str) -> None:
    assert onehost(["list", *options]) == 255
    assert capsys.readouterr() == ("", message + "\n")
