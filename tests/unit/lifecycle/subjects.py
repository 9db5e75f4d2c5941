"""VMs in every position of the transition table, and what a decision did to one, as a line of text."""

from __future__ import annotations

from dataclasses import fields

from holdfast.lifecycle import Decision, Facts, Target
from holdfast.lifecycle.table import (
    BOOT,
    BOOT_FAILURE,
    BOOT_POWEROFF,
    BOOT_UNKNOWN,
    RUNNING,
    SHUTDOWN,
    SHUTDOWN_POWEROFF,
    UNKNOWN,
    WAITING,
    Position,
)
from holdfast.model.enums import HistoryAction
from holdfast.model.template import Template
from holdfast.model.user import Actor
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import VmState

HERE, THERE, OLD = 1, 2, 7
"""The VM's host, the host it may go to, and the host it was on before."""
NOW = 5000
ALIVE_IN = (BOOT, BOOT_POWEROFF, BOOT_UNKNOWN, RUNNING, UNKNOWN, SHUTDOWN, SHUTDOWN_POWEROFF, BOOT_FAILURE)
"""Where a domain may exist, as a rule."""
TARGET = Target(THERE, "host2", 0, 0, "kvm", "shared")
OPERATOR = Actor(3, 4, "ann")
FACTS = Facts(NOW, OPERATOR, TARGET, dead_hid=HERE, proof_id=11)
EARLIER = History(0, OLD, "host7", 0, 0, "kvm", "shared", 100, 200, 101, 102, 103, 200, action=HistoryAction.MIGRATE)
CURRENT = History(1, HERE, "host1", 0, 0, "kvm", "shared", 200, 0, 201, 202, 203)


def name_of(position: Position) -> str:
    """The LCM state while ACTIVE, else the state."""
    state, lcm_state = position
    return lcm_state.name if state is VmState.ACTIVE else state.name


def vm_at(position: Position, may_run_on: tuple[int, ...] | None = None, hard: bool = False, effect_id: int = -1) -> Vm:
    """A VM in ``position``, with two records (the older one closed), that may run where that is usual."""
    usual = (HERE,) if position in ALIVE_IN else ()
    current = CURRENT
    if position in WAITING:
        current = History(1, HERE, "host1", 0, 0, "kvm", "shared", 200, 300, 201, action=HistoryAction.DELETE_RECREATE)
    return Vm(
        42, 3, 4, "vm", *position, Template([("CPU", "1"), ("MEMORY", "64")]), history=(EARLIER, current),
        deploy_id="one-42", may_run_on=usual if may_run_on is None else may_run_on, shutdown_hard=hard, resched=True,
        effect_id=effect_id,
    )  # fmt: skip


def told(before: Vm, decision: Decision) -> str:
    """``target | effect | capacity | may_run_on | records | flags``."""
    after, effect = decision.vm, decision.effect
    target = "stays" if after.position == before.position else name_of(after.position)
    ordered = f"{effect.kind.value}@{effect.hid}{' hard' if effect.hard else ''}" if effect else "-"
    gives = f"-{decision.gives}" if decision.gives is not None else ""
    takes = f"+{decision.takes}" if decision.takes is not None else ""
    parts = (target, ordered, gives + takes or "-", _places(after), _records(before, after), _flags(before, after))
    return " | ".join(parts)


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
    if after.etime:
        said.append("ended")
    return " ".join(said) or "-"
