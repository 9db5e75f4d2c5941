"""The controller is killed at every stage of a failover and started again on the same directory.

The failover must finish, and every VM must have been started exactly once after the proof: two history records, two
orders to start in the journal, the second with a proof.
"""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import holdfast
from tests.e2e.daemon import GUIDE_HOOK, PERIOD_S, Daemon, PowerSwitch, until

HOST_ERROR = Path(holdfast.__file__).parent / "libexec" / "ft" / "host_error"
SLOW_HOOK = """#!/bin/sh
echo $$ >> {noted}
sleep {delay_s}
exec {hook}
"""


@dataclass(frozen=True)
class Scene:
    """A host with VMs, one with room for them, and a fence device that works."""

    daemon: Daemon
    switch: PowerSwitch
    lost: int
    other: int
    vms: list[int]

    def lose(self, **attributes: str) -> None:
        """The host falls silent."""
        self.daemon.set_host(self.lost, DUMMY_DEAD="YES", **attributes)

    def crash(self) -> None:
        """SIGKILL, and up again."""
        self.daemon.kill()
        self.daemon.start()

    def check(self) -> None:
        """The failover has finished and every VM was started once with, never without a proof."""
        for vm_id in self.vms:
            self.daemon.wait_for_vm(vm_id, self.other, limit_s=60)
        done = self.daemon.wait_for_failover("DONE")
        assert self.switch.power == "off"
        assert [found.findtext("ID") for found in self.daemon.failovers() if found.findall("VMS/VM")] == ["0"]
        proofs = done.findall("PROOFS/PROOF")
        assert len(proofs) == 1
        for row in done.findall("VMS/VM"):
            assert row.findtext("PROOF_ID") == proofs[0].findtext("ID")
            assert float(row.findtext("STARTED", "0")) >= float(proofs[0].findtext("TIME", "inf"))
        for vm_id in self.vms:
            assert self.daemon.vm_at(vm_id) == ("3", "3", [self.lost, self.other])
            assert self.daemon.starts(vm_id) == 2
        host = self.daemon.api.xml("one.host.info", self.other)
        assert host.findtext("HOST_SHARE/CPU_USAGE") == str(100 * len(self.vms)), "capacity is counted once"
        until(lambda: all(effect.state != "running" for effect in self.daemon.journal()), what="an idle journal")


def staged(daemon: Daemon, tmp_path: Path, hook: str, vms: int = 2, **fence: str) -> Scene:
    switch = PowerSwitch(tmp_path / "power")
    lost = daemon.host("lost", **switch.attributes, **fence)
    other = daemon.host("other")
    daemon.hook(hook)
    return Scene(daemon, switch, lost, other, [daemon.vm(f"vm{number}", lost) for number in range(vms)])


def slow_hook(tmp_path: Path, delay_s: float) -> str:
    """The guide's hook, begun with a pause; notes its process id."""
    script = tmp_path / "slow_hook"
    script.write_text(SLOW_HOOK.format(noted=tmp_path / "hooks", delay_s=delay_s, hook=HOST_ERROR), encoding="ascii")
    script.chmod(0o755)
    return GUIDE_HOOK.replace("ft/host_error.rb", str(script))


def hooks_run(tmp_path: Path) -> list[int]:
    """The process ids that slow hooks have noted."""
    noted = tmp_path / "hooks"
    return [int(line) for line in noted.read_text().split()] if noted.exists() else []


def test_killed_before_the_loss_was_noticed(daemon: Daemon, tmp_path: Path) -> None:
    scene = staged(daemon, tmp_path, GUIDE_HOOK)
    scene.lose()
    scene.crash()
    scene.check()


def test_killed_while_the_hook_runs_the_hook_runs_again_and_there_is_one_failover(
    daemon: Daemon, tmp_path: Path
) -> None:
    scene = staged(daemon, tmp_path, slow_hook(tmp_path, 1.0))
    scene.lose()
    until(lambda: len(hooks_run(tmp_path)) == 1, what="the hook")
    scene.crash()
    scene.check()
    assert len(hooks_run(tmp_path)) == 2
    log = daemon.api.xml("one.hook.info", 0).findall("HOOKLOG/HOOK_EXECUTION_RECORD")
    assert [record.findtext("EXECUTION_RESULT/CODE") for record in log] == ["0"]


