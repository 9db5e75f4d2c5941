"""The commands on a real (pseudo) terminal of 80 columns: width, colour, questions, the editor."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.unit.cli.golden import own_sample
from tests.unit.cli.scripted_server import ScriptedServer, sample

_TIME_LIMIT_S = 60.0
_STYLE = re.compile(r"\x1b\[\d+m")


def on_terminal(
    module: str, *argv: str, typed: str = "", columns: int = 80, extra: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Exit code and everything shown, typing ``typed`` once a question has been asked."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", f"holdfast.cli.{module}", *argv],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environ | {"PYTHONPATH": "src", "TERM": "xterm"} | dict(extra or {}),
        start_new_session=True,
    )
    os.close(terminal)
    try:
        shown = _converse(controller, typed)
        return process.wait(timeout=_TIME_LIMIT_S), shown.replace("\r\n", "\n")
    finally:
        process.kill()
        process.wait()
        os.close(controller)


def _converse(controller: int, typed: str) -> str:
    shown = b""
    deadline = time.monotonic() + _TIME_LIMIT_S
    while select.select([controller], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            chunk = os.read(controller, 1 << 16)
        except OSError:
            return shown.decode()
        if not chunk:
            return shown.decode()
        shown += chunk
        if typed and shown.rstrip().endswith(b":"):
            os.write(controller, typed.encode())
            typed = ""
    raise AssertionError(f"the command did not end; it showed {shown!r}")


def test_a_list_fills_the_80_columns_and_no_more(server: ScriptedServer) -> None:
    server.answers["one.vmpool.info"] = sample("vmpool_info.xml")
    code, shown = on_terminal("onevm", "list")
    header, *lines = _STYLE.sub("", shown).splitlines()
    assert code == 0
    assert len(header) in (79, 80)
    assert header == "  ID USER     GROUP    NAME             STAT  CPU     MEM HOST              TIME"
    assert max(len(line) for line in lines) <= 80


def test_spare_width_goes_to_the_expanding_columns(server: ScriptedServer) -> None:
    server.answers["one.vmpool.info"] = sample("vmpool_info.xml")
    _, wide = on_terminal("onevm", "list", "-l", "NAME,STAT,HOST", columns=100)
    assert _STYLE.sub("", wide).splitlines()[0] == f"{'NAME':<49} STAT {'HOST':<44}"
    _, chosen = on_terminal("onevm", "list", "-l", "NAME,STAT,HOST", "--expand", "host", columns=100)
    assert _STYLE.sub("", chosen).splitlines()[0] == f"{'NAME':<15} STAT {'HOST':<79}"
    _, none = on_terminal("onevm", "list", "-l", "NAME,STAT,HOST", "--no-expand", columns=100)
    assert _STYLE.sub("", none).splitlines()[0] == f"{'NAME':<15} STAT {'HOST':<10}"


def test_headers_are_bold_and_states_coloured(server: ScriptedServer) -> None:
    server.answers["one.hostpool.info"] = sample("hostpool.xml")
    _, shown = on_terminal("onehost", "list", "-l", "ID,STAT", "--no-expand")
    assert shown.startswith("\x1b[1m\x1b[4m  ID STAT\x1b[0m\n  13 \x1b[31merr\x1b[0m\n  12 \x1b[32mon\x1b[0m\n")
    _, plain = on_terminal("onehost", "list", "-l", "ID,STAT", "--no-expand", extra={"NO_COLOR": "1"})
    assert "\x1b[31m" not in plain


def test_confirm_goes_on_when_the_host_name_is_typed(server: ScriptedServer) -> None:
    server.answers |= {"one.failover.info": own_sample("failover_blocked.xml"), "one.failover.confirm": 4}
    code, shown = on_terminal("onehost", "failover", "confirm", "4", "--comment", "seen", typed="node2\n")
    assert code == 0
    assert "Type the host name to confirm (node2):" in shown
    assert server.asked("one.failover.confirm") == [(4, "seen")]


@pytest.mark.parametrize("typed", ["node1\n", "yes\n", "\n", "\x04"])
def test_confirm_stops_when_anything_else_is_typed(server: ScriptedServer, typed: str) -> None:
    server.answers |= {"one.failover.info": own_sample("failover_blocked.xml"), "one.failover.confirm": 4}
    code, shown = on_terminal("onehost", "failover", "confirm", "4", typed=typed)
    assert code == 255
    assert "Not confirmed" in shown
    assert "one.failover.confirm" not in server.methods()


def test_the_password_is_asked_for_and_not_shown(server: ScriptedServer) -> None:
    server.answers["one.hookpool.info"] = "<HOOK_POOL/>"
    code, shown = on_terminal("onehook", "list", "--user", "me", typed="sesame\n")
    assert code == 0
    assert "Password for me:" in shown
    assert "sesame" not in shown
    assert server.sessions == ["me:sesame"]


def test_update_opens_the_editor_on_the_present_template(server: ScriptedServer, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\ncp "$2" "$1"\nprintf \'LABEL="new"\\n\' >> "$2"\n', encoding="utf-8")
    editor.chmod(0o755)
    seen = tmp_path / "seen"
    server.answers |= {"one.host.info": sample("host_error.xml"), "one.host.update": 13}
    code, _ = on_terminal("onehost", "update", "13", extra={"EDITOR": f"{editor} {seen}"})
    assert code == 0
    before = seen.read_text(encoding="utf-8")
    assert before.startswith('ARCH="x86_64"\nCPUSPEED="3000"\n')
    assert server.asked("one.host.update") == [(13, before + 'LABEL="new"\n', 0)]


def test_an_editor_that_changes_nothing_changes_nothing(server: ScriptedServer) -> None:
    server.answers["one.host.info"] = sample("host_error.xml")
    code, shown = on_terminal("onehost", "update", "13", extra={"EDITOR": "true"})
    assert (code, shown) == (0, "Nothing was changed.\n")
    assert server.methods() == ["one.host.info"]


def test_an_editor_that_fails_changes_nothing(server: ScriptedServer) -> None:
    server.answers["one.host.info"] = sample("host_error.xml")
    code, shown = on_terminal("onehost", "update", "13", extra={"VISUAL": "false"})
    assert code == 255
    assert "The editor false failed" in shown
    assert server.methods() == ["one.host.info"]
