"""The rules that hold for every command: help, counting of arguments, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli.grammar import Program
from holdfast.cli.onedatastore import PROGRAM as ONEDATASTORE
from holdfast.cli.onehook import PROGRAM as ONEHOOK
from holdfast.cli.onehost import PROGRAM as ONEHOST
from holdfast.cli.oneimage import PROGRAM as ONEIMAGE
from holdfast.cli.onevm import PROGRAM as ONEVM
from tests.unit.cli.golden import assert_screen
from tests.unit.cli.scripted_server import ScriptedServer, sample

_PROGRAMS = (ONEVM, ONEHOST, ONEHOOK, ONEIMAGE, ONEDATASTORE)
_EVERY_COMMAND = [(program, command.name) for program in _PROGRAMS for command in program.commands]

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["-v", "list"], ["dance"], ["--endpoint", "x", "list"]])
def test_without_a_command_in_front_the_whole_help_is_printed(argv: list[str], capsys: Captured) -> None:
    assert ONEVM.main(argv) == 0
    printed = capsys.readouterr()
    assert "recover <range|vmid_list>" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize("argv", [["failover"], ["failover", "dance"]])
def test_a_group_without_its_command_prints_the_help_of_the_group(argv: list[str], capsys: Captured) -> None:
    assert ONEHOST.main(argv) == 0
    printed = capsys.readouterr().out
    assert "failover confirm <failoverid>" in printed
    assert "flush" not in printed


@pytest.mark.parametrize("argv", [["-V"], ["--version"], ["list", "-V"]])
def test_the_version_is_told(argv: list[str], capsys: Captured) -> None:
    assert ONEVM.main(argv) == 0
    assert capsys.readouterr().out.startswith("Holdfast ")


@pytest.mark.parametrize(("program", "name"), _EVERY_COMMAND, ids=lambda value: getattr(value, "name", value))
def test_every_command_explains_itself_within_80_columns(program: Program, name: str, capsys: Captured) -> None:
    assert program.main([*name.split(), "--help"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{program.name} {name}")
    assert max(len(line) for line in printed.splitlines()) <= 80


@pytest.mark.parametrize("program", _PROGRAMS, ids=lambda program: program.name)
def test_the_whole_help_fits_80_columns(program: Program, capsys: Captured) -> None:
    program.main([])
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 80


@pytest.mark.parametrize(("program", "name"), _EVERY_COMMAND, ids=lambda value: getattr(value, "name", value))
def test_no_two_options_of_a_command_share_a_name(program: Program, name: str) -> None:
    command = next(command for command in program.commands if command.name == name)
    own = [option.short for option in command.options if option.short]
    names = [option.long for option in program.options_of(command)]
    assert len(own) == len(set(own))
    assert len(names) == len(set(names))


def test_a_missing_argument_is_told_with_the_help(capsys: Captured) -> None:
    assert ONEHOST.main(["show"]) == 255
    printed = capsys.readouterr()
    assert printed.err == "Command show requires one parameter to run\n"
    assert_screen("onehost_show_help", printed.out)


def test_several_missing_arguments_are_counted(capsys: Captured) -> None:
    assert ONEHOST.main(["rename", "1"]) == 255
    assert capsys.readouterr().err == "Command rename requires 2 parameters to run.\n"


def test_too_many_arguments_tell_what_is_wanted(capsys: Captured) -> None:
    assert ONEVM.main(["show", "1", "2"]) == 255
    printed = capsys.readouterr()
    assert printed.err == "Wrong number of arguments\nThe arguments should be: <vmid>\n"
    assert printed.out == ""


def test_a_wrong_option_is_one_line_on_standard_error(capsys: Captured) -> None:
    assert ONEVM.main(["list", "--colour"]) == 255
    assert capsys.readouterr() == ("", "invalid option: --colour\n")


def test_a_server_that_is_not_there_is_one_line_on_standard_error(capsys: Captured) -> None:
    assert ONEVM.main(["list", "--endpoint", "http://127.0.0.1:1/RPC2"]) == 255
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "Cannot reach http://127.0.0.1:1/RPC2: connection refused (is the server running?).\n"


def test_missing_credentials_are_one_line_on_standard_error(home: Path, capsys: Captured) -> None:
    (home / ".one" / "one_auth").unlink()
    if Path("/var/lib/one/.one/one_auth").exists():
        pytest.skip("this machine has credentials for everybody")
    assert ONEVM.main(["list"]) == 255
    assert capsys.readouterr().err.startswith("No credentials: put NAME:PASSWORD into ~/.one/one_auth")


def test_user_and_password_may_be_options(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.hookpool.info"] = sample("hookpool.xml")
    assert ONEHOOK.main(["list", "--user", "me", "--password", "my:secret"]) == 0
    assert server.sessions == ["me:my:secret"]


def test_all_ids_are_tried_even_when_some_are_refused(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.host.delete"] = lambda host: host if host != 2 else _refuse()
    assert ONEHOST.main(["delete", "1..3"]) == 255
    assert server.asked("one.host.delete") == [(1,), (2,), (3,)]
    assert capsys.readouterr() == ("", "[one.host.delete] Error getting host [2].\n")


def test_a_reader_that_goes_away_is_no_error(server: ScriptedServer, home: Path) -> None:
    server.answers["one.hostpool.info"] = sample("hostpool.xml")
    environ = {**os.environ, "PYTHONPATH": "src"}
    process = subprocess.Popen(
        [sys.executable, "-m", "holdfast.cli.onehost", "list", "-x"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize("program", _PROGRAMS, ids=lambda program: program.name)
def test_a_command_starts_without_loading_what_only_the_server_needs(program: Program) -> None:
    code = (
        f"import sys\nfrom holdfast.cli.{program.name} import main\nmain(['--help'])\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(run.stderr.split())
    assert "holdfast" in loaded
    assert not loaded & {"lxml", "sqlalchemy", "uvicorn", "asyncio", "libvirt", "http", "ssl", "argparse"}


def _refuse() -> int:
    from tests.unit.cli.scripted_server import Refusal

    raise Refusal("[one.host.delete] Error getting host [2].", 1024, 2)
