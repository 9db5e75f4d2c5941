"""Commands on hosts."""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine import commands as c
from holdfast.engine.handlers import Handlers
from holdfast.engine.handlers.names import checked, checked_rename
from holdfast.engine.handlers.secrets_kept import with_secrets_of
from holdfast.engine.sightings import open_failover
from holdfast.engine.work import Work
from holdfast.model.enums import HostState, HostStatus
from holdfast.model.errors import ActionError, AllocateError, ArgumentError
from holdfast.model.host import Host
from holdfast.model.template import Template
from holdfast.model.template_text import parse_any

_MEASURED = ("TOTALCPU", "TOTALMEMORY")


def allocate(work: Work, command: c.AllocateHost) -> int:
    """A new host: INIT until its agent is heard."""
    if not command.im_mad or not command.vm_mad:
        raise AllocateError("host", "IM_MAD and VM_MAD must be given, for example kvm and kvm.")
    if command.cluster_id not in (-1, 0):
        raise AllocateError("host", f"Cluster {command.cluster_id} does not exist, there is cluster 0 (default).")
    name = checked(work, Host, command.name)
    oid = work.draft.next_id(Host)
    template = Template([("IM_MAD", command.im_mad), ("VM_MAD", command.vm_mad)])
    work.draft.put(Host(oid, name, HostState.INIT, command.im_mad, command.vm_mad, template=template))
    return oid


def delete(work: Work, command: c.DeleteHost) -> int:
    """Removes a host that has no VMs."""
    host = work.get(Host, command.oid)
    if host.vms:
        named = ", ".join(map(str, host.vms[:5]))
        raise ActionError(f"Can not remove a host with running VMs ({len(host.vms)}: {named}).", host.oid)
    strays = work.strays_of(host.oid)
    if strays:
        raise ActionError(f"Can not remove host {host.oid}: VM {strays[0].oid} may still run on it.", host.oid)
    failover = open_failover(work, host.oid)
    if failover is not None:
        raise ActionError(
            f"Host {host.oid} is under failover {failover.oid}: wait for its end, or onehost failover abort.", host.oid
        )
    work.draft.delete(Host, host.oid)
    return host.oid


def update(work: Work, command: c.UpdateHost) -> int:
    """Replaces or merges the template; what the agent measured stays."""
    host = work.get(Host, command.oid)
    given = parse_any(command.text)
    if command.append:
        template = host.template.merged(with_secrets_of(host.template, given))
    else:
        kept = {name: host.template.get(name) for name in (*_MEASURED, "ERROR") if name in host.template}
        template = with_secrets_of(host.template, given).replaced(kept)
    template = template.with_values(IM_MAD=host.im_mad, VM_MAD=host.vm_mad)
    if template.get("LIBVIRT_URI") != host.template.get("LIBVIRT_URI"):
        _refuse_with_vms(work, host, "given another LIBVIRT_URI")
    work.draft.put(replace(host, template=template))
    return host.oid


def rename(work: Work, command: c.RenameHost) -> int:
    """Renames a host that has no VMs: their history records carry the name."""
    host = work.get(Host, command.oid)
    if host.name == command.name:
        return host.oid
    _refuse_with_vms(work, host, "renamed")
    work.draft.put(replace(host, name=checked_rename(work, Host, command.name, host.oid)))
    return host.oid


def _refuse_with_vms(work: Work, host: Host, what: str) -> None:
    """Another name or address may be another machine, which knows nothing of the VMs that run on this one."""
    strays = work.strays_of(host.oid)
    if host.vms or strays:
        named = ", ".join(map(str, (*host.vms, *(vm.oid for vm in strays))[:5]))
        raise ActionError(f"Host {host.oid} cannot be {what} while it has VMs ({named}).", host.oid)


def set_status(work: Work, command: c.SetHostStatus) -> int:
    """Enables, disables or takes offline.  None of it says that a lost host is back."""
    host = work.get(Host, command.oid)
    try:
        status = HostStatus(command.status)
    except ValueError:
        raise ArgumentError(f"Wrong status code [{command.status}]: 0 enable, 1 disable, 2 offline") from None
    state = _state_for(host, status)
    if state is host.state:
        return host.oid
    after = replace(host, state=state, prev_state=host.state)
    if status is HostStatus.OFFLINE:
        after = replace(after, max_cpu=0, max_mem=0, template=after.template.without(*_MEASURED))
    work.draft.put(after)
    return host.oid


def _state_for(host: Host, status: HostStatus) -> HostState:
    if status is HostStatus.DISABLED:
        return HostState.DISABLED
    if status is HostStatus.OFFLINE:
        return HostState.OFFLINE
    if host.error_since:
        return HostState.ERROR
    if host.state is HostState.DISABLED and host.max_cpu:
        return HostState.MONITORED
    return host.state if host.state is HostState.MONITORED else HostState.INIT


HANDLERS: Handlers = {
    c.AllocateHost: allocate,
    c.DeleteHost: delete,
    c.UpdateHost: update,
    c.RenameHost: rename,
    c.SetHostStatus: set_status,
}
