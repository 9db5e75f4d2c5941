"""The controller as a process: how it starts, refuses to start, stops, and keeps others away from its directory."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.sandbox.errors import RackError
from tests.e2e.daemon import BIN, GUIDE_HOOK, Daemon, PowerSwitch, until
from tests.unit.cli.processes import living_in_group

LIMIT_S = 20.0


def serve(directory: Path, *options: str, config: str | None = None) -> subprocess.CompletedProcess[str]:
    """A controller that is expected to refuse."""
    file = directory / "given.toml"
    if config is not None:
        file.write_text(config, encoding="utf-8")
        options = ("--config", str(file), *options)
    if "--var" not in options:
        options = (*options, "--var", str(directory / "var"))
    return subprocess.run(
        [str(BIN / "holdfast"), "serve", *options], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def the_line(ended: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refusal."""
    assert ended.returncode == 1, ended
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr.strip()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("patience = 3\n", "unknown key patience; known are accelerator, beacon_period_s,"),
        ('listen = ["localhost"]\n', '"localhost" is not an address: write ip:port'),
        ("dead_after_s = 1\n", "beacon_period_s < suspect_after_s < dead_after_s must hold, they are 1.0, 1.5, 1"),
        ("listen = ", "Cannot read configuration file"),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_line(tmp_path: Path, config: str, said: str) -> None:
    assert said in the_line(serve(tmp_path, config=config))
    assert not (tmp_path / "var").exists(), "nothing was begun"


def test_a_configuration_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    assert f"There is no configuration file {tmp_path}/none.toml." in the_line(
        serve(tmp_path, "--config", f"{tmp_path}/none.toml")
    )
    assert "Is a directory" in the_line(serve(tmp_path, "--config", str(tmp_path)))


def test_a_directory_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = the_line(serve(tmp_path, "--var", str(tmp_path / "file" / "var")))
    assert said == f"Cannot make directory {tmp_path}/file/var: Not a directory."


def test_credentials_and_keys_that_are_damaged_are_refused_in_one_line(tmp_path: Path) -> None:
    auth = tmp_path / "var" / ".one" / "one_auth"
    auth.parent.mkdir(parents=True)
    auth.write_text("oneadmin\n")
    assert the_line(serve(tmp_path)) == f"{auth} must hold one line of UTF-8 text, name:password."
    auth.write_text("oneadmin:secret\n")
    (tmp_path / "var" / "agent_master.key").write_bytes(b"short")
    assert "agent_master.key is damaged: it must hold 32 bytes" in the_line(serve(tmp_path))
    (tmp_path / "var" / "agent_master.key").unlink()
    (tmp_path / "var" / "holdfast.db").write_bytes(b"not a database" * 100)
    assert "holdfast.db is not a Holdfast store" in the_line(serve(tmp_path))


def test_addresses_in_use_are_refused_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken_udp:
        taken_udp.bind(("127.0.0.1", 0))
        api = f"127.0.0.1:{taken.getsockname()[1]}"
        beacons = f"127.0.0.1:{taken_udp.getsockname()[1]}"
        said = the_line(serve(tmp_path, "--listen", api, "--beacons", "127.0.0.1:0"))
        assert said == f"Cannot listen on {api}: Address already in use."
        ended = serve(tmp_path, "--listen", "127.0.0.1:0", "--beacons", beacons)
        assert the_line(ended) == f"Cannot receive beacons on {beacons}: Address already in use."
        assert "no socket was handed over" in the_line(serve(tmp_path, "--listen", "fd://99"))


def test_a_second_controller_on_the_same_directory_is_refused_and_the_first_goes_on(daemon: Daemon) -> None:
    second = serve(daemon.directory, "--var", str(daemon.var), "--listen", "127.0.0.1:0", "--beacons", "127.0.0.1:0")
    said = the_line(second)
    assert f"{daemon.var}/holdfast.db is in use by process {daemon.pid}" in said
    assert "stop the other one, or give this one another path" in said
    assert daemon.host("still-here") == 0


def test_sigterm_and_sigint_stop_it_in_good_order(daemon: Daemon) -> None:
    daemon.host("kept")
    assert daemon.stop() == 0
    daemon.start()
    assert daemon.host_state(0) == "2"
    os.kill(daemon.pid, signal.SIGINT)
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log
    assert daemon.log.count("I holdfast: stopping") == 2


