"""``ft/host_error`` as a hook executor runs it: bare environment, arguments on standard input, against both worlds."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import holdfast.libexec
from tests.unit.cli.processes import left_in_group
from tests.unit.cli.scripted_opennebula import HOST_ID, ScriptedOpenNebula, ScriptedVm
from tests.unit.cli.scripted_server import Refusal, ScriptedServer, sample

_SCRIPT = Path(holdfast.libexec.__path__[0], "ft", "host_error")
_TEMPLATE = base64.b64encode(sample("host_error.xml").encode()).decode()
_TIME_LIMIT_S = 60
_HOLDFAST = "<OPENNEBULA_CONFIGURATION><HOLDFAST><VERSION>1</VERSION></HOLDFAST></OPENNEBULA_CONFIGURATION>"


@pytest.fixture
def hooks(tmp_path: Path) -> Path:
    """OpenNebula's ``remotes/hooks/ft`` with a link to our hook."""
    directory = tmp_path / "remotes" / "hooks" / "ft"
    directory.mkdir(parents=True)
    (directory / "host_error").symlink_to(_SCRIPT)
    return directory


def environment(server: ScriptedServer, tmp_path: Path) -> dict[str, str]:
    """All that the executor gives; the interpreter is the one below our virtual environment."""
    (tmp_path / "auth").write_text("oneadmin:secret", encoding="utf-8")
    return {
        "PATH": f"{sys.base_prefix}/bin:/usr/bin:/bin",
        "ONE_XMLRPC": server.endpoint,
        "ONE_AUTH": str(tmp_path / "auth"),
        "ONE_LOG_DIR": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def run(
    script: Path, environ: dict[str, str], stdin: str = "", argv: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """The hook, run to its end."""
    return subprocess.run(
        [str(script), *argv],
        input=stdin,
        env=environ,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=_TIME_LIMIT_S,
        check=False,
    )


def fence_script(directory: Path, body: str) -> None:
    """Puts a fence script beside the hook."""
    path = directory / "fence_host.sh"
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def test_against_holdfast_it_opens_a_failover_and_returns_at_once(
    server: ScriptedServer, hooks: Path, tmp_path: Path
) -> None:
    server.answers = {"one.system.config": _HOLDFAST, "one.failover.allocate": 7}
    result = run(hooks / "host_error", environment(server, tmp_path), f"{_TEMPLATE} -m -p 5")
    assert (result.returncode, result.stderr) == (0, "")
    assert server.calls == [
        ("one.system.config", ()),
        ("one.failover.allocate", (HOST_ID, "migrate", 'FORCE="NO" PAUSE="5" FENCING="YES"')),
    ]
    assert result.stdout == (
        "host 13: Holdfast has opened failover 7: 'onehost failover show 7' tells more "
        f"(log: {tmp_path}/host_error.log)\n"
    )


def test_against_holdfast_all_options_are_handed_over(server: ScriptedServer, hooks: Path, tmp_path: Path) -> None:
    server.answers = {"one.system.config": _HOLDFAST, "one.failover.allocate": 7}
    argv = ("13", "--recreate", "--force", "--no-fencing")
    assert run(hooks / "host_error", environment(server, tmp_path), argv=argv).returncode == 0
    assert server.asked("one.failover.allocate") == [(13, "recreate", 'FORCE="YES" PAUSE="2" FENCING="NO"')]


def _refuse(*arguments: object) -> int:
    raise Refusal("[one.failover.allocate] Not now.")


def _refusing(server: ScriptedServer, state: int) -> None:
    info = f"<HOST><ID>13</ID><STATE>{state}</STATE></HOST>"
    server.answers = {
        "one.system.config": _HOLDFAST,
        "one.failover.allocate": _refuse,
        "one.host.info": info,
    }


def test_against_holdfast_a_refusal_is_told(server: ScriptedServer, hooks: Path, tmp_path: Path) -> None:
    _refusing(server, state=3)
    result = run(hooks / "host_error", environment(server, tmp_path), "13 -m")
    assert result.returncode == 255
    assert result.stdout.startswith("host 13: [one.failover.allocate] Not now. (log: ")


def test_against_holdfast_a_host_that_came_back_first_is_left_alone(
    server: ScriptedServer, hooks: Path, tmp_path: Path
) -> None:
    _refusing(server, state=2)
    result = run(hooks / "host_error", environment(server, tmp_path), "13 -m")
    assert result.returncode == 0
    assert "came back" in result.stdout


def test_a_server_that_cannot_store_the_failover_is_asked_again(
    server: ScriptedServer, hooks: Path, tmp_path: Path
) -> None:
    """Otherwise the VMs of a host that reboots fast, while the store refuses, would be lost without a word."""
    answers = iter([Refusal("[one.failover.allocate] The disk is full.", 0x2000), 7])

    def allocate(*arguments: object) -> object:
        answer = next(answers)
        if isinstance(answer, Refusal):
            raise answer
        return answer

    server.answers = {"one.system.config": _HOLDFAST, "one.failover.allocate": allocate}
    result = run(hooks / "host_error", environment(server, tmp_path), "13 -m")
    assert result.returncode == 0
    assert "opened failover 7" in result.stdout
    assert len(server.asked("one.failover.allocate")) == 2


def test_against_opennebula_it_fences_beside_the_link_and_reschedules(
    server: ScriptedServer, hooks: Path, tmp_path: Path
) -> None:
    fence_script(hooks, f"base64 -d > {tmp_path}/fenced.xml; echo off")
    server.answers = ScriptedOpenNebula([ScriptedVm(1), ScriptedVm(2)], interval="0.05").answers()
    result = run(hooks / "host_error", environment(server, tmp_path), f"{_TEMPLATE} -m -p 2")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"host 13: fenced; of 2 VMs: 2 rescheduled (log: {tmp_path}/host_error.log)\n"
    assert server.asked("one.vm.action") == [("resched", 1), ("resched", 2)]
    assert (tmp_path / "fenced.xml").read_text(encoding="utf-8").startswith("<HOST><ID>13</ID>")
    log = (tmp_path / "host_error.log").read_text(encoding="utf-8").splitlines()
    assert [line.partition("][")[2] for line in log] == [
        "HOST 13][I] Hook launched",
        "HOST 13][I] Host s11: ERROR",
        "HOST 13][I] Waiting 2 cycles of 0.05 s",
        "HOST 13][I] Fencing",
        "HOST 13][I] fence: off",
        "HOST 13][I] Fenced",
        "HOST 13][I] VM 1 rescheduled: it was UNKNOWN",
        "HOST 13][I] VM 2 rescheduled: it was UNKNOWN",
        "HOST 13][I] Hook finished: fenced; of 2 VMs: 2 rescheduled",
    ]


def test_without_a_fence_script_no_vm_is_touched(server: ScriptedServer, hooks: Path, tmp_path: Path) -> None:
    server.answers = ScriptedOpenNebula([ScriptedVm(1)]).answers()
    result = run(hooks / "host_error", environment(server, tmp_path), "13 -m -p 0")
    assert result.returncode == 255
    assert f"there is no executable fence_host.sh in {hooks} or {_SCRIPT.parent} (-u goes on" in result.stdout
    assert server.asked("one.vm.action") == []


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        ("13 -m -z", "invalid option: -z"),
        ("13 -p 5", "Say what to do with the VMs"),
        ("", "Name one host"),
        ("somebody -m", "'somebody' is neither a host id nor the host's XML in base64."),
    ],
)
def test_bad_arguments_end_with_255_and_a_clear_message(
    server: ScriptedServer, hooks: Path, tmp_path: Path, stdin: str, message: str
) -> None:
    result = run(hooks / "host_error", environment(server, tmp_path), stdin)
    assert result.returncode == 255
    assert message in result.stdout
    assert "Traceback" not in result.stderr
    assert server.calls == []
    assert f"[HOST ?][E] Hook finished: {message}" in (tmp_path / "host_error.log").read_text(encoding="utf-8")


