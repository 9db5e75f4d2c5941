"""VMs in every position of the transition table, the situations they can be in, and a decision as a line of text.

The VM is on host HERE and was on OLD before; in a move OLD is where it comes from.  A target is THERE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import pytest

from holdfast.lifecycle import Decision, Facts, Target, VmEvent, decide
from holdfast.lifecycle import positions as p
from holdfast.lifecycle.decide import EffectRequest
from holdfast.lifecycle.events import ANSWERS, RECOVERIES, USER_ACTIONS
from holdfast.lifecycle.positions import Position
from holdfast.model.enums import EffectKind, HistoryAction
from holdfast.model.errors import ActionError
from holdfast.model.template import Template
from holdfast.model.user import HOLDFAST, Actor
from holdfast.model.vm import NO_OPERATION, History, Operation, Vm
from holdfast.model.vm_states import VmState

A = HistoryAction
HERE, THERE, OLD = 1, 2, 7
"""The VM's host, the host it may go to, and the host it was on before."""
NOW = 5000
TARGET = Target(THERE, "host2", 0, 0, "kvm", "shared")
OPERATOR = Actor(3, 4, "ann")
FACTS = Facts(NOW, OPERATOR, TARGET, dead_hid=HERE, proof_id=11)
EARLIER = History(0, OLD, "host7", 0, 0, "kvm", "shared", 100, 200, 101, 102, 103, 199, action=A.MIGRATE)
CURRENT = History(1, HERE, "host1", 0, 0, "kvm", "shared", 200, 0, 201, 202, 203)
NIC = Operation("nic-attach", 3, values={"NETWORK": "lan"})
"""What is under way in a position that changes devices, snapshots or sizes."""

ALIVE_IN = (
    *(p.RUNNING, p.UNKNOWN, *p.BOOTING, *p.BOOT_FAILURES, *p.SHUTDOWNS, p.SAVE_STOP, p.SAVE_SUSPEND),
    *p.OPERATIONS_RUNNING,
)
"""Where a domain may be on the VM's host, as a rule."""
FROM_STOPPED = (p.PROLOG_RESUME, p.PROLOG_RESUME_FAILURE, p.BOOT_STOPPED, p.BOOT_STOPPED_FAILURE)
FROM_UNDEPLOYED = (p.PROLOG_UNDEPLOY, p.PROLOG_UNDEPLOY_FAILURE, p.BOOT_UNDEPLOY, p.BOOT_UNDEPLOY_FAILURE)
TRANSFERS = tuple(at for at in p.PLACED if at[1].name.startswith("PROLOG"))
BY_CHECKPOINT = (p.SAVE_MIGRATE, p.PROLOG_MIGRATE, p.PROLOG_MIGRATE_FAILURE)
OFF = (p.POWEROFF, p.SUSPENDED, *p.OPERATIONS_OFF)
ON_FRONTEND = (p.STOPPED, p.UNDEPLOYED, *p.OPERATIONS_PARKED)
NEVER_PLACED = (p.INIT, p.CLONING, p.CLONING_FAILURE, p.LCM_INIT)
EVERY_POSITION = tuple(value for name, value in vars(p).items() if name.isupper() and isinstance(value, tuple)
                       and len(value) == 2 and isinstance(value[0], VmState))  # fmt: skip


def name_of(position: Position) -> str:
    """The LCM state while ACTIVE, else the state."""
    state, lcm_state = position
    return lcm_state.name if state is VmState.ACTIVE else state.name


def usual_hosts(position: Position) -> tuple[int, ...]:
    """The hosts where a domain may be, as a rule."""
    if position == p.MIGRATE:
        return (OLD, HERE)
    if position == p.SAVE_MIGRATE:
        return (OLD,)
    return (HERE,) if position in ALIVE_IN else ()


def history_at(position: Position) -> tuple[History, ...]:
    """Two records whose times fit the position."""
    if position in NEVER_PLACED:
        return ()
    if position in p.ON_TWO_HOSTS:
        action = A.LIVE_MIGRATE if position == p.MIGRATE else A.MIGRATE
        return (replace(EARLIER, etime=0, retime=0, action=action), _current(position))
    if position in (*FROM_STOPPED, *FROM_UNDEPLOYED):
        action = A.STOP if position in FROM_STOPPED else A.UNDEPLOY
        return (replace(EARLIER, action=action, estime=198, eetime=199), _current(position))
    return (EARLIER, _current(position))


def _current(position: Position) -> History:
    if position in (*p.WAITING, p.CLEANUP_RESUBMIT, p.CLEANUP_DELETE):
        action = A.DELETE if position == p.CLEANUP_DELETE else A.DELETE_RECREATE
        return replace(CURRENT, etime=300, retime=299, action=action)
    if position in ON_FRONTEND:
        home = p.OPERATION_HOME.get(position, position)
        return parked(A.STOP if home == p.STOPPED else A.UNDEPLOY)
    if position in (*TRANSFERS, *p.ON_TWO_HOSTS):
        pstime = 0 if position in p.ON_TWO_HOSTS else CURRENT.pstime
        action = A.MIGRATE if position in BY_CHECKPOINT else A.NONE
        return replace(CURRENT, pstime=pstime, petime=0, rstime=0, action=action)
    if position in (p.BOOT_STOPPED_FAILURE, p.BOOT_UNDEPLOY_FAILURE):
        return replace(CURRENT, retime=250, etime=250)
    if position[1].name.startswith("EPILOG"):
        return replace(CURRENT, retime=250, estime=250)
    if position in (*OFF, p.BOOT_FAILURE, p.BOOT_MIGRATE_FAILURE):
        return replace(CURRENT, retime=250)
    return CURRENT


