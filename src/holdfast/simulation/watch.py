"""The controller's other eyes: libvirt's events, and the investigation of a host whose agent fell silent.

What ``serve/watch.py`` does with real connections: a suspect's hypervisor is asked, and its heartbeat on the shared
datastore is read.  A fence device that says "off" is contradicted by a heartbeat that moves.
"""

from __future__ import annotations

from holdfast.engine.engine import Engine
from holdfast.engine.events import VmSeen
from holdfast.simulation.kernel import Process, Script
from holdfast.simulation.libvirtd import Libvirtd
from holdfast.simulation.links import Fate, Lines
from holdfast.simulation.machine import Domain, End, Life
from holdfast.simulation.shell import Shell
from holdfast.simulation.world import World

ASK_LIMIT_S = 1.0
HEARTBEAT_WINDOW_S = 1.2
EVENT_DELAY_S = 0.01
PAUSE_SETTLES_S = 2.0
HELD = (Life.PAUSED, Life.ARRIVED)
ENDS = {End.GUEST: "POWEROFF", End.ORDERED: "POWEROFF", End.CRASHED: "FAILURE", End.FAILED: "FAILURE"}


class Watch:
    """Observes for one controller at a time."""

    def __init__(self, world: World, shell: Shell, lines: Lines, libvirtds: dict[int, Libvirtd]) -> None:
        self._world = world
        self._shell = shell
        self._lines = lines
        self._libvirtds = libvirtds
        self._under_way: dict[int, list[Process]] = {}
        self._lives: dict[tuple[int, int], Life] = {}
        world.watchers.append(self._domain_changed)
        for line in lines.by_host.values():
            line.told_up = self._take_stock

    def died(self) -> None:
        """The controller is gone, and its investigations with it."""
        for processes in self._under_way.values():
            for process in processes:
                process.kill()
        self._under_way.clear()

    def _domain_changed(self, domain: Domain, why: End | None) -> None:
        """Libvirt tells of starts and ends; what belongs to a migration or to saving says nothing."""
        place = (domain.hid, domain.vm_id)
        before = self._lives.pop(place, None)
        if why is None:
            self._lives[place] = domain.life
            what = "RUNNING" if domain.life is Life.RUNNING else ""
        else:
            what = ENDS.get(why, "")
            if before in (Life.SAVING, Life.INCOMING, *HELD):
                what = ""
        if why is None and domain.life in HELD:
            self._world.kernel.after(PAUSE_SETTLES_S, self._confirm_pause, (domain.hid, domain.vm_id))
        if what and self._lines.by_host[domain.hid].connected:
            self._world.kernel.after(EVENT_DELAY_S, self._tell, (domain.hid, domain.vm_id, what, self._shell.session))

    def _take_stock(self, hid: int) -> None:
        """A new connection: what happened before was not heard."""
        for domain in self._world.machines[hid].domains.values():
            if domain.life in HELD:
                self._world.kernel.after(PAUSE_SETTLES_S, self._confirm_pause, (hid, domain.vm_id))

    def _confirm_pause(self, place: tuple[int, int]) -> None:
        """Domains are held for a moment by moves and restores; one that stays so does not run."""
        hid, vm_id = place
        machine = self._world.machines[hid]
        domain = machine.domains.get(vm_id)
        if domain is not None and domain.life in HELD and not machine.hung and self._lines.by_host[hid].connected:
            self._tell((hid, vm_id, "SUSPENDED", self._shell.session))

    def _tell(self, seen: tuple[int, int, str, int]) -> None:
        hid, vm_id, what, session = seen
        if self._lines.by_host[hid].connected and session == self._shell.session:
            self._shell.report(VmSeen(hid, vm_id, what))

    def investigate(self, engine: Engine, host_ids: list[int]) -> None:
        """Looks for other signs of life of these hosts."""
        for hid in host_ids:
            if any(process.alive for process in self._under_way.get(hid, ())):
                continue
            spawn = self._world.kernel.spawn
            self._under_way[hid] = [spawn(self._ask(engine, hid)), spawn(self.read_heartbeat(engine, hid))]

    def _ask(self, engine: Engine, hid: int) -> Script:
        reply = yield from self._lines.by_host[hid].call(-1, self._libvirtds[hid].look, ASK_LIMIT_S)
        ok = reply.fate is Fate.DONE
        text = "hypervisor answers" if ok else f"hypervisor does not answer: {reply.text}"
        engine.senses.detector.hypervisor_answered(hid, ok, text, self._shell.clock())

    def read_heartbeat(self, engine: Engine, hid: int) -> Script:
        """Reads until the heartbeat moves or the window ends, and tells the detector."""
        machine, storage = self._world.machines[hid], self._world.storage
        seq, left_s = machine.seq, HEARTBEAT_WINDOW_S
        judgement = "stalled"
        while left_s > 0:
            yield 0.24
            left_s -= 0.24
            if not storage.answers_controller:
                judgement = "unreadable"
            elif machine.writes_heartbeats and machine.seq > seq:
                judgement = "advancing"
                break
        engine.senses.detector.heartbeat_read(hid, judgement)

    def contradiction(self, engine: Engine, hid: int) -> Script:
        """What speaks against the host being off: a heartbeat that moves; one that stood still is not read again."""
        watch = engine.senses.detector.watches.get(hid)
        if watch is None or watch.heartbeat == "stalled":
            return ""
        yield from self.read_heartbeat(engine, hid)
        moves = watch.heartbeat == "advancing"
        return "its heartbeat on the shared datastore moves on" if moves else ""
