"""The agent as a process, with a controller's real link on the other end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.drivers.im.heartbeats import HeartbeatWatch
from holdfast.drivers.im.link import BeaconLink
from holdfast.model.beacon import BeaconReport

StartGuest = Callable[..., subprocess.Popen[bytes]]
KEY = bytes(range(32))
LIMIT_S = 10.0
A_LONG_PERIOD_S = 30.0


class Rig:
    """A controller, and the agent of host 1 that talks to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports: list[BeaconReport] = []
        self.link = self.new_link()
        self.port = self.link.listen(("127.0.0.1", 0))[1]
        self.agent: subprocess.Popen[bytes] | None = None

    def new_link(self) -> BeaconLink:
        return BeaconLink(lambda host_id: KEY if host_id == 1 else None, self.reports.append)

    def start_agent(self, **settings: Any) -> subprocess.Popen[bytes]:
        config = self.folder / "agent.json"
        config.touch(mode=0o600)
        fields = {"host_id": 1, "key": KEY.hex(), "controllers": [f"127.0.0.1:{self.port}"], "period_s": 0.1}
        config.write_text(json.dumps(fields | settings))
        self.agent = subprocess.Popen(
            [sys.executable, "-m", "holdfast.agent", "--config", str(config)],
            env=os.environ | {"HOLDFAST_BOOT_ID": "boot-a"},
            stderr=subprocess.PIPE,
        )
        return self.agent

    async def until(self, condition: Callable[[], bool]) -> None:
        limit_s = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < limit_s, f"not in time: {self.link.statistics()}, {self.reports[-1:]}"
            await asyncio.sleep(0.005)

    def close(self) -> None:
        if self.agent is not None:
            self.agent.kill()
            self.agent.communicate()
        self.link.close()


def with_rig(folder: Path, test: Callable[[Rig], Awaitable[None]]) -> None:
    async def body() -> None:
        rig = Rig(folder)
        try:
            await test(rig)
        finally:
            rig.close()

    asyncio.run(body())


