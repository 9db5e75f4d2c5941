"""Which system datastore takes the files of a VM, and whether they can get there.

Files that are made anew go wherever the images can (:mod:`holdfast.engine.transfer_modes`).  Files that exist go only
where the driver that made them can carry them; from a host that is lost nothing can be carried at all.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.engine.space import insist_on_space, needed_on_system_mb
from holdfast.engine.transfer_modes import placed_on, same_driver
from holdfast.engine.work import Work
from holdfast.failover.selection import out_of_reach
from holdfast.lifecycle.positions import FILES_ON_THE_WAY
from holdfast.model.enums import DatastoreState, DatastoreType, HistoryAction
from holdfast.model.errors import ActionError
from holdfast.model.host import Host
from holdfast.model.storage import Datastore
from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState

_PARKING = (HistoryAction.STOP, HistoryAction.UNDEPLOY, HistoryAction.UNDEPLOY_HARD)


def destination(work: Work, vm: Vm, ds_id: int = -1) -> tuple[Datastore, Vm]:
    """The system datastore for the VM's next place, and the VM as it is there; raises ActionError.

    ``ds_id`` is the one that is asked for, -1 leaves the choice to us: its own, or the first that fits.
    """
    if vm.state in (VmState.PENDING, VmState.HOLD):
        parked = vm.is_parked and vm.current is not None and vm.current.action in _PARKING
        return (_for_parked(work, vm, ds_id), vm) if parked else _for_new(work, vm, ds_id)
    own = vm.current.ds_id if vm.current else -1
    chosen = _system(work, ds_id if ds_id >= 0 else own)
    if chosen.oid != own:
        _insist_on_enabled(chosen, vm)
        _insist_on_migration(work, vm, chosen)
    _insist_on_room(work, vm, chosen)
    return chosen, vm


def space_needed_mb(vm: Vm, system: Datastore) -> int:
    """MB that the VM's disks will need on a datastore; 0 when they are there."""
    has_files = vm.current is not None and (vm.is_parked or vm.state not in (VmState.PENDING, VmState.HOLD))
    if has_files and vm.current is not None and vm.current.ds_id == system.oid:
        return 0
    return needed_on_system_mb(vm)


def _insist_on_room(work: Work, vm: Vm, system: Datastore) -> None:
    insist_on_space(work, system, space_needed_mb(vm, system), f"VM {vm.oid}")


def insist_on_files(work: Work, vm: Vm) -> None:
    """Raises ActionError when the VM's files cannot be taken from where they are.

    A move that failed half way is finished or undone before the next, unless all hosts see the same files.
    """
    if vm.current is None or vm.state in (VmState.PENDING, VmState.HOLD):
        return
    system = work.find(Datastore, vm.current.ds_id)
    if vm.previous is None or vm.position not in FILES_ON_THE_WAY:
        _insist_on_host(work, vm, system)
        return
    if vm.current.ds_id != vm.previous.ds_id:
        raise ActionError(_on_their_way(vm, "to another datastore"), vm.oid)
    if system is not None and not system.shared and vm.current.hid != vm.previous.hid:
        raise ActionError(_on_their_way(vm, f"from {vm.previous.hostname} to {vm.current.hostname}"), vm.oid)


def _on_their_way(vm: Vm, way: str) -> str:
    return (
        f"The files of VM {vm.oid} were on their way {way}: finish that with onevm recover --retry, "
        f"or undo it with --failure {vm.oid}, before it moves on."
    )


def _insist_on_host(work: Work, vm: Vm, system: Datastore | None) -> None:
    """Files that only one host has stay out of reach while it is lost."""
    if system is None or system.shared:
        return
    host = work.find(Host, vm.hid)
    if host is None or host.error_since:
        raise ActionError(f"VM {vm.oid}: {out_of_reach(vm, system)}", vm.oid)


def _for_new(work: Work, vm: Vm, ds_id: int) -> tuple[Datastore, Vm]:
    """The one that is asked for, or the first that takes all its images."""
    if ds_id >= 0:
        return _placed_with_room(work, vm, _system(work, ds_id))
    refusals = []
    for candidate in _ready(work):
        try:
            return _placed_with_room(work, vm, candidate)
        except ActionError as error:
            name = f"datastore {candidate.oid} ({candidate.name})"
            refusals.append(error.message if name in error.message else f"{name}: {error.message}")
    raise ActionError(_none(refusals))


def _placed_with_room(work: Work, vm: Vm, system: Datastore) -> tuple[Datastore, Vm]:
    placed = placed_on(work, vm, system)
    _insist_on_room(work, placed, system)
    return system, placed


def _for_parked(work: Work, vm: Vm, ds_id: int) -> Datastore:
    """The VM's files are on the front-end, in the directory of the datastore that it left."""
    left = vm.current
    assert left is not None, "a VM that is parked has a history"
    if ds_id >= 0:
        chosen = _system(work, ds_id)
        if not same_driver(chosen.tm_mad, left.tm_mad):
            raise ActionError("Cannot migrate to a system datastore with a different driver", vm.oid)
        if chosen.oid != left.ds_id:
            _insist_on_enabled(chosen, vm)
        _insist_on_room(work, vm, chosen)
        return chosen
    fitting = [candidate for candidate in _ready(work) if same_driver(candidate.tm_mad, left.tm_mad)]
    for candidate in fitting:
        if candidate.oid == left.ds_id:
            return candidate
    if not fitting:
        raise ActionError(_none([f"its files are of TM_MAD {left.tm_mad}"]))
    return fitting[0]


def _insist_on_enabled(chosen: Datastore, vm: Vm) -> None:
    if chosen.state is DatastoreState.DISABLED:
        raise ActionError(
            f"Datastore {chosen.oid} ({chosen.name}) is disabled: VM {vm.oid} is not moved there. Enable it "
            f"(onedatastore enable {chosen.oid}), or choose another.",
            vm.oid,
        )


def _insist_on_migration(work: Work, vm: Vm, chosen: Datastore) -> None:
    meaning = {**work.settings.tm_conf.meaning(chosen.tm_mad, chosen.type), **chosen.template.singles()}
    wanted = ["DS_MIGRATE", *(["DS_MIGRATE_SNAP"] if any(tree.snapshots for tree in vm.snapshots) else [])]
    for name in wanted:
        if meaning.get(name, "YES").upper() != "YES":
            raise ActionError(f"System datastore migration not supported by driver ({name} of {chosen.name})", vm.oid)
    if vm.current is not None and not same_driver(chosen.tm_mad, vm.current.tm_mad):
        raise ActionError("Cannot migrate to a system datastore with a different driver", vm.oid)


def _system(work: Work, ds_id: int) -> Datastore:
    chosen = work.get(Datastore, ds_id)
    if chosen.type is not DatastoreType.SYSTEM_DS:
        raise ActionError(f"Datastore {ds_id} ({chosen.name}) is not a system datastore.")
    return chosen


def _ready(work: Work) -> Iterator[Datastore]:
    for datastore in sorted(work.draft.all(Datastore), key=lambda datastore: datastore.oid):
        if datastore.type is DatastoreType.SYSTEM_DS and datastore.state is DatastoreState.READY:
            yield datastore


def _none(refusals: list[str]) -> str:
    """OpenNebula's words, and what stood in the way."""
    return "No system datastores found to run VMs" + (f" ({'; '.join(refusals)})" if refusals else "")
