"""Fence set-ups that do not work: the failover is BLOCKED and says why, and there is a way out of it.

A host is lost, its power is on, and no VM may be restarted as long as nobody knows that the host is dead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from tests.e2e.daemon import GUIDE_HOOK, Daemon, PowerSwitch, until
from tests.unit.fence.test_fence_ipmi import Bmc

QUICK_HOOK = GUIDE_HOOK.replace("-p 5", "-p 0")
NO_FENCING_HOOK = GUIDE_HOOK.replace("-p 5", "-p 1 -u")


@dataclass(frozen=True)
class Scene:
    """Two hosts, one of which runs a VM and is about to be lost."""

    daemon: Daemon
    lost: int
    other: int
    vm_id: int

    def lose(self, **fence: str) -> Element:
        """The host falls silent; its failover as soon as it is BLOCKED, and nothing was started."""
        self.daemon.set_host(self.lost, DUMMY_DEAD="YES", **fence)
        blocked = self.daemon.wait_for_failover("BLOCKED", limit_s=60)
        assert self.daemon.vm_at(self.vm_id) == ("3", "16", [self.lost])
        assert self.daemon.starts(self.vm_id) == 1
        return blocked

    def screen(self) -> str:
        """What the operator sees, with lines and blanks folded."""
        return " ".join(self.daemon.done("onehost", "failover", "show", "0").split())

    def retry(self) -> None:
        """The operator has mended the device; the VM must come back by itself."""
        self.daemon.done("onehost", "failover", "retry", "0")
        self.daemon.wait_for_vm(self.vm_id, self.other)
        assert self.daemon.wait_for_failover("DONE").findtext("REASON") == ""
        assert self.daemon.starts(self.vm_id) == 2

    def proof(self) -> Element:
        """The one proof of death."""
        proofs = self.daemon.failover().findall("PROOFS/PROOF")
        assert len(proofs) == 1
        return proofs[0]


@pytest.fixture
def scene(daemon: Daemon) -> Scene:
    """Built with a hook that does not wait."""
    return staged(daemon, QUICK_HOOK)


def staged(daemon: Daemon, hook: str) -> Scene:
    lost, other = daemon.host("lost"), daemon.host("other")
    daemon.hook(hook)
    return Scene(daemon, lost, other, daemon.vm("web", lost))


@pytest.fixture
def bmc(tmp_path: Path) -> Iterator[Bmc]:
    """A real BMC simulator on a free port."""
    home = tmp_path / "bmc"
    home.mkdir()
    running = Bmc(home)
    try:
        yield running
    finally:
        running.stop()


def test_a_host_without_fence_device_blocks_until_the_operator_confirms(scene: Scene) -> None:
    scene.lose()
    screen = scene.screen()
    assert "BLOCKED: IT WAITS FOR YOU" in screen
    assert "host lost has no fence device (no FENCE_AGENT in its template)" in screen
    assert "onehost failover confirm 0" in screen
    assert "needs --yes" in scene.daemon.refused("onehost", "failover", "confirm", "0", "--comment", "looked")
    assert scene.daemon.failover().findtext("STATE_STR") == "BLOCKED", "without --yes nothing is confirmed"
    scene.daemon.done("onehost", "failover", "confirm", "0", "--yes", "--comment", "pulled the plug myself")
    scene.daemon.wait_for_vm(scene.vm_id, scene.other)
    scene.daemon.wait_for_failover("DONE")
    proof = scene.proof()
    assert (proof.findtext("KIND"), proof.findtext("BY")) == ("OPERATOR", "oneadmin")
    assert proof.findtext("TEXT") == "oneadmin confirms that the host is off: pulled the plug myself"
    assert "oneadmin confirms that the host is off: pulled the plug myself" in scene.screen()
    refused = scene.daemon.refused("onehost", "failover", "confirm", "0", "--yes")
    assert "there is nothing to confirm" in refused


def test_a_fence_agent_that_is_not_installed_blocks_and_a_retry_goes_on(scene: Scene, tmp_path: Path) -> None:
    blocked = scene.lose(FENCE_AGENT="fence_from_the_moon")
    assert "there is no fence_from_the_moon in /usr/sbin, /sbin" in blocked.findtext("REASON", "")
    assert "install it" in scene.screen()
    switch = PowerSwitch(tmp_path / "power")
    scene.daemon.set_host(scene.lost, **switch.attributes)
    scene.retry()
    assert switch.power == "off"
    assert scene.proof().findtext("KIND") == "FENCED"


def test_a_retry_before_anything_is_mended_blocks_again(scene: Scene, tmp_path: Path) -> None:
    scene.lose(FENCE_AGENT="fence_from_the_moon")
    scene.daemon.done("onehost", "failover", "retry", "0")
    until(lambda: times_blocked(scene) == 2, what="BLOCKED again")
    assert "there is no fence_from_the_moon" in scene.daemon.failover().findtext("REASON", "")
    assert scene.daemon.starts(scene.vm_id) == 1


def times_blocked(scene: Scene) -> int:
    return [step.text for step in scene.daemon.failover().findall("STEPS/STEP/STATE")].count("BLOCKED")


def test_an_attribute_that_is_not_accepted_blocks_and_is_named(scene: Scene) -> None:
    blocked = scene.lose(FENCE_AGENT="fence_dummy", FENCE_MISSING_AS_OFF="1")
    assert "Attribute FENCE_MISSING_AS_OFF: is not accepted" in blocked.findtext("REASON", "")


def test_a_device_that_fails_blocks(scene: Scene) -> None:
    blocked = scene.lose(FENCE_AGENT="fence_dummy", FENCE_TYPE="fail", FENCE_PLUG="1", FENCE_TIMEOUT="4")
    assert "Fencing failed: fence_dummy plug 1" in blocked.findtext("REASON", "")


def test_a_device_that_is_too_slow_blocks_and_says_that_nothing_is_known(scene: Scene, tmp_path: Path) -> None:
    switch = PowerSwitch(tmp_path / "power")
    blocked = scene.lose(**switch.attributes, FENCE_DELAY="30", FENCE_TIMEOUT="2")
    reason = blocked.findtext("REASON", "")
    assert "did not finish in time and was stopped; nothing is known about the power" in reason
    assert switch.power == "on"
    scene.daemon.set_host(scene.lost, FENCE_DELAY="0", FENCE_TIMEOUT="20")
    scene.retry()
    assert switch.power == "off"


def test_a_wrong_password_blocks_and_no_secret_is_shown(scene: Scene, bmc: Bmc) -> None:
    blocked = scene.lose(**bmc.attributes(PASSWORD="not-the-password"))
    assert "refuses the login" in blocked.findtext("REASON", "")
    shown = scene.daemon.done("onehost", "failover", "show", "0", "-x") + scene.screen() + scene.daemon.log
    assert "not-the-password" not in shown
    assert bmc.power == "1"
    scene.daemon.set_host(scene.lost, FENCE_PASSWORD="right")
    scene.retry()
    assert bmc.power == "0"
    assert "Status: OFF" in scene.proof().findtext("RAW", "")


def test_a_dead_bmc_blocks_and_asks_the_operator(scene: Scene, bmc: Bmc) -> None:
    bmc.stop()
    blocked = scene.lose(**bmc.attributes(TIMEOUT="4"))
    assert "The fence device does not answer" in blocked.findtext("REASON", "")
    scene.daemon.done("onehost", "failover", "confirm", "0", "--yes", "--comment", "dark")
    scene.daemon.wait_for_vm(scene.vm_id, scene.other)
    assert scene.proof().findtext("KIND") == "OPERATOR"


def test_a_lying_bmc_that_takes_the_order_and_does_nothing_blocks(scene: Scene, bmc: Bmc) -> None:
    bmc.behave("lying")
    blocked = scene.lose(**bmc.attributes(TIMEOUT="5"))
    assert "the host still has power" in blocked.findtext("REASON", "")
    assert scene.screen().count("BLOCKED") >= 2


def test_without_fencing_a_host_that_may_live_blocks(daemon: Daemon, tmp_path: Path) -> None:
    scene = staged(daemon, NO_FENCING_HOOK)
    switch = PowerSwitch(tmp_path / "power")
    blocked = scene.lose(**switch.attributes)
    assert "fencing is switched off by the hook (-u)" in blocked.findtext("REASON", "")
    assert (switch.power, daemon.journal("fence.off")) == ("on", [])
    switch.put("off")
    scene.retry()
    assert scene.proof().findtext("KIND") == "POWER_OFF"
    assert daemon.journal("fence.off") == []


def test_an_aborted_failover_leaves_its_vms_where_they_are(scene: Scene) -> None:
    scene.lose()
    scene.daemon.done("onehost", "failover", "abort", "0")
    aborted = scene.daemon.failover()
    assert aborted.findtext("STATE_STR") == "ABORTED"
    assert scene.daemon.vm_at(scene.vm_id) == ("3", "16", [scene.lost])
    assert "aborted by oneadmin" in scene.screen()
    assert "Failover 0 is ABORTED" in scene.daemon.refused("onehost", "failover", "retry", "0")
