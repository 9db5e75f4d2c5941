"""Where every run begins: hosts that are known, and VMs that run on them, made by the production engine itself.

Made once for each size and process, and then loaded by every run from the same text, as by a restarted controller.
"""

from __future__ import annotations

from functools import cache

from holdfast.engine import commands as c
from holdfast.engine.engine import Engine
from holdfast.engine.events import Answered, Called, HostAlive
from holdfast.engine.ports import Changes, Snapshot
from holdfast.engine.settings import Settings
from holdfast.failover.detection import Patience
from holdfast.lifecycle.deadlines import DEADLINE_S
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import DatastoreType, EffectKind
from holdfast.model.storage import Datastore
from holdfast.model.template import Template
from holdfast.simulation.agents import SYSTEM
from holdfast.simulation.hooks import HostErrorMatcher
from holdfast.simulation.shell import ONEADMIN
from holdfast.store.memory import MemoryStore

BEGIN = 1_800_000_000.0
HOOK = 'NAME="ft"\nTYPE="state"\nRESOURCE="HOST"\nSTATE="ERROR"\nCOMMAND="ft/host_error"\nARGUMENTS="$TEMPLATE -m"'
VM = 'NAME="vm{}"\nCPU=0.1\nMEMORY=512\nDISK=[TYPE="fs",SIZE="16",FORMAT="qcow2"]\nNIC=[NETWORK="net"]'
APART_DS = 100
VMS_PER_HOST = 16
"""As many of these as an agent's host has memory for."""
LIMITS_S = {
    EffectKind.VMM_DEPLOY: 45.0,
    EffectKind.VMM_RESTORE: 45.0,
    EffectKind.VMM_SHUTDOWN: 30.0,
    EffectKind.VMM_CANCEL: 20.0,
    EffectKind.VMM_CLEANUP: 20.0,
    EffectKind.VMM_MIGRATE: 60.0,
    EffectKind.VMM_SAVE: 60.0,
    EffectKind.FENCE_STATUS: DEADLINE_S[EffectKind.FENCE_STATUS],
    EffectKind.FENCE_OFF: DEADLINE_S[EffectKind.FENCE_OFF],
    EffectKind.HOOK: 60.0,
}
"""Driver steps end soon, so that a run of minutes sees many of them end by themselves."""
OTHER_LIMIT_S = 40.0


def settings() -> Settings:
    """The engine's settings in a simulation: production's, with shorter deadlines for drivers."""
    limits = {kind: min(LIMITS_S.get(kind, OTHER_LIMIT_S), DEADLINE_S[kind]) for kind in EffectKind}
    return Settings(patience=Patience(), deadlines_s=limits)


@cache
def _made(hosts: int, vms: int, apart: int) -> Snapshot:
    store = MemoryStore()
    system = Datastore(0, "system", DatastoreType.SYSTEM_DS, "shared", "-", "/ds/0")
    images = Datastore(1, "default", DatastoreType.IMAGE_DS, "shared", "fs", "/ds/1")
    no_nfs = Template([("SHARED", "NO")])
    own = Datastore(APART_DS, "apart", DatastoreType.SYSTEM_DS, "ssh", "-", f"/ds/{APART_DS}", template=no_nfs)
    store.commit(Changes(store.load().epoch, [system, images, own], counters={"Datastore": APART_DS + 1}))
    engine = Engine(store, settings(), HostErrorMatcher("migrate"), BEGIN - 60)
    engine.handle(Called(ONEADMIN, c.AllocateHook(HOOK)), BEGIN - 60)
    for hid in range(hosts):
        engine.handle(Called(ONEADMIN, c.AllocateHost(f"host{hid}", "qemu", "qemu")), BEGIN - 60)
        engine.handle(Called(ONEADMIN, c.UpdateHost(hid, 'FENCE_AGENT="fence_sim"', append=True)), BEGIN - 60)
        engine.handle(HostAlive(hid, f"boot-{hid}-1", (), SYSTEM), BEGIN - 59)
    for vm_id in range(vms):
        engine.handle(Called(ONEADMIN, c.AllocateVm(VM.format(vm_id), hold=True)), BEGIN - 58)
        ds_id = APART_DS if is_apart(vm_id, apart) else 0
        batch = engine.handle(Called(ONEADMIN, c.DeployVm(vm_id, vm_id % hosts, ds_id=ds_id)), BEGIN - 57)
        _finish(engine, batch.effects)
    return store.load()


def _finish(engine: Engine, effects: list[Effect]) -> None:
    while effects:
        batch = engine.handle_batch([Answered(effect.oid, Answer(True)) for effect in effects], BEGIN - 56)
        effects = batch.effects


def is_apart(vm_id: int, apart: int) -> bool:
    """Whether the VM begins on a system datastore of which each host has its own part."""
    return apart > 0 and vm_id % apart == apart - 1


def lay(hosts: int, vms: int, apart: int = 0) -> MemoryStore:
    """A store of its own with everything in place."""
    made = _made(hosts, vms, apart)
    store = MemoryStore()
    store.commit(Changes(made.epoch, made.objects, counters=made.counters))
    return store
