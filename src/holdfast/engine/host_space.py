"""Room on the hosts' own storage: what was measured there, what was promised since, and which host is refused.

The same as :mod:`holdfast.engine.space`, for system datastores of which each host has files of its own.
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine.events import DatastoreMeasured
from holdfast.engine.space import checks_capacity, insist_on_space, needed_on_system_mb, with_trouble
from holdfast.engine.work import Work
from holdfast.model.errors import ActionError
from holdfast.model.host import Host, HostDatastore
from holdfast.model.storage import Datastore
from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState


class NoSpaceOnHost(ActionError):
    """The host has no room for the VM's files; another one may have."""


def measured_on_host(work: Work, event: DatastoreMeasured) -> None:
    """What a look at the host's part of a datastore found; after a failed look nothing is known of it."""
    host = work.find(Host, event.host_id)
    if host is None or work.find(Datastore, event.ds_id) is None:
        return
    others = tuple(each for each in host.datastores if each.ds_id != event.ds_id)
    found = HostDatastore(event.ds_id, event.total_mb, event.free_mb, event.used_mb)
    datastores = others if event.error else tuple(sorted((*others, found), key=lambda each: each.ds_id))
    after = replace(host, datastores=datastores, template=with_trouble(host.template, event.error))
    if after != host:
        work.draft.put(after)


def forget_on_hosts(work: Work, ds_id: int) -> None:
    """The datastore is removed: its figures are of no host any more."""
    for host in tuple(work.draft.all(Host)):
        if _figures(host, ds_id) is not None:
            work.draft.put(replace(host, datastores=tuple(each for each in host.datastores if each.ds_id != ds_id)))


def insist_on_host_space(work: Work, host: Host, system: Datastore, vm: Vm) -> None:
    """Raises NoSpaceOnHost when the host is known to lack room for the VM's files."""
    _insist(work, host, system, needed_on_host_mb(vm, host, system), vm)


def insist_on_growth(work: Work, vm: Vm, needed_mb: int) -> None:
    """A VM's files grow where they are: raises ActionError when there is no room for so much more."""
    system = work.find(Datastore, vm.current.ds_id) if vm.current else None
    if system is None:
        return
    insist_on_space(work, system, needed_mb, f"VM {vm.oid}")
    host = work.find(Host, vm.hid)
    if host is not None and not system.shared and not vm.is_parked:
        _insist(work, host, system, needed_mb, vm)


def _insist(work: Work, host: Host, system: Datastore, needed_mb: int, vm: Vm) -> None:
    figures = _figures(host, system.oid)
    if figures is None or not needed_mb or not checks_capacity(work, system):
        return
    left_mb = max(0, figures.free_mb - figures.promised_mb)
    if needed_mb > left_mb:
        raise NoSpaceOnHost(
            f"Not enough space in datastore {system.oid} ({system.name}) on host {host.name}: VM {vm.oid} needs "
            f"{needed_mb} MB, {left_mb} MB are left there. Free some space, use another host, or set "
            f"DATASTORE_CAPACITY_CHECK = NO with onedatastore update {system.oid}.",
            vm.oid,
        )


def promise_host_space(work: Work, hid: int, system: Datastore, needed_mb: int) -> None:
    """So much is going to be written there before the next measurement."""
    host = work.get(Host, hid)
    figures = _figures(host, system.oid)
    if figures is None or not needed_mb:
        return
    promised = replace(figures, promised_mb=figures.promised_mb + needed_mb)
    datastores = tuple(promised if each is figures else each for each in host.datastores)
    work.draft.put(replace(host, datastores=datastores))


def needed_on_host_mb(vm: Vm, host: Host, system: Datastore) -> int:
    """MB that the VM's files will need on the host; 0 when they are there, or on storage that all hosts share."""
    if system.shared:
        return 0
    stays = vm.current is not None and vm.state not in (VmState.PENDING, VmState.HOLD) and not vm.is_parked
    if stays and vm.current is not None and (vm.current.hid, vm.current.ds_id) == (host.oid, system.oid):
        return 0
    return needed_on_system_mb(vm)


def is_roomier_host(before: Host, after: Host) -> bool:
    """VMs that found no room on its storage may find it now."""
    if before.datastores is after.datastores:
        return False
    known = {each.ds_id: each.free_mb - each.promised_mb for each in before.datastores}
    return any(each.free_mb - each.promised_mb > known.get(each.ds_id, -1) for each in after.datastores)


def _figures(host: Host, ds_id: int) -> HostDatastore | None:
    return next((each for each in host.datastores if each.ds_id == ds_id), None)
