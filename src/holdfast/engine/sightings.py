"""What observations do to hosts and VMs: lost, back, rebooted, degraded; VMs seen running or gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from holdfast.engine import failover_work, rows
from holdfast.engine.events import HostAlive, HostDegraded, HostSilent, VmSeen
from holdfast.engine.vm_work import facts_of, happen, happen_if_possible, target_on, with_error
from holdfast.engine.work import Work
from holdfast.lifecycle import VmEvent
from holdfast.lifecycle.positions import SHUTDOWNS, STOPPING, SUSPENDED
from holdfast.model.effect import Effect
from holdfast.model.enums import HostState
from holdfast.model.failover import Failover, Proof
from holdfast.model.host import Host
from holdfast.model.template import Template
from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState

SETTLE_S = 5
"""So long after a VM was powered off, or suspended, a report that it runs is taken for an old one."""
_SEEN = {
    "RUNNING": VmEvent.SEEN_RUNNING,
    "POWEROFF": VmEvent.SEEN_POWEROFF,
    "FAILURE": VmEvent.SEEN_FAILURE,
    "SUSPENDED": VmEvent.SEEN_SUSPENDED,
}


def host_silent(work: Work, event: HostSilent) -> None:
    """The host is lost: ERROR (a DISABLED host keeps its state), and its RUNNING VMs are UNKNOWN."""
    host = work.find(Host, event.host_id)
    if host is None or host.error_since or host.state is HostState.OFFLINE or _is_stale(work, host, event):
        return
    said = "; ".join(f"{item.source}: {item.text}" for item in event.evidence)
    state = host.state if host.state is HostState.DISABLED else HostState.ERROR
    work.draft.put(
        replace(
            host,
            state=state,
            prev_state=host.state,
            error_since=work.now,
            lost_boot_id=host.boot_id,
            template=host.template.with_values(ERROR=error_text(work, host, said)),
        )
    )
    for vm_id in host.vms:
        vm = work.find(Vm, vm_id)
        if vm is not None:
            happen_if_possible(work, vm, VmEvent.HOST_ERROR, facts_of(work, vm))


def _is_stale(work: Work, host: Host, event: HostSilent) -> bool:
    """The silence was broken, or the boot that has ended was followed by another, before it could be stored.

    Whoever is heard after a reboot is the new boot: that does not undo the end of the old one.
    """
    if event.boot_id:
        return event.boot_id != host.boot_id
    return work.senses.heard_at(host.oid) > event.since


def error_text(work: Work, host: Host, said: str) -> str:
    """TEMPLATE/ERROR in OpenNebula's form."""
    when = datetime.fromtimestamp(work.now, work.settings.time_zone).strftime("%a %b %d %H:%M:%S %Y")
    return f"{when} : Error monitoring Host {host.name} ({host.oid}): {said}"


def host_alive(work: Work, event: HostAlive) -> None:
    """An authenticated agent was heard: the host is in touch (again), its capacity known."""
    host = work.find(Host, event.host_id)
    if host is None or host.state is HostState.OFFLINE:
        return
    if _is_back_from_the_dead(work, host, event.boot_id):
        return
    returned = host.error_since > 0 or host.boot_id != event.boot_id
    if host.boot_id and host.boot_id != event.boot_id:
        _forget_old_boot(work, host, event)
    state = HostState.MONITORED if host.state in (HostState.INIT, HostState.ERROR) else host.state
    template = host.template.without("ERROR") if returned else host.template
    after = replace(
        _with_capacity(host, template, event),
        state=state,
        prev_state=host.state if state is not host.state else host.prev_state,
        boot_id=event.boot_id,
        last_seen=work.second,
        error_since=0.0,
        proof_id=-1 if returned else host.proof_id,
    )
    work.draft.put(after)
    if returned:
        failover = open_failover(work, host.oid)
        if failover is not None:
            failover_work.host_came_back(work, failover, event.boot_id, {vm_id for vm_id, _ in event.vms})


def _forget_old_boot(work: Work, host: Host, event: HostAlive) -> None:
    """What ran before a reboot is gone, except what the agent reports and what a driver is just working on."""
    reported = {vm_id for vm_id, _ in event.vms}
    for vm in (*(work.get(Vm, vm_id) for vm_id in host.vms), *work.strays_of(host.oid)):
        if vm.oid in reported or _is_ordered(work, vm):
            continue
        vm = happen_if_possible(work, vm, VmEvent.HOST_ERROR, facts_of(work, vm))
        if vm.position == SUSPENDED and vm.hid == host.oid:
            vm = happen(work, vm, VmEvent.SEEN_POWEROFF, facts_of(work, vm))
        if host.oid in vm.may_run_on:
            vm = replace(vm, may_run_on=tuple(hid for hid in vm.may_run_on if hid != host.oid))
            work.draft.put(vm)
            rows.try_again(work, vm)


