"""`holdfast sandbox` without a rack: what it refuses, and what it says of a ledger."""

import argparse
import json
from pathlib import Path

import pytest

from holdfast.sandbox.cli import NOT_CLEAN, add_parser
from holdfast.sandbox.layout import Layout, RackConfig
from holdfast.sandbox.requirements import missing_packages
from tests.unit.sandbox.test_ledger import A, B, disk_with, line


def sandbox(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))
    arguments = parser.parse_args(["sandbox", *words])
    code: int = arguments.run(arguments)
    return code


@pytest.fixture
def remains(tmp_path: Path) -> Path:
    """The directory of a rack that is down, with what one guest wrote."""
    layout = Layout(tmp_path)
    layout.create(RackConfig(tmp_path, hosts=1))
    disk = layout.datastores / "0" / "5" / "disk.0"
    disk.parent.mkdir()
    disk_with(disk, (1, A), (2, A), (3, B))
    lines = [line(1, A), line(2, A), line(3, B)]
    (layout.consoles / "web.log").write_bytes(b"\r\n".join(lines))
    return tmp_path


@pytest.mark.parametrize(
    "words", [["status"], ["power-off", "1"], ["cut", "host1"], ["bmc", "1", "dead"], ["controller", "start"]]
)
def test_without_a_rack_every_switch_says_how_to_get_one(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sandbox(*words, "--dir", str(tmp_path)) == 1
    assert "`holdfast sandbox up` starts one" in capsys.readouterr().err


def test_down_without_a_rack_is_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sandbox("down", "--dir", str(tmp_path / "none")) == 0
    assert "there is no rack" in capsys.readouterr().out


def test_down_removes_what_a_crash_left(remains: Path) -> None:
    (remains / "control.sock").touch()
    assert sandbox("down", "--dir", str(remains)) == 0
    assert not remains.exists()


def test_down_can_leave_the_files(remains: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sandbox("down", "--keep-files", "--dir", str(remains)) == 0
    assert "still in" in capsys.readouterr().out
    assert (remains / "consoles" / "web.log").exists()


@pytest.mark.parametrize("command", ["up", "down"])
def test_a_directory_with_other_things_in_it_is_not_touched(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").touch()
    assert sandbox(command, "--dir", str(tmp_path)) == 1
    assert "the directory of a rack" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize("vm", ["web", "5"])
def test_a_clean_ledger_is_found_by_name_and_by_id(vm: str, remains: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sandbox("ledger", vm, "--dir", str(remains)) == 0
    told = capsys.readouterr().out
    assert "one writer at any time, no acknowledged write lost (3 acknowledged records checked)" in told
    assert A in told


def test_an_unclean_ledger_has_its_own_exit_code(remains: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (remains / "consoles" / "web.log").open("ab") as log:
        log.write(b"\r\n" + line(2, B))
    assert sandbox("ledger", "web", "--dir", str(remains)) == NOT_CLEAN
    told = capsys.readouterr().out
    assert "OVERLAP" in told
    assert "NOT CLEAN" in told
    assert sandbox("ledger", "web", "--json", "--dir", str(remains)) == NOT_CLEAN
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_an_unknown_guest_is_refused_with_those_there_are(remains: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sandbox("ledger", "mail", "--dir", str(remains)) == 1
    assert "web (ID 5)" in capsys.readouterr().err


def test_missing_programs_are_named_by_their_packages_once() -> None:
    assert missing_packages(["ip", "unshare", "nsenter"], "/nowhere") == ["iproute2", "util-linux"]
    assert missing_packages(["unshare"]) == []
