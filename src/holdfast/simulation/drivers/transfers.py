"""Transfers of VM files, on the shared datastore or host by host (:mod:`.own_files`), as ``drivers/tm`` does them.

Quick, repeatable, from the controller.

The files of a VM whose domain lives must not be moved or removed under it: the world notices when they are.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.vm_states import LcmState
from holdfast.simulation.drivers import own_files
from holdfast.simulation.drivers.job import Job
from holdfast.simulation.drivers.luck import Turn
from holdfast.simulation.kernel import Script

REMOVING = (EffectKind.TM_EPILOG, EffectKind.TM_DELETE)
QUIET = (
    *(EffectKind.TM_PROLOG, EffectKind.TM_MIGRATE, EffectKind.TM_RESUME, EffectKind.TM_STOP),
    *(EffectKind.TM_SNAPSHOT_CREATE, EffectKind.TM_SNAPSHOT_REVERT, EffectKind.TM_RESIZE),
    EffectKind.TM_LINE,
    *REMOVING,
)
"""Nothing may run on the files meanwhile."""

Touched = Callable[[int, EffectKind], None]


def transfer(job: Job, touched: Touched) -> Script:
    """Waits for the storage, does it, and says so."""
    storage, kind, luck = job.site.world.storage, job.order.effect.kind, job.luck
    yield luck.takes_s(0.05, 1.5, 80.0)
    while not storage.answers_controller:
        yield storage.change(), job.left_s
        if job.left_s <= 0:
            return Answer(False, "the datastore did not answer in time", certain=False)
    if job.left_s <= 0:
        return Answer(False, f"{kind.value} took too long and was killed", certain=False)
    if luck.fails:
        return Answer(False, "line 1: No space left on device")
    if own_files.has_own_files(job):
        hindrance = (yield from own_files.reach(job)) or own_files.perform(job)
        if hindrance:
            return hindrance if isinstance(hindrance, Answer) else Answer(False, hindrance)
    elif kind is EffectKind.TM_PROLOG:
        storage.places.pop(job.vm_id, None)
    _perform(job, kind, touched)
    if luck.turn is Turn.LOST:
        yield job.left_s
        return Answer(False, f"{kind.value} did not end in time", certain=False)
    return Answer(True)


def _perform(job: Job, kind: EffectKind, touched: Touched) -> None:
    storage = job.site.world.storage
    if kind in QUIET:
        touched(job.vm_id, kind)
    if kind is EffectKind.TM_PROLOG or _ends(job, LcmState.PROLOG_FAILURE):
        storage.files.add(job.vm_id)
    elif kind in REMOVING or _ends(job, LcmState.EPILOG_FAILURE):
        storage.remove(job.vm_id)


def _ends(job: Job, failure: LcmState) -> bool:
    """The last line of this failure's repair."""
    args, vm = job.order.effect.args, job.order.vm
    is_last = job.order.effect.kind is EffectKind.TM_LINE and args["NUMBER"] == args["COUNT"]
    return is_last and vm is not None and vm.lcm_state is failure


def probe_transfer(job: Job) -> Script:
    """Files that are gone have been removed; single lines are not done again, everything else is."""
    yield 0.02
    if job.order.effect.kind is EffectKind.TM_LINE:
        return Answer(False, "the controller stopped while it ran", certain=False)
    storage = job.site.world.storage
    if job.order.effect.kind in REMOVING and storage.answers_controller and job.vm_id not in storage.files:
        return Answer(True, "the files are gone")
    return None
