"""One run: the plan is carried out in virtual time, and every event is checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.engine.engine import Batch, Engine
from holdfast.model.errors import ArgumentError
from holdfast.simulation.agents import Agents
from holdfast.simulation.chance import Chance
from holdfast.simulation.checkers import Checkers, Violation
from holdfast.simulation.dispatch import Dispatch
from holdfast.simulation.drivers.job import Site
from holdfast.simulation.drivers.luck import Fortune
from holdfast.simulation.faults import Faults
from holdfast.simulation.foundation import BEGIN, is_apart, lay, settings
from holdfast.simulation.hooks import HostErrorMatcher
from holdfast.simulation.kernel import Kernel
from holdfast.simulation.libvirtd import Libvirtd
from holdfast.simulation.links import Lines
from holdfast.simulation.machine import Life
from holdfast.simulation.operators import Operators
from holdfast.simulation.plan import Entry, Plan
from holdfast.simulation.shell import MakeEngine, Shell
from holdfast.simulation.story import Story
from holdfast.simulation.watch import Watch
from holdfast.simulation.wishes import Wishes
from holdfast.simulation.world import World

RAISED = "the engine handles every event"
TIDY_AT = (0.1, 0.35)
"""When operators tidy up, as shares of the time for healing."""


@dataclass(slots=True)
class Outcome:
    """What came of a run: empty ``rule`` when nothing was wrong."""

    rule: str = ""
    text: str = ""
    at: float = 0.0
    events: int = 0
    tail: list[str] = field(default_factory=list)


class Simulation:
    """All parts of one run, wired; ``make_engine`` is the production engine unless a test plants a fault in it."""

    def __init__(self, plan: Plan, make_engine: MakeEngine = Engine, story_limit: int | None = 400) -> None:
        self.plan = plan
        self.kernel = Kernel(BEGIN)
        self.story = Story(self.kernel, BEGIN, story_limit)
        chance = Chance(plan.seed)
        self.world = World(self.kernel, chance, self.story, plan.hosts)
        self.wishes = Wishes()
        self.checkers = Checkers(self.world, self.wishes)
        self.fortune = Fortune(chance)
        self.fortune.trouble = plan.trouble
        matcher = HostErrorMatcher(plan.hook)
        store = lay(plan.hosts, plan.vms, plan.apart)
        self.shell = Shell(self.kernel, self.story, store, settings(), matcher, make_engine)
        self.lines = Lines(self.world)
        libvirtds = {hid: Libvirtd(self.world, machine) for hid, machine in self.world.machines.items()}
        self.watch = Watch(self.world, self.shell, self.lines, libvirtds)
        site = Site(self.world, self.lines, libvirtds, self.fortune, self.shell.clock)
        self.dispatch = Dispatch(site, self.shell, self.watch, self.checkers.writers.touched)
        self.agents = Agents(self.kernel, self.world.machines, self.shell)
        self.faults = Faults(self.world, self.shell, self.agents, self.fortune)
        self.operators = Operators(self.world, self.shell, self.wishes, plan.vms)
        self._populate(plan.vms, plan.apart)

    def _populate(self, vms: int, apart: int) -> None:
        for vm_id in range(vms):
            machine = self.world.machines[vm_id % len(self.world.machines)]
            self.world.storage.files.add(vm_id)
            if is_apart(vm_id, apart):
                self.world.storage.places[vm_id] = machine.hid
            machine.put(vm_id, Life.RUNNING)
        self.story.clear()

    # --- what the shell tells

    def started(self, engine: Engine) -> None:
        """A controller has begun with what was durable."""
        self.lines.reset()
        self.dispatch.started(engine)
        self.checkers.restarted(engine.state, self.shell.clock())

    def published(self, engine: Engine, batch: Batch) -> None:
        """A batch was stored."""
        self.checkers.published(engine.state, batch, self.shell.clock())
        self.dispatch.published(batch)

    def resumed(self, engine: Engine, batch: Batch) -> None:
        """A new controller's first batch was stored."""
        self.checkers.published(engine.state, batch, self.shell.clock())

    def reconcile(self, engine: Engine) -> None:
        """Open effects are taken up."""
        self.dispatch.reconcile(engine)

    def suspects(self, host_ids: list[int]) -> None:
        """Hosts to investigate."""
        if self.shell.engine is not None:
            self.watch.investigate(self.shell.engine, host_ids)

    def died(self) -> None:
        """The controller is gone."""
        self.lines.close()
        self.dispatch.died()
        self.watch.died()
        self.lines.reset()

    # --- the run

    def run(self) -> Outcome:
        """From the beginning to the end, or to the first violation."""
        try:
            self._run()
        except Violation as violation:
            return self._outcome(violation.rule, violation.text)
        except Exception as error:  # noqa: BLE001 - whatever the engine raises is what was looked for
            return self._outcome(RAISED, f"{type(error).__name__}: {error}")
        return self._outcome("", "")

    def _run(self) -> None:
        plan, kernel = self.plan, self.kernel
        self.shell.begin(self)
        for entry in plan.entries:
            kernel.at(BEGIN + entry.at, self._carry_out, entry)
        kernel.run_until(BEGIN + plan.active_s)
        if plan.active_s < plan.seconds:
            self._heal()

    def _heal(self) -> None:
        """Faults end; after a while nothing may wait any more, and nothing may be lost."""
        plan, kernel = self.plan, self.kernel
        self.fortune.trouble = 0.0
        self.faults.heal()
        for share in TIDY_AT:
            kernel.at(BEGIN + plan.active_s + share * (plan.seconds - plan.active_s), self.operators.tidy_up)
        kernel.run_until(BEGIN + plan.seconds)
        engine = self.shell.engine
        if engine is None:
            raise Violation(RAISED, "no controller runs at the end")
        self.checkers.ending.check(engine.state, self.shell.clock())

    def _carry_out(self, entry: Entry) -> None:
        if self.faults.knows(entry.what):
            self.faults.carry_out(entry)
        elif self.operators.knows(entry.what):
            self.operators.carry_out(entry)
        else:
            raise ArgumentError(f'There is no "{entry.what}" that a plan could hold.')

    def _outcome(self, rule: str, text: str) -> Outcome:
        tail = self.story.tail(60) if rule else []
        return Outcome(rule, text, self.kernel.now - BEGIN, self.kernel.calls, tail)
