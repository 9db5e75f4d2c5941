"""Every state that one VM can come to on two hosts, walked through event by event: promise 1 and the books hold in all.

A state is the VM and the order it waits for.  What may happen next is what the engine lets happen: any word of a user
or operator, an answer to the open order (done, failed, failed without certainty), monitoring when no order is open,
silence and proven death of a host.  What the engine does beside the table is done here as it does it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache

from holdfast.lifecycle import Facts, Target, VmEvent, decide
from holdfast.lifecycle import positions as p
from holdfast.lifecycle.decide import Decision, EffectRequest
from holdfast.lifecycle.events import ANSWERS, RECOVERIES, USER_ACTIONS
from holdfast.lifecycle.table import BY_POSITION
from holdfast.lifecycle.whereabouts import holders
from holdfast.model.enums import EffectKind, HistoryAction
from holdfast.model.errors import ActionError
from holdfast.model.template import Template
from holdfast.model.user import HOLDFAST
from holdfast.model.vm import Vm
from tests.unit.lifecycle.subjects import MOVES, NOW, OPERATION_EVENTS, OPERATOR, asked, name_of

E = VmEvent
K = EffectKind
HOSTS = (1, 2)
TARGETS = {hid: Target(hid, f"host{hid}", 0, 0, "kvm", "shared") for hid in HOSTS}
BEGINNING = Vm(42, 3, 4, "vm", *p.PENDING, Template([("CPU", "1"), ("MEMORY", "64")]))
WHILE_RUNNING = (K.TM_SNAPSHOT_DELETE, K.TM_SAVEAS)
"""Steps on the files of a VM that may be done while it runs."""
FIXED = (HistoryAction.STOP, HistoryAction.UNDEPLOY, HistoryAction.POFF_MIGRATE, HistoryAction.POFF_HARD_MIGRATE)
"""Actions of a record that decide what happens next."""


@dataclass(frozen=True)
class State:
    """A VM, the order it waits for, and the hosts whose books hold its capacity."""

    vm: Vm
    order: EffectRequest | None = None
    books: frozenset[int] = frozenset()

    def key(self) -> Hashable:
        """What distinguishes it from another for the table."""
        vm = self.vm
        record = vm.current
        action = record.action if record is not None and record.action in FIXED else None
        parked_before = vm.previous is not None and vm.previous.eetime > 0
        order = (self.order.kind, self.order.hid) if self.order is not None else None
        hosts = (vm.hid, vm.previous_hid, tuple(sorted(vm.may_run_on)))
        return (vm.position, hosts, action, vm.is_parked, parked_before, vm.shutdown_hard, vm.operation.action, order)


@dataclass(frozen=True)
class Step:
    """One event that happened."""

    before: State
    event: VmEvent
    facts: Facts
    decision: Decision
    after: State = field(compare=False)

    def __str__(self) -> str:
        vm, facts = self.before.vm, self.facts
        doubt = "" if facts.certain else ", not certain"
        dead = f", host {facts.dead_hid} died" if facts.dead_hid >= 0 else ""
        there = f"on host {vm.hid} (before: {vm.previous_hid}), may run on {vm.may_run_on}"
        return f"{name_of(vm.position)} {there}: {self.event.value}{doubt}{dead} -> {name_of(self.after.vm.position)}"


def happenings(state: State) -> Iterator[tuple[VmEvent, Facts]]:
    """Everything that may happen next."""
    yield from commands(state.vm)
    if state.order is not None:
        yield from answers(state.order)
    else:
        yield from sightings(state.vm)
    for lost in (False, True):
        yield E.HOST_ERROR, Facts(NOW, host_lost=lost)
    for hid in (
        holders(state.vm) if state.vm.position not in (p.CLEANUP_DELETE, p.CLEANUP_RESUBMIT) else state.vm.may_run_on
    ):
        yield E.HOST_DEAD, Facts(NOW, dead_hid=hid, host_lost=hid == state.vm.hid, proof_id=5)


def commands(vm: Vm) -> Iterator[tuple[VmEvent, Facts]]:
    """What users and operators, and a failover in their place, may ask for."""
    for lost in (False, True):
        facts = Facts(NOW, OPERATOR, host_lost=lost)
        for event in (*USER_ACTIONS.values(), E.RESTART_ELSEWHERE):
            yield event, facts
        for event in OPERATION_EVENTS:
            yield event, replace(facts, operation=asked(event))
        for event in RECOVERIES.values():
            yield event, replace(facts, certain=False)
        for event in MOVES:
            for target in TARGETS.values():
                if target.hid != vm.hid or event is E.DEPLOY:
                    yield event, replace(facts, target=target)


def answers(order: EffectRequest) -> Iterator[tuple[VmEvent, Facts]]:
    """What the driver may say, as the engine passes it on."""
    succeeded, failed = ANSWERS[order.kind]
    other = int(order.args["OTHER_HID"])
    hosts = (order.hid, other) if order.kind is K.VMM_CLEANUP and other >= 0 else (order.hid,)
    for lost in (False, True):
        facts = Facts(NOW, HOLDFAST, host_lost=lost, order_hids=hosts)
        yield succeeded, facts
        yield failed, replace(facts, certain=False)
        if order.kind is not K.VMM_CLEANUP:
            yield failed, facts


def sightings(vm: Vm) -> Iterator[tuple[VmEvent, Facts]]:
    """What the agents may report."""
    facts = Facts(NOW, HOLDFAST)
    for event in (E.SEEN_RUNNING, E.SEEN_POWEROFF, E.SEEN_FAILURE, E.SEEN_SUSPENDED):
        yield event, facts
    for hid in vm.may_run_on:
        yield E.SEEN_ELSEWHERE, replace(facts, target=TARGETS[hid])


def denials(state: State) -> Iterator[State]:
    """A host's agent, or proof of its death, ends a doubt; of a VM that runs here its agent says that it is off."""
    vm = state.vm
    if state.order is None or vm.position in p.STOPPING:
        for hid in vm.may_run_on if vm.position not in (p.RUNNING, *p.SHUTDOWNS) else set(vm.may_run_on) - {vm.hid}:
            left = tuple(other for other in vm.may_run_on if other != hid)
            yield replace(state, vm=replace(vm, may_run_on=left))