def parked(action: HistoryAction) -> History:
    """A record whose files went to the front-end."""
    return replace(CURRENT, etime=300, retime=290, estime=290, eetime=300, action=action)


def vm_at(position: Position, may_run_on: tuple[int, ...] | None = None, hard: bool = False, effect_id: int = -1) -> Vm:
    """A VM in ``position``, that may run where that is usual."""
    template = Template([("CPU", "1"), ("MEMORY", "64"), ("DISK", {"DISK_ID": "0", "SIZE": "100"})])
    changing = position in p.OPERATION_HOME
    if changing:
        template = template.with_sections("NIC", [{"NIC_ID": "3", "ATTACH": "YES"}])
    return Vm(
        42, 3, 4, "vm", *position, template, history=history_at(position), deploy_id="one-42",
        may_run_on=usual_hosts(position) if may_run_on is None else may_run_on, shutdown_hard=hard, resched=True,
        effect_id=effect_id, operation=NIC if changing else NO_OPERATION,
    )  # fmt: skip


def asked(event: VmEvent) -> Operation:
    """The operation that a user's event asks for."""
    values = {"SIZE": "200", "OLD_SIZE": "100", "CPU": "2", "OLD_CPU": "1"}
    if event is VmEvent.UPDATE_CONF:
        return Operation("updateconf")
    item = 0 if event.value.startswith("disk") else 3
    return Operation(event.value, item, 0, values)


@dataclass(frozen=True)
class Situation:
    """A VM and the circumstances, as one word of ``transitions.txt``."""

    word: str
    may_run_on: tuple[int, ...] | None = None
    hard: bool = False
    action: HistoryAction | None = None
    frontend: bool = False
    held: bool = False
    one_host: bool = False
    new_datastore: bool = False
    facts: Facts = FACTS

    def vm(self, position: Position) -> Vm:
        """The VM in this position."""
        vm = vm_at(position, self.may_run_on, self.hard)
        if self.frontend and self.action is not None:
            return replace(vm, history=(EARLIER, parked(self.action)))
        if self.action is not None:
            vm = replace(vm, history=tuple(replace(record, action=self.action) for record in vm.history))
        if self.one_host:
            vm = replace(vm, history=tuple(replace(record, hid=HERE) for record in vm.history))
        if self.new_datastore and vm.history:
            vm = replace(vm, history=(*vm.history[:-1], replace(vm.history[-1], ds_id=5)))
        return replace(vm, template=vm.template.with_values(SUBMIT_ON_HOLD="YES")) if self.held else vm

    def facts_for(self, position: Position, event: VmEvent) -> Facts:
        """The circumstances of this event, as the engine would give them."""
        if event in MOVES:
            return self.facts
        if event is VmEvent.HOST_DEAD:
            return replace(self.facts, actor=HOLDFAST)
        facts = replace(self.facts, proof_id=-1)
        if event in OPERATION_EVENTS:
            return replace(facts, operation=asked(event))
        if event in RECOVERIES.values():
            return replace(facts, certain=False)
        if event in ANSWERED:
            ordered = OLD if position == p.SAVE_MIGRATE else HERE
            return replace(facts, actor=HOLDFAST, order_hids=(ordered,))
        return facts if event in USER_ACTIONS.values() else replace(facts, actor=HOLDFAST)


_EVENTS = tuple(VmEvent)
OPERATION_EVENTS = _EVENTS[_EVENTS.index(VmEvent.DISK_ATTACH) : _EVENTS.index(VmEvent.UPDATE_CONF) + 1]
"""They ask for a change of devices, snapshots or size."""
MOVES = (VmEvent.DEPLOY, *(event for event in VmEvent if event.value.startswith("migrate")))
ANSWERED = tuple(dict.fromkeys(event for pair in ANSWERS.values() for event in pair))
"""What drivers say."""
_LOST = replace(FACTS, host_lost=True)