def test_down_for_longer_than_the_hooks_time_limit_the_hook_runs_all_the_same(daemon: Daemon, tmp_path: Path) -> None:
    scene = staged(daemon, tmp_path, slow_hook(tmp_path, 0.5) + 'TIMEOUT = "2"\n')
    scene.lose()
    [running] = until(lambda: hooks_run(tmp_path), what="the hook")
    daemon.kill()
    os.killpg(running, signal.SIGKILL)  # the whole machine went down
    time.sleep(2 + 2 + 0.5)
    daemon.start()
    scene.check()


def test_killed_during_the_wait_it_goes_on_waiting_and_then_fences(daemon: Daemon, tmp_path: Path) -> None:
    scene = staged(daemon, tmp_path, GUIDE_HOOK.replace("-p 5", "-p 12"))
    scene.lose()
    watching = daemon.wait_for_failover("WATCHING")
    scene.crash()
    scene.check()
    fenced = float(daemon.failover().findtext("PROOFS/PROOF/TIME", "0"))
    assert fenced - float(watching.findtext("STIME", "0")) >= 12 * PERIOD_S


def test_killed_during_the_wait_a_host_that_came_back_meanwhile_is_not_fenced(daemon: Daemon, tmp_path: Path) -> None:
    scene = staged(daemon, tmp_path, GUIDE_HOOK.replace("-p 5", "-p 12"))
    scene.lose()
    daemon.wait_for_failover("WATCHING")
    daemon.set_host(scene.lost, DUMMY_DEAD="NO")
    daemon.kill()
    time.sleep(12 * PERIOD_S)
    daemon.start()
    daemon.wait_for_failover("ABORTED")
    for vm_id in scene.vms:
        daemon.wait_for_vm(vm_id, scene.lost)
        assert daemon.starts(vm_id) == 1
    assert scene.switch.power == "on"


def test_killed_while_the_host_is_being_fenced(daemon: Daemon, tmp_path: Path) -> None:
    scene = staged(daemon, tmp_path, GUIDE_HOOK.replace("-p 5", "-p 0"), FENCE_DELAY="1")
    scene.lose()
    daemon.wait_for_failover("FENCING")
    assert scene.switch.power == "on"
    scene.crash()
    scene.check()


def test_killed_while_the_vms_are_being_restarted(daemon: Daemon, tmp_path: Path) -> None:
    scene = staged(daemon, tmp_path, GUIDE_HOOK.replace("-p 5", "-p 0"))
    for vm_id in scene.vms:
        daemon.api.call("one.vm.update", vm_id, 'DUMMY_DELAY_S="1.5"', 1)
    scene.lose()
    until(lambda: all(daemon.starts(vm_id) == 2 for vm_id in scene.vms), what="both starts under way")
    assert [daemon.vm_at(vm_id)[:2] for vm_id in scene.vms] == [("3", "2")] * 2, "BOOT"
    scene.crash()
    scene.check()


def test_killed_after_the_end_nothing_begins_anew(daemon: Daemon, tmp_path: Path) -> None:
    scene = staged(daemon, tmp_path, GUIDE_HOOK.replace("-p 5", "-p 0"))
    scene.lose()
    scene.check()
    scene.crash()
    time.sleep(2.0)
    scene.check()
    assert len(daemon.journal("hook.execute")) == 1


def test_killed_again_and_again_at_moments_of_chance(daemon: Daemon, tmp_path: Path) -> None:
    seed = int(os.environ.get("HOLDFAST_CRASH_SEED", random.randrange(2**32)))
    print(f"HOLDFAST_CRASH_SEED={seed}")
    dice = random.Random(seed)
    scene = staged(daemon, tmp_path, GUIDE_HOOK.replace("-p 5", f"-p {dice.randrange(4)}"), vms=3, FENCE_DELAY="0")
    for vm_id in scene.vms:
        daemon.api.call("one.vm.update", vm_id, 'DUMMY_DELAY_S="0.3"', 1)
    scene.lose()
    for _ in range(5):
        time.sleep(dice.random() * 1.2)
        scene.crash()
    scene.check()