def test_missing_credentials_end_with_255_and_no_traceback(server: ScriptedServer, hooks: Path, tmp_path: Path) -> None:
    environ = environment(server, tmp_path) | {"ONE_AUTH": str(tmp_path / "none")}
    result = run(hooks / "host_error", environ, "13 -m")
    assert (result.returncode, result.stderr) == (255, "")
    assert f"Cannot read {tmp_path}/none: No such file or directory." in result.stdout


def test_a_terminated_hook_kills_its_fence_script_and_says_so(
    server: ScriptedServer, hooks: Path, tmp_path: Path
) -> None:
    fence_script(hooks, f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; sleep 60")
    server.answers = ScriptedOpenNebula([ScriptedVm(1)]).answers()
    process = subprocess.Popen(
        [str(hooks / "host_error"), "13", "-m", "-p", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment(server, tmp_path),
        text=True,
    )
    try:
        deadline = time.monotonic() + _TIME_LIMIT_S
        while not (tmp_path / "pid").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=_TIME_LIMIT_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 255
    assert output.startswith("host 13: stopped by SIGTERM before it was done")
    assert left_in_group(int((tmp_path / "pid").read_text(encoding="utf-8"))) == []
    assert server.asked("one.vm.action") == []


def test_the_script_is_executable_and_asks_for_python3() -> None:
    assert os.access(_SCRIPT, os.X_OK)
    assert _SCRIPT.read_text(encoding="utf-8").startswith("#!/usr/bin/env python3\n")
