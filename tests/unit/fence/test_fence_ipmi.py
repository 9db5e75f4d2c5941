"""The real fence_ipmilan and ipmitool against a simulated BMC, which can lie, be slow, freeze and be dead."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.drivers.fence import (
    FenceAgents,
    FenceReport,
    Outcome,
    PowerReading,
    PowerState,
    fence_host,
    fence_topology,
)

LAN = """name "bmc"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789000001
  endlan
  chassis_control "{home}/chassis {home}"
  user 1 true "" "test" user 10 none md2 md5 straight
  user 2 true "admin" "right" admin 10 none md2 md5 straight
  user 3 true "viewer" "right" user 10 none md2 md5 straight
"""

MANAGEMENT_CONTROLLER = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""

CHASSIS = """#!/bin/bash
# chassis HOME [controller] get|set parameter [value]
cd "$1" && shift; [[ $1 == 0x* ]] && shift
[ -f slow ] && sleep 0.5
case "$1 $2" in
  "get power") echo "power:$(< power)" ;;
  "set power") echo "$3" >> orders; [ -f lying ] || echo "$3" > power ;;
esac
"""


class Bmc:
    """A simulated BMC on a free port; its power is a file."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        (home / "state").mkdir()
        (home / "lan").write_text(LAN.format(port=self.port, home=home))
        (home / "mc").write_text(MANAGEMENT_CONTROLLER)
        (home / "chassis").write_text(CHASSIS)
        (home / "chassis").chmod(0o755)
        (home / "power").write_text("1")
        self.process = subprocess.Popen(
            ["ipmi_sim", "-c", "lan", "-f", "mc", "-s", "state", "-n"],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait_for_port()

    def _wait_for_port(self) -> None:
        deadline = time.monotonic() + 5
        while f":{self.port:04X} " not in Path("/proc/net/udp").read_text():
            assert self.process.poll() is None, "ipmi_sim ended"
            assert time.monotonic() < deadline, "ipmi_sim does not listen"
            time.sleep(0.01)

    @property
    def power(self) -> str:
        return (self.home / "power").read_text().strip()

    def behave(self, how: str) -> None:
        """From now on ``slow`` or ``lying``."""
        (self.home / how).touch()

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def attributes(self, **changes: str) -> dict[str, str]:
        given = {"AGENT": "fence_ipmilan", "IP": "127.0.0.1", "PORT": str(self.port), "TIMEOUT": "20"}
        given |= {"USERNAME": "admin", "PASSWORD": "right"} | changes
        return {f"FENCE_{name}": value for name, value in given.items()}

    def fence(self, **changes: str) -> FenceReport:
        topology = fence_topology(self.attributes(**changes))
        assert topology is not None
        return asyncio.run(fence_host(FenceAgents(), topology))

    def read(self, **changes: str) -> PowerReading:
        topology = fence_topology(self.attributes(**changes))
        assert topology is not None
        return asyncio.run(FenceAgents().power_status(topology.levels[0].devices[0]))


@pytest.fixture
def bmc(tmp_path: Path) -> Iterator[Bmc]:
    running = Bmc(tmp_path)
    try:
        yield running
    finally:
        running.stop()


def test_a_host_is_fenced_read_as_off_and_then_already_off(bmc: Bmc) -> None:
    assert bmc.read().state is PowerState.ON
    report = bmc.fence()
    assert (report.ok, report.outcome, bmc.power) == (True, Outcome.FENCED, "0")
    assert report.raw.count("action=") == 2
    assert "Success: Powered OFF" in report.raw
    assert "Status: OFF" in report.raw
    assert bmc.read().state is PowerState.OFF
    again = bmc.fence()
    assert (again.ok, again.outcome) == (True, Outcome.ALREADY_OFF)
    assert (bmc.home / "orders").read_text().split() == ["0"]


@pytest.mark.parametrize("login", [{"PASSWORD": "wrong"}, {"USERNAME": "nobody"}, {"PASSWORD": ""}])
def test_a_wrong_login_is_denied_at_once(bmc: Bmc, login: dict[str, str]) -> None:
    report = bmc.fence(**login)
    assert (report.ok, report.outcome, bmc.power) == (False, Outcome.DENIED, "1")
    assert "wrong" not in report.raw + report.text
    assert bmc.read(**login).state is PowerState.DENIED


def test_a_user_without_the_privilege_to_switch_is_denied(bmc: Bmc) -> None:
    report = bmc.fence(USERNAME="viewer", PRIVLVL="user", TIMEOUT="5")
    assert (report.ok, report.outcome, bmc.power) == (False, Outcome.DENIED, "1")


def test_a_cipher_suite_that_the_bmc_does_not_know_is_a_bad_parameter(bmc: Bmc) -> None:
    report = bmc.fence(CIPHER="17")
    assert (report.ok, report.outcome) == (False, Outcome.BAD_PARAMETERS)
    assert "set FENCE_CIPHER" in report.text


def test_a_dead_bmc_is_unreachable(bmc: Bmc) -> None:
    bmc.stop()
    report = bmc.fence(TIMEOUT="4")
    assert (report.ok, report.outcome) == (False, Outcome.UNREACHABLE)


def test_a_frozen_bmc_is_unreachable_too(bmc: Bmc) -> None:
    bmc.freeze()
    assert bmc.read(TIMEOUT="4").state is PowerState.UNREACHABLE


def test_a_bmc_that_takes_the_order_and_does_nothing_leaves_the_host_on(bmc: Bmc) -> None:
    bmc.behave("lying")
    report = bmc.fence(TIMEOUT="5")
    assert (report.ok, report.outcome) == (False, Outcome.STILL_ON)
    assert (bmc.home / "orders").read_text().split() == ["0"]


def test_a_slow_bmc_is_waited_for(bmc: Bmc) -> None:
    bmc.behave("slow")
    report = bmc.fence()
    assert (report.ok, report.outcome, bmc.power) == (True, Outcome.FENCED, "0")


def test_the_next_level_takes_over_when_the_bmc_is_dead(bmc: Bmc, tmp_path: Path) -> None:
    bmc.stop()
    (tmp_path / "strip").write_text("on")
    second = {"LEVEL": "2", "AGENT": "fence_dummy", "STATUS_FILE": str(tmp_path / "strip")}
    topology = fence_topology(bmc.attributes(TIMEOUT="4"), [second])
    assert topology is not None
    report = asyncio.run(fence_host(FenceAgents(), topology))
    assert (report.ok, report.outcome, report.level, report.devices) == (True, Outcome.FENCED, 2, ("fence_dummy",))
    assert "Level 1: fence_ipmilan at 127.0.0.1" in report.text
    assert (tmp_path / "strip").read_text() == "off"