def happen(state: State, event: VmEvent, facts: Facts) -> Step | None:
    """The step, None when it is refused."""
    vm = replace(state.vm, effect_id=77 if state.order is not None else -1)
    if (vm.position, event) not in BY_POSITION:
        return None
    try:
        decision = decide(vm, event, facts)
    except ActionError:
        return None
    order = None if decision.cancels or event in ANSWERED else state.order
    if decision.effect is not None and decision.effect.awaited:
        order = decision.effect
    taken = set() if decision.takes is None else {decision.takes}
    books = frozenset((state.books - set(decision.gives)) | taken)
    return Step(state, event, facts, decision, State(replace(decision.vm, effect_id=-1), order, books))


ANSWERED = {event for pair in ANSWERS.values() for event in pair}


@cache
def walk() -> tuple[tuple[Step, ...], tuple[State, ...]]:
    """Every step and every state."""
    seen = {State(BEGINNING).key(): State(BEGINNING)}
    steps: list[Step] = []
    found = deque(seen.values())
    while found:
        state = found.popleft()
        taken = [step for event, facts in happenings(state) if (step := happen(state, event, facts)) is not None]
        steps.extend(taken)
        for after in (*(step.after for step in taken), *denials(state)):
            if after.key() not in seen:
                seen[after.key()] = after
                found.append(after)
        assert len(seen) < 60_000, "the walk has no end"
    return tuple(steps), tuple(seen.values())


def steps_where(*kinds: EffectKind) -> Iterator[tuple[Step, EffectRequest]]:
    """The steps that order one of these effects."""
    for step in walk()[0]:
        effect = step.decision.effect
        if effect is not None and effect.kind in kinds:
            yield step, effect


def violations(broken: list[Step]) -> str:
    """The first few, for a failing test."""
    return "\n".join(list(dict.fromkeys(map(str, broken)))[:8])


def test_a_start_is_ordered_only_where_the_vm_may_run_and_nobody_else_may() -> None:
    wrong = [
        step for step, effect in steps_where(K.VMM_DEPLOY, K.VMM_RESTORE) if step.after.vm.may_run_on != (effect.hid,)
    ]
    assert not wrong, violations(wrong)


def test_a_live_migration_is_ordered_only_between_the_two_hosts_where_the_vm_may_run() -> None:
    wrong = []
    for step, effect in steps_where(K.VMM_MIGRATE):
        both = {effect.hid, int(effect.args["OTHER_HID"])}
        if set(step.after.vm.may_run_on) != both or effect.hid == step.after.vm.hid:
            wrong.append(step)
    assert not wrong, violations(wrong)


