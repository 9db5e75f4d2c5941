"""Transfers of VMs whose system datastore is not shared, as ``drivers/tm/ssh.py`` does them: host by host, over ssh.

Their files are on one host at a time, or on the front-end.  A step needs every host that it names; a host that the
order calls lost is not asked for anything.
"""

from __future__ import annotations

from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState
from holdfast.simulation.drivers.job import Job
from holdfast.simulation.kernel import Script
from holdfast.simulation.world import FRONT_END, NOWHERE

_REPAIRED = {
    LcmState.PROLOG_FAILURE: EffectKind.TM_PROLOG,
    LcmState.PROLOG_MIGRATE_FAILURE: EffectKind.TM_MIGRATE,
    LcmState.PROLOG_MIGRATE_POWEROFF_FAILURE: EffectKind.TM_MIGRATE,
    LcmState.PROLOG_MIGRATE_SUSPEND_FAILURE: EffectKind.TM_MIGRATE,
    LcmState.PROLOG_MIGRATE_UNKNOWN_FAILURE: EffectKind.TM_MIGRATE,
    LcmState.PROLOG_RESUME_FAILURE: EffectKind.TM_RESUME,
    LcmState.PROLOG_UNDEPLOY_FAILURE: EffectKind.TM_RESUME,
    LcmState.EPILOG_FAILURE: EffectKind.TM_EPILOG,
    LcmState.EPILOG_STOP_FAILURE: EffectKind.TM_STOP,
    LcmState.EPILOG_UNDEPLOY_FAILURE: EffectKind.TM_STOP,
}
CONNECT_S = 5.0
"""So long an ssh client tries."""
REMOVING = (EffectKind.TM_EPILOG, EffectKind.TM_DELETE)


def has_own_files(job: Job) -> bool:
    """Whether the VM's files are on its host alone."""
    record = _record(job)
    system = job.order.datastores.get(record.ds_id) if record else None
    return system is not None and not system.shared


def _record(job: Job) -> History | None:
    vm = job.order.vm
    if vm is None or not vm.history:
        return None
    return next((record for record in vm.history if record.seq == job.seq), vm.history[-1])


def _before(vm: Vm, record: History) -> History | None:
    at = vm.history.index(record)
    return vm.history[at - 1] if at else None


def _step(job: Job) -> EffectKind | None:
    """The step that the order is; of a repair line by line, the last line counts as the step."""
    kind, args, vm = job.order.effect.kind, job.order.effect.args, job.order.vm
    if kind is not EffectKind.TM_LINE or vm is None:
        return kind
    return _REPAIRED.get(vm.lcm_state) if args["NUMBER"] == args["COUNT"] else None


def _places(job: Job) -> tuple[int, int]:
    """Where the step takes the files from, and where it puts them."""
    vm, record, kind = job.order.vm, _record(job), _step(job)
    assert vm is not None
    assert record is not None
    before = _before(vm, record)
    if kind is EffectKind.TM_PROLOG:
        return FRONT_END, record.hid
    if kind is EffectKind.TM_MIGRATE:
        return (before.hid if before else record.hid), record.hid
    if kind is EffectKind.TM_RESUME:
        return FRONT_END, record.hid
    if kind is EffectKind.TM_STOP:
        return record.hid, FRONT_END
    here = FRONT_END if job.order.effect.args.get("LOCAL") == "YES" else record.hid
    return here, here


def hosts_needed(job: Job) -> set[int]:
    """The hosts that the step's lines name, without those whose removals it leaves out."""
    places = {*_places(job), *([job.other_hid] if job.order.effect.kind is EffectKind.TM_DELETE else [])}
    return {hid for hid in places if hid >= 0} - (lost_hosts(job) if _only_removes(job) else set())


def _only_removes(job: Job) -> bool:
    """The VMs of this world have no persistent images: an epilog removes, too."""
    return _step(job) in REMOVING


def lost_hosts(job: Job) -> set[int]:
    """Those that the order calls lost."""
    named = job.order.effect.args.get("LOST", "").split()
    return {hid for hid, machine in job.site.world.machines.items() if machine.name in named}


def reach(job: Job) -> Script:
    """None when every host that is needed answers ssh, else the failure."""
    needed = hosts_needed(job)
    if needed & lost_hosts(job):
        return Answer(False, "line 1: the host is lost, with the files: try again when it is back")
    if all(job.site.world.machines[hid].reachable for hid in needed):
        return None
    yield min(CONNECT_S, max(job.left_s, 0.05))
    return Answer(False, "line 1: ssh: connect to host: Connection timed out", certain=False)


def perform(job: Job) -> str:
    """The files are where the step puts them; returns why they cannot be."""
    storage, kind = job.site.world.storage, _step(job)
    if kind is None:
        return ""
    origin, target = _places(job)
    at = storage.places.get(job.vm_id, NOWHERE)
    storage.unanswered[job.vm_id] = job.order.effect.oid
    if kind is EffectKind.TM_PROLOG:
        storage.places[job.vm_id] = target
    elif kind in REMOVING:
        on_frontend = FRONT_END if job.order.effect.args.get("FRONTEND") == "YES" else origin
        if at not in lost_hosts(job) and at in (origin, job.other_hid, on_frontend):
            storage.places[job.vm_id] = NOWHERE
    elif at not in (origin, target):
        return f"line 1: neither host {origin} nor host {target} has the files"
    else:
        storage.places[job.vm_id] = target
    return ""