def test_the_agent_is_heard_every_period_and_says_who_it_is(tmp_path: Path) -> None:
    async def body(rig: Rig) -> None:
        rig.start_agent(name="rack1", total_cpu=400)
        await rig.until(lambda: len(rig.reports) >= 12)
        first = rig.reports[0]
        assert (first.host_id, first.boot_id, first.hypervisor) == (1, "boot-a", "unknown")
        assert first.system is not None
        assert (first.system["HOSTNAME"], first.system["TOTALCPU"]) == ("rack1", "400")
        assert sum(report.system is not None for report in rig.reports[:11]) == 2
        gaps = [after.sent_at - before.sent_at for before, after in zip(rig.reports[1:], rig.reports[2:], strict=False)]
        assert sorted(gaps)[len(gaps) // 2] == pytest.approx(0.1, abs=0.05)

    with_rig(tmp_path, body)


def test_a_guest_that_starts_stops_or_dies_is_reported_at_once_not_at_the_next_period(
    tmp_path: Path, start_guest: StartGuest, vm_id: int
) -> None:
    async def body(rig: Rig) -> None:
        def state() -> str | None:
            return dict(rig.reports[-1].vms).get(vm_id) if rig.reports else "no beacon yet"

        rig.start_agent(period_s=A_LONG_PERIOD_S)
        await rig.until(lambda: state() is None)
        guest = start_guest(vm_id)
        await rig.until(lambda: state() == "RUNNING")
        guest.send_signal(signal.SIGSTOP)
        await rig.until(lambda: state() == "PAUSED")
        guest.kill()
        await rig.until(lambda: state() is None)

    with_rig(tmp_path, body)


def test_the_first_beacon_already_lists_the_guests(tmp_path: Path, start_guest: StartGuest, vm_id: int) -> None:
    start_guest(vm_id)

    async def body(rig: Rig) -> None:
        rig.start_agent()
        await rig.until(lambda: bool(rig.reports))
        assert (vm_id, "RUNNING") in rig.reports[0].vms

    with_rig(tmp_path, body)


def test_a_restarted_controller_needs_no_more_than_one_round_trip(
    tmp_path: Path, start_guest: StartGuest, vm_id: int
) -> None:
    async def body(rig: Rig) -> None:
        rig.start_agent(period_s=A_LONG_PERIOD_S)
        await rig.until(lambda: len(rig.reports) == 1)
        rig.link.close()
        rig.link = rig.new_link()
        rig.link.listen(("127.0.0.1", rig.port))
        start_guest(vm_id)
        await rig.until(lambda: len(rig.reports) >= 2)
        assert rig.link.statistics()["other session"] == 1
        assert rig.reports[1].system is not None, "a controller that starts knows nothing yet"

    with_rig(tmp_path, body)


def test_a_restarted_agent_counts_again_at_once(tmp_path: Path) -> None:
    async def body(rig: Rig) -> None:
        agent = rig.start_agent(period_s=A_LONG_PERIOD_S)
        await rig.until(lambda: len(rig.reports) == 1)
        agent.kill()
        agent.communicate()
        rig.start_agent(period_s=A_LONG_PERIOD_S)
        await rig.until(lambda: len(rig.reports) == 2)
        assert rig.reports[1].seq > rig.reports[0].seq

    with_rig(tmp_path, body)


def test_an_agent_with_a_wrong_key_is_never_heard(tmp_path: Path) -> None:
    async def body(rig: Rig) -> None:
        rig.start_agent(key="99" * 32)
        await rig.until(lambda: rig.link.statistics().get("bad signature", 0) >= 3)
        assert rig.reports == []

    with_rig(tmp_path, body)


def test_hung_storage_stops_the_heartbeat_and_not_the_beacons(tmp_path: Path) -> None:
    heartbeats = tmp_path / "heartbeats"
    heartbeats.mkdir()

    async def body(rig: Rig) -> None:
        watch = HeartbeatWatch(heartbeats, lambda _: KEY, window_s=1.0)
        os.mkfifo(heartbeats / ".1.draft")
        agent = rig.start_agent(heartbeat_file=str(heartbeats / "1"))
        await rig.until(lambda: len(rig.reports) >= 20)
        assert await watch.observe(1) == "unreadable"
        agent.terminate()
        assert await asyncio.to_thread(agent.wait, 5) == 0, "the hung write must not keep the agent from ending"

    with_rig(tmp_path, body)


def test_the_heartbeat_advances_while_the_agent_lives_and_stalls_when_it_is_gone(tmp_path: Path) -> None:
    async def body(rig: Rig) -> None:
        watch = HeartbeatWatch(tmp_path, lambda _: KEY, window_s=1.0)
        agent = rig.start_agent(heartbeat_file=str(tmp_path / "1"))
        await rig.until((tmp_path / "1").exists)
        assert await watch.observe(1) == "advancing"
        assert (await watch.read(1)).boot_id == "boot-a"
        agent.kill()
        agent.wait(5)
        assert await watch.observe(1) == "stalled"

    with_rig(tmp_path, body)


def test_a_dead_libvirtd_is_reported_as_such_by_a_living_host(tmp_path: Path) -> None:
    async def body(rig: Rig) -> None:
        agent = rig.start_agent(libvirt_socket=str(tmp_path / "libvirt-sock"))
        await rig.until(lambda: sum(report.hypervisor == "down" for report in rig.reports) >= 2)
        agent.terminate()
        _, said = await asyncio.to_thread(agent.communicate, None, 5)
        assert said.count(b"hypervisor:") <= 2

    with_rig(tmp_path, body)


def test_sigterm_ends_the_agent_cleanly_and_its_log_is_short(tmp_path: Path) -> None:
    async def body(rig: Rig) -> None:
        agent = rig.start_agent()
        await rig.until(lambda: len(rig.reports) >= 10)
        agent.terminate()
        _, said = await asyncio.to_thread(agent.communicate, None, 5)
        assert agent.returncode == 0
        assert len(said.splitlines()) <= 3, said
        assert b"host 1 (host-1), boot boot-a" in said
        assert KEY.hex().encode() not in said

    with_rig(tmp_path, body)


def test_a_refused_configuration_ends_the_agent_with_the_reason(tmp_path: Path) -> None:
    config = tmp_path / "agent.json"
    config.write_text("{}")
    config.chmod(0o644)
    words = [sys.executable, "-m", "holdfast.agent", "--config", str(config)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("holdfast-agent: ")
    assert "chmod 600" in ended.stderr