def test_a_vm_that_is_believed_to_run_may_run_on_its_host() -> None:
    """Else a host that is lost would seem to have nothing to do with it, and it would be moved without proof."""
    running = (p.RUNNING, *p.OPERATIONS_RUNNING)
    wrong = [step for step in walk()[0] if (vm := step.after.vm).position in running and vm.hid not in vm.may_run_on]
    assert not wrong, violations(wrong)


def test_files_are_touched_only_where_no_host_may_run_the_vm() -> None:
    touching = tuple(kind for kind in K if kind.value.startswith("tm.") and kind not in WHILE_RUNNING)
    wrong = [step for step, _ in steps_where(*touching) if step.after.vm.may_run_on]
    assert not wrong, violations(wrong)


def test_a_host_is_forgotten_only_by_an_answer_a_sighting_its_death_or_the_end_of_the_vm() -> None:
    wrong = []
    for step in walk()[0]:
        gone = set(step.before.vm.may_run_on) - set(step.after.vm.may_run_on)
        answered = step.event in ANSWERED and step.facts.certain and gone <= set(step.facts.order_hids) | {
            step.before.vm.previous_hid, step.before.vm.hid
        }  # fmt: skip
        seen = step.event is E.SEEN_POWEROFF and gone <= {step.before.vm.hid}
        died = step.event is E.HOST_DEAD and gone <= {step.facts.dead_hid}
        if gone and not (answered or seen or died or step.after.vm.position == p.DONE):
            wrong.append(step)
    assert not wrong, violations(wrong)


def test_capacity_adds_up() -> None:
    wrong = [step for step in walk()[0] if step.after.books != set(holders(step.after.vm))]
    assert not wrong, violations(wrong)


def test_the_history_has_no_gap_and_no_open_end_but_its_last() -> None:
    wrong = []
    for step in walk()[0]:
        records = step.after.vm.history
        leaving = 2 if step.after.vm.position in p.ON_TWO_HOSTS else 1
        numbered = [record.seq for record in records] == list(range(len(records)))
        closed = all(record.etime for record in records[:-leaving])
        open_end = not records or not records[-1].etime or step.after.vm.position not in p.PLACED or (
            step.after.vm.is_parked or step.after.vm.position in (*p.BOOTING, *p.FAILURES, p.UNKNOWN)
        )  # fmt: skip
        if not (numbered and closed and open_end):
            wrong.append(step)
    assert not wrong, violations(wrong)


def test_a_vm_can_be_deleted_or_forgotten_in_every_state() -> None:
    for state in walk()[1]:
        for event in (E.RECOVER_DELETE, E.RECOVER_DELETE_DB):
            step = happen(state, event, Facts(NOW, OPERATOR, certain=False, host_lost=True))
            assert step is not None, state.key()


def test_a_vm_that_waits_for_an_order_understands_its_answers() -> None:
    for state in walk()[1]:
        for event, facts in answers(state.order) if state.order is not None else ():
            assert happen(state, event, facts) is not None, (state.key(), event)


def test_a_transient_position_always_waits_for_an_order() -> None:
    """Or nothing but an operator would move it on."""
    ending = {position for position, event in BY_POSITION if event in ANSWERED}
    for state in walk()[1]:
        assert (state.order is not None) is (state.vm.position in ending), state.key()


def test_the_walk_comes_to_every_position_that_is_ever_stored() -> None:
    reached = {state.vm.position for state in walk()[1]}
    unseen = {position for position, _ in BY_POSITION} - reached
    assert unseen == {p.INIT, p.LCM_INIT, p.CLONING, p.CLONING_FAILURE, p.HOTPLUG_NIC_POWEROFF}


def test_after_the_death_of_a_host_no_vm_waits_for_its_hypervisor() -> None:
    """Steps on files may go on elsewhere or fail by their deadline; so does a backup, which no command asks for."""
    wrong = []
    for step in walk()[0]:
        if step.event is E.HOST_DEAD:
            order, dead = step.after.order, step.facts.dead_hid
            asked_there = order is not None and order.kind.value.startswith("vmm.") and order.hid == dead
            if dead in step.after.vm.may_run_on or (asked_there and step.after.vm.position != p.BACKUP_POWEROFF):
                wrong.append(step)
    assert not wrong, violations(wrong)
