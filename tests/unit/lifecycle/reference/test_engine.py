"""The matrix of recoveries once more, through the production engine: answers, capacity of the hosts, orders, images.

What each recovery leads to is the lifecycle's, and compared with the table in :mod:`.test_recover`.  Here the engine
has to carry it out: it refuses with the same words, supersedes what was under way, keeps the hosts' shares in step
with the VM after every event, and frees the images of a VM when it is DONE and not before.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.engine import commands as c
from holdfast.engine.events import Answered
from holdfast.engine.ports import Changes, Stored
from holdfast.lifecycle.events import RECOVERIES as RECOVER_EVENTS
from holdfast.lifecycle.positions import PENDING
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import (
    DatastoreType,
    EffectKind,
    EffectState,
    HostState,
    ImageState,
    ImageType,
    RecoverOperation,
)
from holdfast.model.errors import ActionError
from holdfast.model.host import Host
from holdfast.model.storage import Datastore, Image
from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState
from tests.unit.engine.rig import Rig
from tests.unit.lifecycle.reference.record_words import holds
from tests.unit.lifecycle.reference.rows import RECOVERIES, Row
from tests.unit.lifecycle.reference.step import facts_for, follow, take
from tests.unit.lifecycle.reference.subjects import BEFORE, HERE, OPEN_EFFECT, THERE, subject, variants_of

LATER = 20_000.0
"""Long after everything in the subjects' records, so that no report counts as too fresh."""
CASES = [(row, variant) for row in RECOVERIES for variant in variants_of(row.at)]
LOOKS = (RecoverOperation.FAILURE, RecoverOperation.SUCCESS)
"""What makes the engine look at the images of a VM that waits for them; in this world they are there."""


class World(Rig):
    """An engine that has been started on one VM, three hosts in touch and two images."""

    def __init__(self, vm: Vm) -> None:
        self.subject = vm
        super().__init__()

    def _seed(self) -> None:
        """All that was committed before."""
        self.now = LATER
        system = Datastore(0, "system", DatastoreType.SYSTEM_DS, "shared", "-", "/ds/0")
        default = Datastore(1, "default", DatastoreType.IMAGE_DS, "shared", "fs", "/ds/1")
        images = [self._image(3, False), self._image(4, True)]
        hosts = [self._host(oid) for oid in (BEFORE, HERE, THERE)]
        effects = [self._effect()] if self.subject.effect_id >= 0 else []
        counters = {"Datastore": 100, "Effect": OPEN_EFFECT + 1, "Vm": 100, "Host": 100, "Image": 100}
        puts: list[Stored] = [system, default, *images, *hosts, *effects, self.subject]
        self.store.commit(Changes(self.store.load().epoch, puts, counters=counters))

    def _image(self, oid: int, persistent: bool) -> Image:
        state = ImageState.USED_PERS if persistent else ImageState.USED
        users = (self.subject.oid,) if self.subject.state is not VmState.DONE else ()
        if not users:
            state = ImageState.READY
        return Image(oid, f"image{oid}", 1, "default", ImageType.OS, state, persistent=persistent, vms=users)

    def _host(self, oid: int) -> Host:
        held = oid in holds(self.subject)
        return Host(
            oid, f"host{oid}", HostState.MONITORED, "kvm", "kvm", max_cpu=800, max_mem=8 * 1024 * 1024, boot_id="boot",
            last_seen=int(LATER), vms=(self.subject.oid,) if held else (),
            cpu_usage=self.subject.cpu_percent if held else 0, mem_usage=self.subject.memory_kb if held else 0,
        )  # fmt: skip

    def _effect(self) -> Effect:
        """Which driver is at work does not matter: it is not going to answer."""
        vm = self.subject
        return Effect(OPEN_EFFECT, EffectKind.VMM_SAVE, vm.oid, vm.hid, LATER - 9, LATER + 90, 1, EffectState.RUNNING)

    @property
    def now_is(self) -> Vm:
        """The VM as it is committed."""
        return self.vm(self.subject.oid)

    def recover(self, operation: RecoverOperation) -> str:
        """What a refusal says, nothing when the operator gets an answer."""
        try:
            self.call(c.RecoverVm(self.subject.oid, operation.value))
        except ActionError as refusal:
            return refusal.message
        return ""

    def drivers_answer(self, first_ok: bool) -> Iterator[Vm]:
        """The VM after each answer; drivers after the first one succeed."""
        ok = first_ok
        for _ in range(6):
            orders = [order for order in self.orders if order.oid == self.now_is.effect_id]
            if not orders:
                return
            self.tell_answer(orders[0], ok)
            ok = True
            yield self.now_is
        raise AssertionError("the drivers never come to rest")

    def tell_answer(self, order: Effect, ok: bool) -> None:
        """One driver answers, certain of what it says unless it could not clean up."""
        values = {"ABSENT": "YES"} if not ok and order.kind in (EffectKind.VMM_DEPLOY, EffectKind.VMM_RESTORE) else {}
        self.tell(Answered(order.oid, Answer(ok, "", ok or order.kind is not EffectKind.VMM_CLEANUP, values)))

    def check(self) -> None:
        """What holds after every event."""
        vm = self.now_is
        for oid in (BEFORE, HERE, THERE):
            host = self.host(oid)
            held = oid in holds(vm)
            assert host.vms == ((vm.oid,) if held else ()), f"host {oid} lists {host.vms}"
            expected = (vm.cpu_percent, vm.memory_kb) if held else (0, 0)
            assert (host.cpu_usage, host.mem_usage) == expected, f"share of host {oid}"
        in_use = vm.state is not VmState.DONE
        assert [vm.oid in self.engine.state.images[oid].vms for oid in (3, 4)] == [in_use, in_use]