def test_it_stops_within_seconds_whatever_is_under_way(daemon: Daemon, tmp_path: Path) -> None:
    switch = PowerSwitch(tmp_path / "power")
    lost = daemon.host("lost", **switch.attributes, FENCE_DELAY="60")
    daemon.host("other")
    daemon.hook(GUIDE_HOOK.replace("-p 5", "-p 0"))
    daemon.vm("web", lost)
    daemon.api.call("one.vm.allocate", 'NAME="slow"\nCPU="1"\nMEMORY="64"\nDUMMY_DELAY_S="60"', False)
    daemon.set_host(lost, DUMMY_DEAD="YES")
    daemon.wait_for_failover("FENCING")
    agent = until(lambda: child_running(daemon.pid, "fence_dummy"), what="the fence agent")
    hung = socket.create_connection(daemon.api_address)
    hung.sendall(b"POST /RPC2 HTTP/1.1\r\nContent-Length: 1000\r\n\r\n<methodCall>")
    started = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - started < 12
    hung.close()
    assert "Traceback" not in daemon.log
    until(lambda: not living_in_group(agent), what="the end of the fence agent")


def child_running(parent: int, program: str) -> int:
    """The process id of this program among the children, 0 when there is none."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with suppress(OSError):
            if program.encode() in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    return 0


def test_its_files_are_for_its_owner_only(daemon: Daemon) -> None:
    for path in (daemon.var, daemon.var / "log", daemon.var / ".one"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    for path in (daemon.auth_path, daemon.var / "agent_master.key", daemon.var / "holdfast.db"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    password = daemon.auth_path.read_text().strip().partition(":")[2]
    assert len(password) >= 20
    assert password not in daemon.log


def test_a_changed_password_is_taken_over_at_the_next_start(daemon: Daemon) -> None:
    daemon.host("kept")
    daemon.stop()
    old = daemon.auth_path.read_text()
    daemon.auth_path.write_text("oneadmin:another one\n")
    daemon.start()
    assert daemon.done("onehost", "list", "--list", "NAME", "--no-header").split() == ["kept"]
    daemon.auth_path.write_text(old)
    assert "couldn't be authenticated" in daemon.refused("onehost", "list")


def test_it_tells_a_probe_that_it_is_healthy_and_systemd_that_it_is_ready(tmp_path: Path) -> None:
    notify = tmp_path / "notify"
    daemon = Daemon(tmp_path / "controller", environment={"NOTIFY_SOCKET": str(notify)})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.settimeout(LIMIT_S)
        supervisor.bind(str(notify))
        try:
            daemon.start()
            assert supervisor.recv(64) == b"READY=1"
            with urllib.request.urlopen(daemon.endpoint.replace("/RPC2", "/healthz"), timeout=5) as health:
                assert health.read() == b"ok\n"
            assert daemon.stop() == 0
            assert supervisor.recv(64) == b"STOPPING=1"
        finally:
            daemon.close()


@pytest.mark.parametrize("ending", [Daemon.stop, Daemon.kill], ids=["stopped", "killed"])
def test_what_was_answered_is_there_after_a_restart(daemon: Daemon, ending: Callable[[Daemon], object]) -> None:
    answered: list[int] = []
    refused: list[str] = []
    over = threading.Event()

    def client(number: int) -> None:
        api = daemon.client()
        step = 0
        while not over.is_set():
            step += 1
            try:
                answered.append(int(api.call("one.host.allocate", f"h{number}-{step}", "none", "dummy", -1)))
            except RackError as error:
                refused.append(str(error))
        api.close()

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in clients:
        thread.start()
    try:
        until(lambda: len(answered) > 20, what="the first answers")
        ending(daemon)
        before = len(answered)
        daemon.start()
        until(lambda: len(answered) > before + 20, what="answers after the restart")
    finally:
        over.set()
        for thread in clients:
            thread.join(LIMIT_S)
    there = {int(host.findtext("ID", "-1")) for host in daemon.api.xml("one.hostpool.info").findall("HOST")}
    assert set(answered) <= there
    assert len(answered) == len(set(answered)), "no id was given twice"
    assert len(refused) <= 2 * len(clients), refused
