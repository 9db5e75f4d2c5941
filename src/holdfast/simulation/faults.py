"""Carries out a plan's faults, each for its time; when two of a kind overlap the longer one counts.

``heal`` ends all of them: links, storage, devices and daemons are well again, and hosts that are off boot after a
while.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.model.enums import EffectKind
from holdfast.simulation.agents import Agents
from holdfast.simulation.bmc import Mood
from holdfast.simulation.drivers.luck import TURNS, Fated, Fortune
from holdfast.simulation.machine import Machine
from holdfast.simulation.plan import Entry
from holdfast.simulation.shell import Crash, Shell
from holdfast.simulation.world import World

BOOT_AFTER_HEALING_S = 45.0
Args = Mapping[str, Any]
Key = tuple[str, Any]


class Faults:
    """Does the harm, and takes it back."""

    def __init__(self, world: World, shell: Shell, agents: Agents, fortune: Fortune) -> None:
        self._world = world
        self._shell = shell
        self._agents = agents
        self._fortune = fortune
        self._held: Counter[Key] = Counter()
        self._undo: dict[Key, Callable[[], None]] = {}
        self._do: dict[str, Callable[[Args], None]] = {
            "power-off": self._power_off,
            "power-on": self._power_on,
            "cut": self._cut,
            "beacons-late": self._beacons_late,
            "storage-cut": self._storage_cut,
            "storage-stall": self._storage_stall,
            "controller-storage-cut": self._controller_storage_cut,
            "bmc": self._bmc,
            "clock": self._clock,
            "sleep": self._sleep,
            "drift": self._drift,
            "agent-stop": self._agent_stop,
            "libvirtd-hang": self._libvirtd_hang,
            "libvirtd-crash": self._libvirtd_crash,
            "guest-ends": self._guest_ends,
            "driver": self._driver,
            "crash": self._crash,
            "store-refuses": self._store_refuses,
            "store-slow": self._store_slow,
        }

    def knows(self, what: str) -> bool:
        """Whether an entry of this name is a fault."""
        return what in self._do

    def carry_out(self, entry: Entry) -> None:
        """The fault begins."""
        self._world.story.tell("fault: {}", str(entry)[9:])
        self._do[entry.what](entry.args)

    def heal(self) -> None:
        """All faults end."""
        self._world.story.tell("faults end, everything heals")
        for key in list(self._undo):
            self._held[key] = 1
            self._release(key)
        self._shell.crash_at = None
        self._fortune.fated.clear()
        for machine in self._world.machines.values():
            if not machine.powered:
                self._world.kernel.after(BOOT_AFTER_HEALING_S, self._boot, machine)

    def _hold(self, key: Key, for_s: float, undo: Callable[[], None]) -> None:
        """The fault lasts so long; what undoes it is done once all of its kind have ended."""
        self._held[key] += 1
        self._undo[key] = undo
        self._world.kernel.after(for_s, self._release, key)

    def _release(self, key: Key) -> None:
        if key not in self._undo:
            return
        self._held[key] -= 1
        if self._held[key] == 0:
            self._world.story.tell("fault: {} ends", " ".join(map(str, key)))
            self._undo.pop(key)()

    def _machine(self, args: Args) -> Machine:
        machines = self._world.machines
        return machines[int(args["host"]) % len(machines)]

    # --- hosts

    def _power_off(self, args: Args) -> None:
        machine = self._machine(args)
        machine.power_off()
        self._world.kernel.after(float(args["for_s"]), self._boot, machine)

    def _power_on(self, args: Args) -> None:
        for machine in self._world.machines.values():
            self._boot(machine)

    def _boot(self, machine: Machine) -> None:
        if not machine.powered:
            self._world.story.tell("world: host {} boots", machine.hid)
            machine.power_on()

    def _agent_stop(self, args: Args) -> None:
        machine = self._machine(args)
        machine.agent = False

        def undo() -> None:
            machine.agent = True

        self._hold(("agent-stop", machine.hid), float(args["for_s"]), undo)

    def _libvirtd_hang(self, args: Args) -> None:
        machine = self._machine(args)
        machine.hung = machine.libvirtd

        def undo() -> None:
            machine.hung = False
            machine.notify()

        self._hold(("libvirtd-hang", machine.hid), float(args["for_s"]), undo)

    def _libvirtd_crash(self, args: Args) -> None:
        machine = self._machine(args)
        machine.crash_libvirtd()

        def undo() -> None:
            machine.restart_libvirtd()

        self._hold(("libvirtd-crash", machine.hid), float(args["for_s"]), undo)

    def _drift(self, args: Args) -> None:
        machine = self._machine(args)
        machine.beats_every_s = float(args["period_s"])

        def undo() -> None:
            machine.beats_every_s = 1.0

        self._hold(("drift", machine.hid), float(args["for_s"]), undo)

    def _guest_ends(self, args: Args) -> None:
        self._world.guest_ends(int(args["vm"]), bool(args["crashed"]))

    # --- network, storage, devices

    def _cut(self, args: Args) -> None:
        machine, direction = self._machine(args), str(args["direction"])
        if direction in ("up", "both"):
            self._hold_link(machine, "speaks", float(args["for_s"]))
        if direction in ("down", "both"):
            self._hold_link(machine, "hears", float(args["for_s"]))

    def _hold_link(self, machine: Machine, side: str, for_s: float) -> None:
        setattr(machine, side, False)
        machine.notify()

        def undo() -> None:
            setattr(machine, side, True)
            machine.notify()

        self._hold((f"cut {side}", machine.hid), for_s, undo)

    def _beacons_late(self, args: Args) -> None:
        hid = self._machine(args).hid
        self._agents.delay_s[hid] = float(args["delay_s"])

        def undo() -> None:
            del self._agents.delay_s[hid]

        self._hold(("beacons-late", hid), float(args["for_s"]), undo)

    def _storage_cut(self, args: Args) -> None:
        machine = self._machine(args)
        machine.storage = False

        def undo() -> None:
            machine.storage = True
            machine.notify()

        self._hold(("storage-cut", machine.hid), float(args["for_s"]), undo)

    def _storage_stall(self, args: Args) -> None:
        storage = self._world.storage
        storage.stalled = True

        def undo() -> None:
            storage.stalled = False
            storage.notify()

        self._hold(("storage-stall", ""), float(args["for_s"]), undo)

    def _controller_storage_cut(self, args: Args) -> None:
        storage = self._world.storage
        storage.controller_path = False

        def undo() -> None:
            storage.controller_path = True
            storage.notify()

        self._hold(("controller-storage-cut", ""), float(args["for_s"]), undo)

    def _bmc(self, args: Args) -> None:
        bmc = self._world.bmcs[self._machine(args).hid]
        bmc.mood = Mood(args["mood"])

        def undo() -> None:
            bmc.mood = Mood.WELL

        self._hold(("bmc", bmc.machine.hid), float(args["for_s"]), undo)

    def _driver(self, args: Args) -> None:
        """Steps of drivers go wrong: ``turn`` says how, ``kind``, ``vm`` and ``host`` which, ``times`` how many."""
        given = {name: args.get(name) for name in ("vm", "host", "times")}
        vm_id, hid, times = (None if value is None else int(value) for value in given.values())
        fated = Fated(EffectKind(args["kind"]), TURNS[str(args["turn"])], vm_id, hid, times)
        self._fortune.fated.append(fated)

    # --- the controller

    def _clock(self, args: Args) -> None:
        self._shell.clock.set_rate(float(args["rate"]))
        self._hold(("clock", ""), float(args["for_s"]), lambda: self._shell.clock.set_rate(1.0))

    def _sleep(self, args: Args) -> None:
        self._shell.sleep(float(args["for_s"]))

    def _crash(self, args: Args) -> None:
        where = Crash(args["where"])
        self._shell.restart_after_s = float(args["for_s"])
        if where is Crash.NOW:
            self._shell.die("while drivers are at work")
        else:
            self._shell.crash_at = where

    def _store_refuses(self, args: Args) -> None:
        self._shell.refuses = True

        def undo() -> None:
            self._shell.refuses = False

        self._hold(("store-refuses", ""), float(args["for_s"]), undo)

    def _store_slow(self, args: Args) -> None:
        self._shell.commit_s = float(args["commit_s"])

        def undo() -> None:
            self._shell.commit_s = 0.0

        self._hold(("store-slow", ""), float(args["for_s"]), undo)