def case_name(case: tuple[Row, str]) -> str:
    """For the list of tests."""
    row, variant = case
    return f"{row.key} ({variant})" if variant else row.key


@pytest.mark.parametrize("ok", [True, False], ids=["drivers succeed", "driver fails"])
@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_the_engine_carries_out_what_the_lifecycle_decides(case: tuple[Row, str], ok: bool) -> None:
    row, variant = case
    vm = subject(row.at, variant)
    operation = RecoverOperation(int(row["op_code"]))
    event = RECOVER_EVENTS[operation]
    step = take(vm, event, facts_for(vm, event))
    world = World(vm)
    world.check()
    assert world.recover(operation) == step.refusal
    world.check()
    looks_at_images = vm.state is VmState.CLONING_FAILURE and operation in LOOKS and not step.refusal
    assert world.now_is.position == (PENDING if looks_at_images else step.after.position)
    assert (OPEN_EFFECT in world.engine.state.effects) is (
        vm.effect_id >= 0 and not (step.decision and step.decision.cancels)
    )
    for _ in world.drivers_answer(ok):
        world.check()
    assert world.now_is.position == (follow(step, ok or looks_at_images).position if step.decision else vm.position)


def test_an_operation_that_is_none_is_refused() -> None:
    world = World(subject(RECOVERIES[0].at))
    with pytest.raises(ActionError, match="Wrong recovery operation code"):
        world.call(c.RecoverVm(42, 6))


def test_a_deleted_vm_leaves_its_persistent_image_in_error_and_a_terminated_one_does_not() -> None:
    by_key = {row.key: row for row in RECOVERIES}
    for key, state in (("--delete in RUNNING", ImageState.ERROR), ("--success in EPILOG", ImageState.READY)):
        row = by_key[key]
        world = World(subject(row.at, variants_of(row.at)[0]))
        assert world.recover(RecoverOperation(int(row["op_code"]))) == ""
        for _ in world.drivers_answer(True):
            world.check()
        assert world.now_is.state is VmState.DONE
        assert world.engine.state.images[4].state is state
