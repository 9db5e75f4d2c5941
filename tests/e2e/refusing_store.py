"""What must hold while the store refuses changes, whatever the cause, and after it was mended.

A host falls silent and a driver answers while nothing can be stored.  Neither may be shown before it is stored, and
neither may be forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.sandbox.errors import RackError
from tests.e2e.agents import ScriptedAgent
from tests.e2e.daemon import GUIDE_HOOK, Daemon, until

SLOW_START_S = 4.0
"""Longer than the detection of a silent host takes."""


@dataclass(frozen=True)
class Observed:
    """A controller with a host that is about to fall silent, and a VM whose start is under way."""

    daemon: Daemon
    agent: ScriptedAgent
    lost: int
    other: int
    vm_id: int
    starting: int

    @classmethod
    def of(cls, daemon: Daemon, new_agent: Callable[..., ScriptedAgent]) -> Observed:
        """Built while the store still works."""
        lost = daemon.host("lost", im_mad="scripted")
        agent = new_agent(daemon, lost)
        until(lambda: daemon.host_state(lost) == "2", what="the first beacon")
        other = daemon.host("other")
        daemon.hook(GUIDE_HOOK.replace("-p 5", "-p 0"))
        vm_id = daemon.vm("web", lost)
        agent.vms = (vm_id,)
        text = f'NAME="slow"\nCPU="1"\nMEMORY="64"\nDUMMY_DELAY_S="{SLOW_START_S}"'
        starting = int(daemon.api.call("one.vm.allocate", text, True))
        daemon.api.call("one.vm.deploy", starting, other, False, -1, "")
        until(lambda: daemon.vm_at(starting)[:2] == ("3", "2"), what="BOOT")
        return cls(daemon, agent, lost, other, vm_id, starting)

    def until_refused(self) -> str:
        """Small changes until none is taken any more; why."""
        refusals: list[str] = []
        for number in range(2000):
            try:
                self.daemon.api.call("one.vm.update", self.vm_id, f'NOTE="{number}"', 1)
                refusals.clear()
            except RackError as error:
                refusals.append(str(error))
            if len(refusals) == 3:
                return refusals[-1]
        raise AssertionError("the store takes everything")

    def while_refused(self, said: str) -> None:
        """Changes are refused, reads go on, and what is observed is not shown before it is stored."""
        daemon = self.daemon
        before = daemon.api.call("one.vm.info", self.vm_id)
        complaint = daemon.refused("onehost", "create", "new", "--im", "dummy", "--vm", "dummy")
        assert said.partition("] ")[2] in complaint, complaint
        self.agent.stop()
        time.sleep(SLOW_START_S)
        assert daemon.host_state(self.lost) == "2"
        assert daemon.vm_at(self.vm_id) == ("3", "3", [self.lost])
        assert daemon.vm_at(self.starting) == ("3", "2", [self.other])
        assert daemon.api.call("one.vm.info", self.vm_id) == before
        assert len(daemon.one.hostpool.info().HOST) == 2
        assert "new" not in daemon.done("onehost", "list")
        assert "the store refuses changes" in daemon.log

    def after_mending(self) -> None:
        """Changes work, and what was observed meanwhile has its consequences."""
        daemon = self.daemon
        daemon.done("onehost", "create", "new", "--im", "dummy", "--vm", "dummy")
        until(lambda: daemon.host_state(self.lost) == "3", what="the loss of the host")
        daemon.wait_for_vm(self.starting, self.other)
        blocked = daemon.wait_for_failover("BLOCKED")
        assert "no fence device" in blocked.findtext("REASON", "")
        daemon.done("onehost", "failover", "confirm", "0", "--yes")
        done = daemon.wait_for_failover("DONE")
        assert done.findtext("VMS/VM/STATE") == "RUNNING"
        assert [daemon.starts(vm_id) for vm_id in (self.vm_id, self.starting)] == [2, 1]
        assert "the store accepts changes again" in daemon.log
