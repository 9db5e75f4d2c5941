"""The controller's libvirt connections: calls that get through, get lost, or are carried out without an answer.

As with the real ones a broken connection is only noticed by keepalive after some seconds: until then a call may still
arrive when the network comes back, and afterwards nobody knows whether it did.  What libvirtd has accepted it works on,
whoever still listens.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from holdfast.simulation.kernel import FOREVER_S, Process, Promise, Script, Wait
from holdfast.simulation.machine import Life, Machine
from holdfast.simulation.world import World

KEEPALIVE_S = 4.0
PATIENCE_S = 5.0
LATENCY_S = 0.004


class Fate(Enum):
    """What became of a call."""

    DONE = auto()
    UNSENT = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of a call: what libvirtd said ("" when it did as it was told), and the domain as it then was."""

    fate: Fate
    text: str = ""
    life: Life | None = None
    busy: bool = False
    """Libvirt is at work on it."""

    @property
    def is_done(self) -> bool:
        """Libvirtd did as it was told."""
        return self.fate is Fate.DONE and not self.text


Call = Generator[Wait, Any, Reply]
Work = Callable[[], Script]


class Line:
    """The connection to one host."""

    def __init__(self, world: World, machine: Machine) -> None:
        self.machine = machine
        self.connected = False
        self.breaks = 0
        """How often the connection was lost."""
        self._world = world
        self._kernel = world.kernel
        self._waiting: dict[Promise, None] = {}
        self._turn = 0
        self.told_up: Callable[[int], None] = lambda hid: None
        """Told when the connection has come up."""
        self.came = Promise()
        """Kept when the connection comes up next."""
        machine.connection_changed = self.check

    def check(self) -> None:
        """Something about the network or the host has changed."""
        self._turn += 1
        machine = self.machine
        if machine.reachable and machine.libvirtd:
            if not self.connected:
                self._kernel.after(0.3, self._come, self._turn)
        elif self.connected:
            soon = machine.reachable and not machine.libvirtd
            self._kernel.after(LATENCY_S if soon else KEEPALIVE_S, self._lose, self._turn)

    def _come(self, turn: int) -> None:
        if turn == self._turn and not self.connected:
            self.connected = True
            self.told_up(self.machine.hid)
            came, self.came = self.came, Promise()
            came.keep()

    def _lose(self, turn: int) -> None:
        if turn == self._turn:
            self.reset()

    def reset(self) -> None:
        """The connection is gone: nobody will learn what came of the calls under way."""
        self.connected = False
        self.breaks += 1
        waiting, self._waiting = self._waiting, {}
        for promise in waiting:
            promise.keep(Reply(Fate.UNKNOWN, "the connection was lost"))
        self._turn += 1
        machine = self.machine
        if machine.reachable and machine.libvirtd:
            self._kernel.after(0.3, self._come, self._turn)

    def lifeline(self) -> Callable[[], bool]:
        """Tells whether the connection is still the one that it is now."""
        breaks = self.breaks
        return lambda: self.connected and self.breaks == breaks

    def call(self, vm_id: int, work: Work, limit_s: float) -> Call:
        """Has libvirtd do the work on a VM's domain, and waits for its answer for as long as the limit says."""
        kernel, machine = self._kernel, self.machine
        until = kernel.now + limit_s
        if not self.connected:
            yield self.came, min(limit_s, PATIENCE_S)
            if not self.connected:
                return Reply(Fate.UNSENT, f"{machine.name} cannot be reached")
        reply = Promise()
        self._waiting[reply] = None
        kernel.after(LATENCY_S, self._arrive, (vm_id, work, reply))
        try:
            yield reply, max(0.0, until - kernel.now)
        finally:
            self._waiting.pop(reply, None)
        return reply.value if reply.done else Reply(Fate.UNKNOWN, f"no answer within {limit_s:.0f} s")

    def _arrive(self, call: tuple[int, Work, Promise]) -> None:
        """The request gets to the host, now or when the network lets it through, unless the connection breaks."""
        vm_id, work, reply = call
        machine = self.machine
        if reply not in self._waiting:
            return
        if not (machine.powered and machine.hears and machine.libvirtd):
            self._kernel.after(0.5, self._arrive, call)
            return
        machine.work(self._serve(vm_id, work, reply))

    def _serve(self, vm_id: int, work: Work, reply: Promise) -> Script:
        machine = self.machine
        while machine.hung:
            yield machine.change(), FOREVER_S
        done: Process = machine.work(work())
        yield done.result, FOREVER_S
        while not machine.speaks:
            yield 0.5
        yield LATENCY_S
        domain = machine.domains.get(vm_id)
        seen = (domain.life, domain.busy) if domain is not None else (None, False)
        reply.keep(Reply(Fate.DONE, done.result.value, *seen))


class Lines:
    """All connections of one controller; a new controller opens them anew."""

    def __init__(self, world: World) -> None:
        self.by_host = {hid: Line(world, machine) for hid, machine in world.machines.items()}
        self.reset()

    def close(self) -> None:
        """The controller dies: from now on it says nothing to anybody."""
        for line in self.by_host.values():
            line.connected = False

    def reset(self) -> None:
        """The controller has died: its connections are gone."""
        for line in self.by_host.values():
            line.reset()
