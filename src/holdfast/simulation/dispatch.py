"""Takes committed effects to their simulated drivers and brings the answers back (as ``serve/dispatch.py``).

One process for each open effect.  After a restart the driver looks at the world first and does only what is not done;
an effect that the engine superseded or expired loses its process.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.engine.engine import Batch, Engine
from holdfast.engine.ports import Order
from holdfast.engine.state import State
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import EffectKind
from holdfast.simulation.drivers import fencing, transfers, vmm
from holdfast.simulation.drivers.hook import run_hook
from holdfast.simulation.drivers.job import Job, Site
from holdfast.simulation.drivers.luck import Turn
from holdfast.simulation.drivers.moves import Moves
from holdfast.simulation.drivers.saves import Restores, Saves
from holdfast.simulation.kernel import Process, Script
from holdfast.simulation.shell import Shell
from holdfast.simulation.watch import Watch

NOT_OFFERED = (EffectKind.TM_SAVEAS, EffectKind.TM_RESTORE, EffectKind.VMM_UPDATE_CONF, EffectKind.VMM_BACKUP)
STOPS = (EffectKind.VMM_CANCEL, EffectKind.VMM_CLEANUP)
SIGNALS = (EffectKind.VMM_REBOOT, EffectKind.VMM_RESET)
FENCE = (EffectKind.FENCE_OFF, EffectKind.FENCE_STATUS)
OPERATIONS = (
    *(EffectKind.VMM_ATTACH_DISK, EffectKind.VMM_DETACH_DISK, EffectKind.VMM_ATTACH_NIC, EffectKind.VMM_DETACH_NIC),
    *(EffectKind.VMM_SNAPSHOT_CREATE, EffectKind.VMM_SNAPSHOT_REVERT, EffectKind.VMM_SNAPSHOT_DELETE),
    *(EffectKind.VMM_DISK_SNAPSHOT_CREATE, EffectKind.VMM_RESIZE, EffectKind.VMM_RESIZE_DISK),
)
LATE_S = 60.0
AGAIN_AFTER_S = 5.0
"""So long the answer is kept back of what the engine orders once more, until it is certain."""
Do = Callable[[Job], Script]


class Dispatch:
    """The drivers of one controller at a time."""

    def __init__(self, site: Site, shell: Shell, watch: Watch, touched: transfers.Touched) -> None:
        self._site = site
        self._shell = shell
        self._watch = watch
        self._touched = touched
        self._engine: Engine | None = None
        self._processes: dict[int, Process] = {}
        self._run: dict[EffectKind, Do] = {}
        self._probe: dict[EffectKind, Do] = {}

    def started(self, engine: Engine) -> None:
        """A new controller's drivers know nothing of what the earlier ones did."""
        self._engine = engine
        doubts = vmm.Doubts()
        starts, saves, restores, moves = vmm.Starts(doubts), Saves(doubts), Restores(doubts), Moves(doubts)
        self._run = {
            EffectKind.VMM_DEPLOY: starts.deploy,
            EffectKind.VMM_RESTORE: restores.restore,
            EffectKind.VMM_SHUTDOWN: vmm.shutdown,
            EffectKind.VMM_SAVE: saves.save,
            EffectKind.VMM_MIGRATE: moves.migrate,
            EffectKind.HOOK: lambda job: run_hook(job, self._shell),
            **dict.fromkeys(STOPS, vmm.cancel),
            **dict.fromkeys(SIGNALS, vmm.signal),
            **dict.fromkeys(OPERATIONS, vmm.operate),
            **dict.fromkeys(FENCE, self._fence),
        }
        self._probe = {
            EffectKind.VMM_DEPLOY: starts.probe,
            EffectKind.VMM_RESTORE: restores.probe,
            **dict.fromkeys((EffectKind.VMM_SHUTDOWN, *STOPS), vmm.probe_stop),
            **dict.fromkeys(SIGNALS, vmm.probe_signal),
            EffectKind.VMM_SAVE: saves.probe,
            EffectKind.VMM_MIGRATE: moves.probe,
        }
        for kind in EffectKind:
            if kind.value.startswith("tm."):
                self._run.setdefault(kind, self._transfer)
                self._probe.setdefault(kind, transfers.probe_transfer)

    def published(self, batch: Batch) -> None:
        """Hands out the batch's effects, and ends the work on those that it closed."""
        for stored in batch.changes.puts:
            if isinstance(stored, Effect) and not stored.state.is_open:
                process = self._processes.pop(stored.oid, None)
                if process is not None:
                    process.kill()
        for effect in batch.effects:
            self._start(effect, again=False)

    def reconcile(self, engine: Engine) -> None:
        """Effects that were under way when the controller stopped."""
        for effect in engine.open_effects():
            self._start(effect, again=True)

    def died(self) -> None:
        """What the drivers were waiting for they will never learn."""
        processes, self._processes = self._processes, {}
        for process in processes.values():
            process.kill()
        self._engine = None

    def _start(self, effect: Effect, again: bool) -> None:
        engine = self._engine
        assert engine is not None
        job = Job(self._site, order_of(engine.state, effect))
        self._processes[effect.oid] = self._site.world.kernel.spawn(self._carry_out(job, again))

    def _carry_out(self, job: Job, again: bool) -> Script:
        effect = job.order.effect
        answer: Answer | None = None
        if again and effect.kind in self._probe:
            answer = yield from self._probe[effect.kind](job)
        if answer is None:
            answer = yield from self._run.get(effect.kind, _not_offered)(job)
        if job.luck.turn is Turn.MUTE:
            return
        if _is_repeated(effect.kind, answer):
            yield AGAIN_AFTER_S
        self._processes.pop(effect.oid, None)
        late_s = LATE_S * job.luck.other if job.luck.turn is Turn.LATE else 0.0
        self._site.world.kernel.after(late_s, self._report, (effect, answer, self._shell.session))

    def _report(self, said: tuple[Effect, Answer, int]) -> None:
        effect, answer, session = said
        if session == self._shell.session:
            self._site.world.story.tell(
                "driver: {} {} of {} on {}: {}", effect.kind.value, effect.oid, effect.subject, effect.host_id, answer
            )
            self._shell.answered(effect, answer)

    def _transfer(self, job: Job) -> Script:
        return transfers.transfer(job, self._touched)

    def _fence(self, job: Job) -> Script:
        engine = self._engine
        assert engine is not None
        return fencing.fence(job, lambda hid: self._watch.contradiction(engine, hid))


def _is_repeated(kind: EffectKind, answer: Answer) -> bool:
    if kind is EffectKind.VMM_CLEANUP:
        return not answer.ok
    return kind is EffectKind.VMM_MIGRATE and not (answer.ok or answer.certain)


def order_of(state: State, effect: Effect) -> Order:
    """The effect with the objects it speaks of."""
    other = int(effect.args.get("OTHER_HID", "-1"))
    return Order(
        effect,
        vm=state.vms.get(effect.subject),
        host=state.hosts.get(effect.host_id),
        other=state.hosts.get(other),
        hook=state.hooks.get(effect.subject) if effect.kind is EffectKind.HOOK else None,
        datastores=state.datastores,
    )


def _not_offered(job: Job) -> Script:
    yield 0.01
    return Answer(False, f"{job.order.effect.kind.value} is not offered by this version")
