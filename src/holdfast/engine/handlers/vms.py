"""Commands on virtual machines, except their creation (see :mod:`.vm_allocate`)."""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine import commands as c
from holdfast.engine import rows
from holdfast.engine.cloning import look_at_images
from holdfast.engine.handlers import Handlers
from holdfast.engine.handlers.names import checked_rename
from holdfast.engine.handlers.vm_allocate import allocate
from holdfast.engine.host_space import insist_on_host_space, needed_on_host_mb, promise_host_space
from holdfast.engine.repair_work import insist_on_free_hands
from holdfast.engine.scheduling import move_of
from holdfast.engine.space import promise_space
from holdfast.engine.system_datastores import destination, insist_on_files, space_needed_mb
from holdfast.engine.vm_work import facts_of, happen, left_on_the_way, lost_with_its_host, target_on
from holdfast.engine.work import Work
from holdfast.lifecycle import VmEvent
from holdfast.lifecycle.decide import is_available
from holdfast.lifecycle.events import RECOVERIES, USER_ACTIONS
from holdfast.lifecycle.positions import PROLOG_MIGRATE_FAILURE
from holdfast.model.enums import HostState, RecoverOperation
from holdfast.model.errors import ActionError
from holdfast.model.host import Host
from holdfast.model.storage import Datastore
from holdfast.model.template_text import parse_any
from holdfast.model.vm import SHOWN_WHILE_TRANSFERRED, Vm
from holdfast.model.vm_states import VmState

_ANEW = frozenset(RecoverOperation) - {RecoverOperation.SUCCESS, RecoverOperation.FAILURE}
"""The recoveries that end what is under way and begin anew; the others take it for ended."""


def deploy(work: Work, command: c.DeployVm) -> int:
    """Deploys a waiting VM on a host of the caller's choice."""
    vm = work.get(Vm, command.oid)
    if not is_available(vm, VmEvent.DEPLOY):
        raise ActionError(f"Deploy action is not available for state {vm.state_name}", vm.oid)
    return _send(work, vm, VmEvent.DEPLOY, command.hid, command.ds_id, command.enforce)


def migrate(work: Work, command: c.MigrateVm) -> int:
    """Moves a VM: live, through a checkpoint or a power-off while it runs, as it is when it does not."""
    vm = work.get(Vm, command.oid)
    insist_on_free_hands(work, vm.oid)
    event = move_of(vm, command.live, command.type)
    if not is_available(vm, event):
        raise ActionError(f"Migrate action is not available for state {vm.state_name}", vm.oid)
    insist_on_files(work, vm)
    ds_id = vm.current.ds_id if vm.current else -1
    same_datastore = command.ds_id in (-1, ds_id)
    if vm.hid == command.hid and same_datastore:
        where = vm.current.hostname if vm.current else ""
        raise ActionError(f"VM is already running on host [{where}]", vm.oid)
    if event is VmEvent.MIGRATE_LIVE and not same_datastore:
        raise ActionError(
            f"A migration to a different system datastore cannot be performed live. Migrate without --live, or keep "
            f"datastore {ds_id}.",
            vm.oid,
        )
    if event is VmEvent.MIGRATE_LIVE:
        _insist_on_shared_disks(work, vm, ds_id)
    if event is not VmEvent.MIGRATE:
        _check_running_move(work, vm, event, command.hid)
    return _send(work, vm, event, command.hid, command.ds_id, command.enforce)


def _insist_on_shared_disks(work: Work, vm: Vm, ds_id: int) -> None:
    """A live migration carries memory only: both hosts must have the same disks."""
    system = work.get(Datastore, ds_id)
    if not system.shared:
        raise ActionError(
            f"VM {vm.oid} cannot be migrated live: datastore {system.oid} ({system.name}, TM_MAD {system.tm_mad}) is "
            f"not shared, so the other host does not have its disks. Migrate it without --live, which saves its "
            f"memory, copies its files and goes on, or with --poff.",
            vm.oid,
        )


def _check_running_move(work: Work, vm: Vm, event: VmEvent, hid: int) -> None:
    """A VM that runs is not taken from its host for a destination that cannot have it."""
    host = work.get(Host, hid)
    if host.error_since:
        raise ActionError(f"Host {host.oid} ({host.name}) is lost: a running VM is not moved there.", vm.oid)
    passes_through = event in (VmEvent.MIGRATE_SAVE, VmEvent.MIGRATE_LIVE)
    if passes_through and vm.template.sections("PCI"):
        raise ActionError(f"VM {vm.oid} has PCI devices: migrate it with --poff, or power it off first.", vm.oid)