SITUATIONS: Mapping[str, Situation] = {
    situation.word: situation
    for situation in (
        Situation("usual"),
        Situation("idle", ()),
        Situation("alive", (HERE,)),
        Situation("hard", hard=True),
        Situation("unsure", facts=replace(FACTS, certain=False)),
        Situation("unsure-here", (HERE,), facts=replace(FACTS, certain=False)),
        Situation("lost", facts=_LOST),
        Situation("poff", action=A.POFF_MIGRATE),
        Situation("poff-hard", action=A.POFF_HARD_MIGRATE),
        Situation("poff-lost", action=A.POFF_MIGRATE, facts=_LOST),
        Situation("stopped", action=A.STOP, frontend=True),
        Situation("undeployed", action=A.UNDEPLOY, frontend=True),
        Situation("held", held=True),
        Situation("cold-nic", facts=replace(FACTS, cold_nic_attach=True)),
        Situation("source-dies", facts=replace(FACTS, dead_hid=OLD)),
        Situation("other-dies", facts=replace(FACTS, dead_hid=THERE)),
        Situation("one-host", (HERE,), one_host=True),
        Situation("both", (HERE, OLD)),
        Situation("paused", (HERE,), action=A.MONITOR),
        Situation("no-checkpoint", facts=replace(FACTS, values={"CHECKPOINT": "GONE"})),
        Situation("there", (THERE,)),
        Situation("off-there", (THERE,), action=A.MONITOR),
        Situation("left", (HERE, THERE)),
        Situation("resumed", (HERE,), action=A.RESUME),
        Situation("poff-left", (OLD, THERE), action=A.POFF_MIGRATE),
        Situation("three", (OLD, HERE, THERE)),
        Situation("three-source-dies", (OLD, HERE, THERE), facts=replace(FACTS, dead_hid=OLD)),
        Situation("new-datastore", new_datastore=True),
        Situation("source-dies-with-files", facts=replace(FACTS, dead_hid=OLD, local_files=True)),
    )
}
"""What makes the guards choose between the rows of one pair."""


def told(before: Vm, decision: Decision) -> str:
    """``target | effect | capacity | may_run_on | records | flags``."""
    after = decision.vm
    target = "stays" if after.position == before.position else name_of(after.position)
    gives = "".join(f"-{hid}" for hid in decision.gives)
    takes = f"+{decision.takes}" if decision.takes is not None else ""
    parts = (target, _ordered(after, decision.effect), gives + takes or "-", _places(after))
    return " | ".join((*parts, _records(before, after), _flags(before, after)))


def _ordered(after: Vm, effect: EffectRequest | None) -> str:
    """``kind@host+other`` and the record it works on when that is not the newest one."""
    if effect is None:
        return "-"
    said = [f"{effect.kind.value}@{effect.hid}"]
    if effect.args["OTHER_HID"] != "-1":
        said[0] += f"+{effect.args['OTHER_HID']}"
    if after.current is not None and effect.args["SEQ"] != str(after.current.seq):
        said.append(f"#{effect.args['SEQ']}")
    if effect.args["HARD"] == "YES" and effect.kind in (EffectKind.VMM_CANCEL, EffectKind.VMM_SHUTDOWN):
        said.append("hard")
    if effect.args.get("LOCAL") == "YES":
        said.append("front-end")
    return " ".join(said)


def _places(vm: Vm) -> str:
    return ",".join(map(str, vm.may_run_on)) or "nowhere"


def _records(before: Vm, after: Vm) -> str:
    said = []
    for old, new in zip(before.history, after.history, strict=False):
        changes = _stamps(old, new)
        if changes:
            said.append(f"#{new.seq} {changes}")
    for new in after.history[len(before.history) :]:
        proof = f" proof={new.proof_id}" if new.proof_id >= 0 else ""
        blank = History(
            new.seq, new.hid, new.hostname, new.cid, new.ds_id, new.vm_mad, new.tm_mad, proof_id=new.proof_id
        )
        said.append(f"new #{new.seq}@{new.hid} {_stamps(blank, new)}{proof}")
    return "; ".join(said) or "-"


def _stamps(old: History, new: History) -> str:
    said = []
    for field in fields(History):
        value = getattr(new, field.name)
        if value == getattr(old, field.name) or field.name == "gid":
            continue
        if isinstance(value, HistoryAction):
            said.append(value.name)
        else:
            said.append(field.name if value == NOW else f"{field.name}={value}")
    return " ".join(said)


def _flags(before: Vm, after: Vm) -> str:
    said = []
    if after.resched != before.resched:
        said.append("unresched")
    if after.deploy_id != before.deploy_id:
        said.append(f"deploy_id={after.deploy_id or 'none'}")
    if before.operation != after.operation:
        said.append(_operation(before, after))
    if after.etime:
        said.append("ended")
    return " ".join(said) or "-"


def _operation(before: Vm, after: Vm) -> str:
    """What became of the operation: the NIC under way is kept, or it never was."""
    if after.operation != NO_OPERATION:
        return f"begins {after.operation.action}"
    kept = any(nic.get("NIC_ID") == "3" and "ATTACH" not in nic for nic in after.template.sections("NIC"))
    return f"{before.operation.action} {'done' if kept else 'undone'}"


def refusal(vm: Vm, event: VmEvent, facts: Facts = FACTS) -> str:
    """The sentence that refuses."""
    with pytest.raises(ActionError) as caught:
        decide(vm, event, facts)
    assert caught.value.code == 2048
    return caught.value.message


def ordered(vm: Vm, event: VmEvent, facts: Facts = FACTS) -> EffectRequest:
    """What the driver is asked for."""
    effect = decide(vm, event, facts).effect
    assert effect is not None
    return effect