def _is_ordered(work: Work, vm: Vm) -> bool:
    effect = work.find(Effect, vm.effect_id)
    return effect is not None and effect.kind.value.startswith("vmm.")


def _is_back_from_the_dead(work: Work, host: Host, boot_id: str) -> bool:
    """The agent of a boot that was *proven* dead is heard: the proof was wrong, so the host gets no VMs."""
    proof = work.find(Proof, host.proof_id) if host.proof_id >= 0 else None
    if proof is None or not host.error_since or not proof.boot_id or proof.boot_id != boot_id:
        return False
    said = (
        f"it is alive although proof {proof.oid} ({proof.kind.value} by {proof.by}) says that it is dead: its VMs were "
        f"restarted elsewhere and may now run twice. Power the host off at once; it is used again after a reboot"
    )
    if said not in host.template.get("ERROR"):
        work.draft.put(replace(host, template=host.template.with_values(ERROR=error_text(work, host, said))))
    return True


def _with_capacity(host: Host, template: Template, event: HostAlive) -> Host:
    if event.system is None:
        return replace(host, template=template)
    template = template.replaced(dict(sorted(event.system.items())))
    max_cpu = _whole(event.system.get("TOTALCPU", ""), host.max_cpu)
    max_mem = _whole(event.system.get("TOTALMEMORY", ""), host.max_mem)
    return replace(host, template=template, max_cpu=max_cpu, max_mem=max_mem)


def _whole(text: str, known: int) -> int:
    """The number an agent reports; what was known before when it is none."""
    return int(text) if text.isascii() and text.isdigit() else known


def host_degraded(work: Work, event: HostDegraded) -> None:
    """Something on a living host fails: shown, nothing more."""
    host = work.find(Host, event.host_id)
    if host is None or host.error_since:
        return
    template = host.template.without("ERROR")
    if event.text:
        template = host.template.with_values(ERROR=error_text(work, host, event.text))
    if template != host.template:
        work.draft.put(replace(host, template=template))


def vm_seen(work: Work, event: VmSeen) -> None:
    """Monitoring saw a VM; only its own host is believed, and only while no driver step is under way."""
    vm = work.find(Vm, event.vm_id)
    if vm is None:
        return
    if event.what in ("PRESENT", "ABSENT"):
        _seen_elsewhere(work, vm, event)
        return
    if event.what == "ELSEWHERE":
        _adopt(work, vm, event.host_id)
        return
    if vm.hid != event.host_id or (vm.effect_id >= 0 and not _confirms_shutdown(vm, event)):
        return
    if event.what == "RUNNING" and _has_just_stopped(work, vm):
        return
    happen_if_possible(work, vm, _SEEN[event.what], facts_of(work, vm))


def _confirms_shutdown(vm: Vm, event: VmSeen) -> bool:
    """A guest that is seen off has been shut down, whatever its driver still waits for."""
    return event.what == "POWEROFF" and vm.position in SHUTDOWNS


def _adopt(work: Work, vm: Vm, host_id: int) -> None:
    """The VM runs on another host than its record says, and nowhere else: that is its host now."""
    host = work.find(Host, host_id)
    if host is None or vm.current is None or vm.effect_id >= 0 or vm.may_run_on != (host_id,):
        return
    target = target_on(host, vm.current.ds_id, vm.current.tm_mad)
    happen_if_possible(work, vm, VmEvent.SEEN_ELSEWHERE, facts_of(work, vm, target=target))


def _has_just_stopped(work: Work, vm: Vm) -> bool:
    """A beacon may have been under way while the domain ended; the next ones tell."""
    is_off = vm.state in (VmState.POWEROFF, VmState.SUSPENDED)
    return is_off and vm.current is not None and work.second - vm.current.retime < SETTLE_S


def _seen_elsewhere(work: Work, vm: Vm, event: VmSeen) -> None:
    """The agent contradicts, or confirms, what was believed about where the VM may run."""
    if event.what == "PRESENT" and event.host_id not in vm.may_run_on:
        said = (
            f"a domain of this VM was seen on host {event.host_id}, where it should not be: it is started nowhere else"
        )
        vm = with_error(work, vm, said)
        work.draft.put(replace(vm, may_run_on=(*vm.may_run_on, event.host_id)))
    elif event.what == "ABSENT" and event.host_id in vm.may_run_on and (vm.effect_id < 0 or vm.position in STOPPING):
        vm = replace(vm, may_run_on=tuple(hid for hid in vm.may_run_on if hid != event.host_id))
        work.draft.put(vm)
        rows.try_again(work, vm)


def open_failover(work: Work, host_id: int) -> Failover | None:
    """The failover of this host that is not finished."""
    found = work.draft.matching(Failover, host_id)
    return found[-1] if found else None