def _send(work: Work, vm: Vm, event: VmEvent, hid: int, ds_id: int, enforce: bool) -> int:
    host = work.get(Host, hid)
    if host.state is HostState.OFFLINE:
        raise ActionError(f"Host {host.oid} ({host.name}) is OFFLINE: enable it first, or choose another.", vm.oid)
    if enforce and (host.free_cpu < vm.cpu_percent or host.free_mem < vm.memory_kb):
        raise ActionError(f"Not enough capacity on host {host.oid} ({host.name}) for VM {vm.oid}.", vm.oid)
    system, placed = destination(work, vm, ds_id)
    insist_on_host_space(work, host, system, placed)
    facts = facts_of(work, placed, target=target_on(host, system.oid, system.tm_mad))
    after = happen(work, placed, event, facts)
    promise_space(work, system.oid, space_needed_mb(placed, system))
    promise_host_space(work, host.oid, system, needed_on_host_mb(placed, host, system))
    return after.oid


def action(work: Work, command: c.VmAction) -> int:
    """``one.vm.action``."""
    vm = work.get(Vm, command.oid)
    event = USER_ACTIONS.get(command.action)
    if event is None:
        raise ActionError(f'Action "{command.action}" is not supported')
    insist_on_free_hands(work, vm.oid)
    after = happen(work, vm, event, facts_of(work, vm))
    if event is VmEvent.UNRESCHED:
        rows.stand_aside(work, after)
    return after.oid


def recover(work: Work, command: c.RecoverVm) -> int:
    """``one.vm.recover``, an administrator's action."""
    vm = work.get(Vm, command.oid)
    try:
        operation = RecoverOperation(command.operation)
    except ValueError:
        raise ActionError("Wrong recovery operation code") from None
    insist_on_free_hands(work, vm.oid, stops_line=operation in _ANEW)
    # an operator's word about the outcome is not certainty about the domain
    facts = facts_of(work, vm, certain=False)
    _check_way_back(work, vm, operation)
    after = lost_with_its_host(work, happen(work, vm, RECOVERIES[operation], facts))
    looks_again = operation in (RecoverOperation.FAILURE, RecoverOperation.SUCCESS)
    if after.state is VmState.CLONING_FAILURE and looks_again:
        look_at_images(work, after)
    return after.oid


def _check_way_back(work: Work, vm: Vm, operation: RecoverOperation) -> None:
    """A move that is taken back starts the VM where it came from; one that is taken for done has brought its files."""
    back = operation is RecoverOperation.FAILURE and vm.position == PROLOG_MIGRATE_FAILURE
    done = operation is RecoverOperation.SUCCESS
    stuck = left_on_the_way(work, vm) if back or done else ""
    if stuck:
        said = f"VM {vm.oid} cannot go on without host {_named(work, vm.previous_hid)}, which is lost: {stuck}"
        by_hand = f" If all of its files were brought by hand: onevm recover --retry --interactive {vm.oid}"
        raise ActionError(said + (by_hand if done else ""), vm.oid)
    source = work.find(Host, vm.previous_hid)
    if back and (source is None or source.error_since):
        raise ActionError(
            f"VM {vm.oid} came from host {_named(work, vm.previous_hid)}, which is lost: it cannot go back there. "
            f"Go on with onevm recover --retry or --success {vm.oid}.",
            vm.oid,
        )


def _named(work: Work, hid: int) -> str:
    """A host by name and number."""
    host = work.find(Host, hid)
    return f"{host.name} ({hid})" if host else str(hid)


def update(work: Work, command: c.UpdateVm) -> int:
    """Replaces or merges the user template.

    A client that edits what it has read sends the progress of a transfer back, too: it is not stored.
    """
    vm = work.get(Vm, command.oid)
    given = parse_any(command.text).without(*SHOWN_WHILE_TRANSFERRED)
    template = vm.user_template.merged(given) if command.append else given
    work.draft.put(replace(vm, user_template=template))
    return vm.oid


def rename(work: Work, command: c.RenameVm) -> int:
    """Renames a VM."""
    vm = work.get(Vm, command.oid)
    work.draft.put(replace(vm, name=checked_rename(work, Vm, command.name, vm.oid)))
    return vm.oid


HANDLERS: Handlers = {
    c.AllocateVm: allocate,
    c.DeployVm: deploy,
    c.MigrateVm: migrate,
    c.VmAction: action,
    c.RecoverVm: recover,
    c.UpdateVm: update,
    c.RenameVm: rename,
}
