"""``onehook``: what is printed and what the server is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.cli.onehook import main
from tests.unit.cli.golden import assert_screen
from tests.unit.cli.scripted_server import ScriptedServer, sample

Captured = pytest.CaptureFixture[str]

_LOG = (
    "<HOOKLOG><HOOK_EXECUTION_RECORD><HOOK_ID>0</HOOK_ID><EXECUTION_ID>0</EXECUTION_ID>"
    "<TIMESTAMP>1700000000</TIMESTAMP><EXECUTION_RESULT><CODE>0</CODE></EXECUTION_RESULT></HOOK_EXECUTION_RECORD>"
    "<HOOK_EXECUTION_RECORD><HOOK_ID>0</HOOK_ID><EXECUTION_ID>1</EXECUTION_ID><TIMESTAMP>1700000000</TIMESTAMP>"
    "<EXECUTION_RESULT><CODE>255</CODE></EXECUTION_RESULT></HOOK_EXECUTION_RECORD></HOOKLOG>"
)


def _hook_with_log() -> str:
    return sample("hook.xml").replace("<HOOKLOG></HOOKLOG>", sample("hooklog_success.xml"))


def test_the_list_is_that_of_opennebulas_command(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.hookpool.info"] = (
        "<HOOK_POOL><HOOK><ID>0</ID><NAME>host_error</NAME><TYPE>state</TYPE></HOOK></HOOK_POOL>"
    )
    assert main(["list"]) == 0
    assert capsys.readouterr().out == ("  ID NAME                TYPE    \n   0 host_error          state\n")


def test_the_log_is_that_of_opennebulas_command(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.hooklog.info"] = _LOG
    assert main(["log"]) == 0
    assert capsys.readouterr().out == (
        " HOOK    ID       TIMESTAMP    RC EXECUTION\n"
        "    0     0     11/14 22:13     0 SUCCESS\n"
        "    0     1     11/14 22:13   255   ERROR\n"
    )
    assert server.asked("one.hooklog.info") == [(-1, -1, -1, 0)]


def test_an_empty_log_still_prints_its_header(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.hooklog.info"] = "<HOOKLOG/>"
    assert main(["log"]) == 0
    assert capsys.readouterr().out == " HOOK    ID       TIMESTAMP    RC EXECUTION\n"


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (["--error"], (-1, -1, -1, -1)),
        (["--success", "--hook-id", "3"], (-1, -1, 3, 1)),
        (["--since", "2026-11-22 08:00", "--until=1795335383"], (1795334400, 1795335383, -1, 0)),
    ],
)
def test_the_log_is_filtered_by_the_server(
    server: ScriptedServer, options: list[str], arguments: tuple[int, ...]
) -> None:
    server.answers["one.hooklog.info"] = "<HOOKLOG/>"
    assert main(["log", *options]) == 0
    assert server.asked("one.hooklog.info") == [arguments]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--error", "--success"], "--error and --success exclude each other."),
        (["--since", "soon"], "--since must be a time such as '2026-11-22 08:00', it is 'soon'."),
        (["--hook-id", "x"], "--hook-id must be a whole number of at least 0, it is 'x'."),
    ],
)
def test_wrong_log_options_are_named(capsys: Captured, options: list[str], message: str) -> None:
    assert main(["log", *options]) == 255
    assert capsys.readouterr() == ("", message + "\n")


def test_show_tells_template_and_log(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.hook.info"] = _hook_with_log()
    assert main(["show", "0"]) == 0
    assert_screen("onehook_show", capsys.readouterr().out)


def test_show_of_one_run_decodes_arguments_and_output(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.hook.info"] = _hook_with_log()
    assert main(["show", "0", "-e", "0"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("HOOK EXECUTION RECORD")
    assert "COMMAND           : /var/lib/one/var/remotes/hooks/ft/host_error.rb\n" in printed
    assert "\n<HOST>\n  <ID>13</ID>\n  <NAME>s11</NAME>\n" in printed
    assert "EXECUTION STDERR" in printed


def test_output_of_a_run_cannot_play_tricks_on_the_terminal(server: ScriptedServer, capsys: Captured) -> None:
    record = (
        "<HOOKLOG><HOOK_EXECUTION_RECORD><EXECUTION_ID>4</EXECUTION_ID><ARGUMENTS>-m -p 5</ARGUMENTS>"
        "<EXECUTION_RESULT><CODE>1</CODE><STDOUT>b2sKG1szMW1yZWQ=\n</STDOUT><STDERR>!</STDERR></EXECUTION_RESULT>"
        "</HOOK_EXECUTION_RECORD></HOOKLOG>"
    )
    server.answers["one.hook.info"] = sample("hook.xml").replace("<HOOKLOG></HOOKLOG>", record)
    assert main(["show", "0", "-e", "4"]) == 0
    printed = capsys.readouterr().out
    assert "\nok\n [31mred\n" in printed
    assert "\n-m -p 5\n" in printed


def test_a_run_that_is_not_recorded_is_told_with_those_that_are(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.hook.info"] = _hook_with_log()
    assert main(["show", "0", "-e", "9"]) == 255
    assert capsys.readouterr().err == "Hook 0 has no execution 9; recorded are: 0, 0.\n"


def test_create_from_a_file_or_dry(server: ScriptedServer, tmp_path: Path, capsys: Captured) -> None:
    server.answers["one.hook.allocate"] = 4
    file = tmp_path / "hook"
    file.write_text("NAME=h\nTYPE=state", encoding="utf-8")
    assert main(["create", str(file), "--dry"]) == 0
    assert server.calls == []
    assert main(["create", str(file)]) == 0
    assert server.asked("one.hook.allocate") == [("NAME=h\nTYPE=state",)]
    assert capsys.readouterr().out == "NAME=h\nTYPE=state\nID: 4\n"


def test_create_without_template_tells_where_it_may_come_from(capsys: Captured) -> None:
    assert main(["create"]) == 255
    assert capsys.readouterr().err == "No template: give a file, standard input.\n"


@pytest.mark.parametrize(
    ("options", "level"), [([], 1), (["--use"], 1), (["--manage"], 2), (["--admin"], 3), (["--all"], 4)]
)
def test_lock_levels_are_opennebulas(server: ScriptedServer, options: list[str], level: int) -> None:
    server.answers["one.hook.lock"] = 0
    assert main(["lock", "0", *options]) == 0
    assert server.asked("one.hook.lock") == [(0, level, False)]


def test_the_other_commands_ask_what_their_names_say(server: ScriptedServer, stdin: Callable[[str], None]) -> None:
    for method in ("delete", "unlock", "retry", "rename", "update"):
        server.answers[f"one.hook.{method}"] = 0
    server.answers["one.hookpool.info"] = sample("hookpool.xml")
    stdin("ARGUMENTS=x")
    for argv in (
        ["unlock", "0"],
        ["retry", "host_error_ft", "12"],
        ["rename", "0", "n"],
        ["update", "0"],
        ["delete", "0"],
    ):
        assert main(argv) == 0
    assert [call for call in server.calls if call[0] != "one.hookpool.info"] == [
        ("one.hook.unlock", (0,)),
        ("one.hook.retry", (1, 12)),
        ("one.hook.rename", (0, "n")),
        ("one.hook.update", (0, "ARGUMENTS=x", 0)),
        ("one.hook.delete", (0,)),
    ]


def test_retry_needs_the_number_of_a_run(server: ScriptedServer, capsys: Captured) -> None:
    assert main(["retry", "0", "last"]) == 255
    assert "not 'last'" in capsys.readouterr().err
    assert server.calls == []
