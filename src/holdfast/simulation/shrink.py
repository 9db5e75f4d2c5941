"""Makes a failing plan as short as it can be while it still breaks the same rule.

Delta debugging over the plan's entries, then a quieter world: no bad luck of drivers, fewer hosts and VMs, less time.
Chance is bound to questions (:mod:`.chance`), so what is left happens as it did before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from holdfast.simulation.plan import Entry, Plan
from holdfast.simulation.run import Outcome

Judge = Callable[[Plan], Outcome]
Explain = Callable[[Plan], Plan]
"""The same plan with every choice of people spelt out."""
RUNS_LIMIT = 600


class Shrinker:
    """Tries shorter plans; ``runs`` counts how many it has tried."""

    def __init__(self, judge: Judge, explain: Explain, limit: int = RUNS_LIMIT) -> None:
        self._judge = judge
        self._explain = explain
        self._limit = limit
        self.runs = 0

    def shrink(self, plan: Plan, outcome: Outcome) -> tuple[Plan, Outcome]:
        """The shortest plan found that breaks the same rule, and what came of it."""
        best = self._better(plan, outcome, self._without_what_came_later(plan, outcome))
        best = self._better(*best, self._explain(best[0]))
        before = -1
        while before != len(best[0].entries) and self.runs < self._limit:
            before = len(best[0].entries)
            best = self._fewer_entries(*best)
            for quieter in QUIETER:
                best = self._better(*best, quieter(best[0]))
        return best

    @staticmethod
    def _without_what_came_later(plan: Plan, outcome: Outcome) -> Plan:
        return replace(plan, entries=tuple(entry for entry in plan.entries if entry.at <= outcome.at))

    def _better(self, plan: Plan, outcome: Outcome, shorter: Plan) -> tuple[Plan, Outcome]:
        """The shorter plan when it breaks the same rule, else the one there was."""
        if self.runs >= self._limit:
            return plan, outcome
        self.runs += 1
        judged = self._judge(shorter)
        return (shorter, judged) if judged.rule == outcome.rule else (plan, outcome)

    def _fewer_entries(self, plan: Plan, outcome: Outcome) -> tuple[Plan, Outcome]:
        """Leaves out ever smaller pieces."""
        size = max(1, len(plan.entries) // 2)
        while size >= 1 and self.runs < self._limit:
            at = 0
            while at < len(plan.entries) and self.runs < self._limit:
                rest = (*plan.entries[:at], *plan.entries[at + size :])
                shorter, judged = self._better(plan, outcome, replace(plan, entries=rest))
                at += 0 if shorter is not plan else size
                plan, outcome = shorter, judged
            size = size // 2 if size > 1 else 0
        return plan, outcome


def _with_vms(share: float) -> Explain:
    return lambda plan: replace(plan, vms=max(1, int(plan.vms * share)))


def _with_hosts(hosts: int) -> Explain:
    return lambda plan: replace(plan, hosts=min(hosts, plan.hosts))


def _ending_soon(spare_s: float) -> Explain:
    def sooner(plan: Plan) -> Plan:
        last = max((entry.at for entry in plan.entries), default=0.0)
        active_s = min(plan.active_s, round(last + spare_s))
        return replace(plan, active_s=active_s, seconds=active_s + plan.seconds - plan.active_s)

    return sooner


QUIETER: tuple[Explain, ...] = (
    lambda plan: replace(plan, trouble=0.0),
    *(_with_vms(share) for share in (0.5, 0.5, 0.5, 0.75)),
    *(_with_hosts(hosts) for hosts in (2, 3, 4)),
    *(_ending_soon(spare_s) for spare_s in (90.0, 30.0, 5.0)),
)
"""Smaller worlds, shorter times."""


def as_story(plan: Plan, entries: Sequence[Entry] | None = None) -> list[str]:
    """The plan as people read it."""
    shown = plan.entries if entries is None else entries
    head = (
        f"{plan.hosts} hosts, {plan.vms} VMs, {plan.seconds:g} s, hook {plan.hook!r}, "
        f"drivers' trouble {plan.trouble:g}, seed {plan.seed}:"
    )
    return [head, *(f"  {entry}" for entry in shown)]
