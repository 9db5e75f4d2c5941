"""The guards of the transition table: each returns None when it holds, or the sentence that refuses.

The refusals name the way out, because operators meet them at night.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.lifecycle.facts import Facts
from holdfast.lifecycle.vocabulary import Guard
from holdfast.model.vm import Vm


def _always(vm: Vm, facts: Facts) -> str | None:
    return None


def _may_run_elsewhere(vm: Vm, hid: int) -> str | None:
    others = [other for other in vm.may_run_on if other != hid]
    if not others:
        return None
    return (
        f"VM {vm.oid} may still run on host {', '.join(map(str, others))}: without proof that the host is dead it is "
        f"not started elsewhere. Fence the host or confirm that it is off: onehost failover list, then "
        f"onehost failover confirm ID."
    )


def _startable(vm: Vm, facts: Facts) -> str | None:
    if facts.target is None:
        return "No target host was given."
    return _may_run_elsewhere(vm, facts.target.hid)


def _movable(vm: Vm, facts: Facts) -> str | None:
    return _startable(vm, facts) or _may_run_elsewhere(vm, -1)


def _startable_here(vm: Vm, facts: Facts) -> str | None:
    return _may_run_elsewhere(vm, vm.hid) or _host_in_touch(vm, facts)


def _nowhere(vm: Vm, facts: Facts) -> str | None:
    if not vm.may_run_on:
        return None
    return (
        f"A domain of VM {vm.oid} may still run on host {', '.join(map(str, vm.may_run_on))}. If it is in touch: "
        f"onevm recover --retry {vm.oid}, or --delete. If it is lost: fence it or confirm that it is off (onehost "
        f"failover list, onehost failover confirm ID)."
    )


def _host_in_touch(vm: Vm, facts: Facts) -> str | None:
    if not facts.host_lost:
        return None
    return (
        f"Host {vm.hid} is lost and not proven dead: VM {vm.oid} may still run there and no driver can reach it. "
        f"Fence the host or confirm that it is off (onehost failover list, onehost failover confirm ID) and try again."
    )


def _stopped_for_certain(vm: Vm, facts: Facts) -> str | None:
    return None if facts.certain or not vm.may_run_on else "It is not certain that the domain is gone."


def _shutting_softly(vm: Vm, facts: Facts) -> str | None:
    return "The domain is being destroyed." if vm.shutdown_hard else None


CHECKS: dict[Guard, Callable[[Vm, Facts], str | None]] = {
    Guard.ALWAYS: _always,
    Guard.STARTABLE: _startable,
    Guard.MOVABLE: _movable,
    Guard.STARTABLE_HERE: _startable_here,
    Guard.NOWHERE: _nowhere,
    Guard.HOST_IN_TOUCH: _host_in_touch,
    Guard.STOPPED_FOR_CERTAIN: _stopped_for_certain,
    Guard.SHUTTING_SOFTLY: _shutting_softly,
}
