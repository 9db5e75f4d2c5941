"""`holdfast sandbox controller`: what it says, and when it starts one. A rack that is up is only pretended."""

import json
import os
from pathlib import Path

import pytest

from holdfast.sandbox import controller as controllers
from holdfast.sandbox import rack as racks
from holdfast.sandbox.controller import Controller
from holdfast.sandbox.errors import RackError
from holdfast.sandbox.layout import Layout, RackConfig
from holdfast.sandbox.rack import BmcMode, Host, Rack
from tests.unit.sandbox.test_cli import sandbox

PORT = 39743


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a rack for which a controller was started once; its process id is another program's by now."""
    rack = Rack(Layout(tmp_path), RackConfig(tmp_path, hosts=1), supervisor_pid=1)
    monkeypatch.setattr(racks, "attach", lambda directory: rack)
    monkeypatch.setattr(Rack, "hosts", ())
    (tmp_path / "controller").mkdir()
    (tmp_path / "controller" / "process.json").write_text(json.dumps({"pid": os.getpid(), "port": PORT}))
    return tmp_path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ports on which a controller was started."""
    ports: list[int] = []

    def launch(rack: Rack, port: int) -> Controller:
        ports.append(port)
        return controllers.attach(rack)

    monkeypatch.setattr(controllers, "_free_socket", lambda port: port)
    monkeypatch.setattr(controllers, "launch", launch)
    return ports


def test_start_starts_a_controller_that_is_gone_on_the_port_that_it_had(
    directory: Path, started: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert sandbox("controller", "start", "--dir", str(directory)) == 0
    assert started == [PORT]
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("the controller runs again: process ")
    assert told[1:] == [
        f"  export ONE_XMLRPC=http://127.0.0.1:{PORT}/RPC2",
        f"  export ONE_AUTH={directory}/controller/.one/one_auth",
    ]


def test_start_of_a_controller_that_runs_changes_nothing_and_says_so(
    directory: Path, started: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(controllers, "is_running", lambda controller: True)
    assert sandbox("controller", "start", "--dir", str(directory)) == 0
    assert started == []
    assert "already runs: process " in capsys.readouterr().out


def test_kill_does_not_kill_a_process_that_only_has_the_controllers_number(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sandbox("controller", "kill", "--dir", str(directory)) == 0
    assert capsys.readouterr().out == "the controller was not running\n"


def test_a_port_that_is_taken_is_told_in_one_line(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def taken(port: int) -> None:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(controllers, "_free_socket", taken)
    assert sandbox("controller", "start", "--dir", str(directory)) == 1
    assert capsys.readouterr().err == (
        f"holdfast sandbox controller: the controller's port {PORT} cannot be had again: Address already in use\n"
    )


def test_status_says_that_the_controller_does_not_run_and_how_to_start_it(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sandbox("status", "--dir", str(directory)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"controller: does not run; `holdfast sandbox controller start --dir {directory}` starts it again"
    )


def test_status_fits_a_terminal(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = (f"qemu+unix:///system?socket={directory}/libvirt", "10.77.1.1", 623, True, False, True)
    boot = ("8ea53f4b-2b4d-4d7b-8f2f-0ba8a9a5b9c1", 0.0, 1, BmcMode.SLOW, 12.5)
    host = Host(1, "host1", "10.77.0.1", *facts, *boot, directory)
    monkeypatch.setattr(Rack, "hosts", (host,))
    assert sandbox("status", "--dir", str(directory)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"rack in {directory}"
    assert lines[3].endswith("  8ea53f4b")
    assert all(len(line) <= 80 for line in lines[1:-1])


def test_without_a_first_controller_there_is_none_to_start(directory: Path) -> None:
    (directory / "controller" / "process.json").unlink()
    with pytest.raises(RackError, match="no controller was started for the rack"):
        controllers.attach(racks.attach(directory))
    assert sandbox("controller", "start", "--dir", str(directory)) == 1
