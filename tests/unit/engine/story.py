"""A story told to the engine, move by move: users, drivers, hosts, the clock and the store in any order.

Whatever the order, what :mod:`.invariants` says must hold after every move, and every story must end well.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from holdfast.engine import commands as c
from holdfast.engine import repair_commands as r
from holdfast.engine.events import Answered, Called, HostSilent
from holdfast.lifecycle import VmEvent
from holdfast.lifecycle.events import RECOVERIES, USER_ACTIONS
from holdfast.lifecycle.repair import STEPS
from holdfast.lifecycle.table import BY_POSITION
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import EffectKind
from holdfast.model.errors import StoreError
from holdfast.model.failover import Evidence
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.invariants import (
    TRANSIENT,
    all_is_well,
    no_vm_runs_twice_and_where_one_runs_is_known,
    remembered,
)
from tests.unit.engine.rig import ONEADMIN
from tests.unit.engine.world import STARTING, STOPPING, World

M = TypeVar("M", bound=Callable[..., None])
HOSTS = 3
STORAGE = tuple(kind for kind in EffectKind if kind.value.startswith("tm."))
OPERATION = {event: operation.value for operation, event in RECOVERIES.items()}
MOVING = {
    VmEvent.MIGRATE: (False, 0),
    VmEvent.MIGRATE_SAVE: (False, 0),
    VmEvent.MIGRATE_POWEROFF: (False, 1),
    VmEvent.MIGRATE_POWEROFF_HARD: (False, 2),
    VmEvent.MIGRATE_LIVE: (True, 0),
}
"""Arguments of ``one.vm.migrate``: live, type."""
ASKED = (VmEvent.DEPLOY, *MOVING, *USER_ACTIONS.values(), *RECOVERIES.values())
REMOVING = (
    VmEvent.TERMINATE,
    VmEvent.TERMINATE_HARD,
    VmEvent.RECOVER_DELETE,
    VmEvent.RECOVER_RECREATE,
    VmEvent.RECOVER_DELETE_DB,
)
VALUES: dict[str, Sequence[Any]] = {
    "pick": range(60),
    "choice": range(5040),
    "hid": range(HOSTS),
    "wish": ("ok", "ok", "ok", "fail", "unsure"),
    "mode": (*("migrate",) * 5, "recreate", "recreate", "delete"),
    "operator": ("confirm", "retry", "retry", "abort"),
    "change": ("crash", "boot", "cut", "join"),
    "status": (0, 0, 0, 1, 2),
    "pause": (0, 5),
    "operation": (2, 3, 4, 4),
    "times": (1, 4, 4, 20),
    "seconds": (1.0, 10.0, 130.0, 4000.0),
    **dict.fromkeys(("hold", "dark", "heard", "early", "report", "ok"), (True, False)),
}
"""What the arguments of the moves may be, by name."""


MOVES: list[str] = []
"""The names of everything that can be told with arguments from :data:`VALUES`, as often as it should be."""


def move(weight: int) -> Callable[[M], M]:
    """Part of the stories."""

    def mark(method: M) -> M:
        MOVES.extend([method.__name__] * weight)
        return method

    return mark


class Story:
    """Begins with three hosts in touch, each with a fence device, and three running VMs."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.sound = True
        """No move has failed."""
        self.world = World(HOSTS)
        for hid in (0, 0, 1):
            vm_id = self.world.rig.call(c.AllocateVm("CPU=0.5\nMEMORY=2048", hold=True))
            self.world.rig.call(c.DeployVm(vm_id, hid))
            self.finish()

    def tell(self, move: str, choose: Callable[[Sequence[Any]], Any]) -> None:
        """One move; ``choose`` picks each of its arguments."""
        method = getattr(self, move)
        arguments = {name: choose(VALUES[name]) for name in inspect.signature(method).parameters}
        self.told.append(f"story.{move}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})")
        self.sound = False
        method(**arguments)
        all_is_well(self.world)
        self.sound = True

    def finish(self) -> None:
        """All drivers carry out what they can and say so, until nothing is left to do.

        A clean-up or a live migration with a host that cannot be reached goes on for as long as that is so.
        """
        rig = self.world.rig
        for _ in range(200):
            rig.tick()
            orders = [order for order in rig.orders if not self._must_wait(order)]
            if not orders:
                return
            for order in orders:
                self.world.perform(order)
            self.world.answer(orders, "ok")
        raise AssertionError(f"the drivers never come to rest: {[(o.kind.value, o.subject) for o in rig.orders]}")

    def _must_wait(self, order: Effect) -> bool:
        repeated = order.kind in (EffectKind.VMM_CLEANUP, EffectKind.VMM_MIGRATE)
        return repeated and not self.world.reaches_all(order)

    def pick_vm(self, pick: int) -> int:
        """One of the VMs."""
        vms = self.world.rig.engine.state.vms
        left = [vm.oid for vm in vms.values() if vm.state is not VmState.DONE] or list(vms)
        return left[pick % len(left)]

    def pick_order(self, pick: int) -> Effect:
        """One of the open orders."""
        return self.world.rig.orders[pick % len(self.world.rig.orders)]

    # --- users

    @move(3)
    def create(self, hold: bool) -> None:
        """One more VM, within limits."""
        if len([vm for vm in self.world.rig.engine.state.vms.values() if vm.state is not VmState.DONE]) < 5:
            self.world.try_call(c.AllocateVm("CPU=0.5\nMEMORY=2048", hold=hold))

    @move(5)
    def a_user_does_something(self, pick: int, choice: int, hid: int) -> None:
        """Allowed or refused."""
        self.ask(self.pick_vm(pick), choice, hid)

    @move(4)
    def a_user_does_something_and_it_is_done(self, pick: int, choice: int, hid: int) -> None:
        """And everything else that was under way."""
        self.ask(self.pick_vm(pick), choice, hid)
        self.finish()

    @move(6)
    def a_user_does_something_and_the_driver_answers(self, pick: int, choice: int, hid: int, wish: str) -> None:
        """The one that works on that VM."""
        vm_id = self.pick_vm(pick)
        self.ask(vm_id, choice, hid)
        orders = [order for order in self.world.rig.orders if order.oid == self.world.rig.vm(vm_id).effect_id]
        if wish == "ok" and orders:
            self.world.perform(orders[0])
        self.world.answer(orders, wish)

    def ask(self, vm_id: int, choice: int, hid: int) -> None:
        """One of the things that a user may ask of a VM in this state; what removes it is asked more rarely."""
        vm = self.world.rig.vm(vm_id)
        possible = [event for event in ASKED if (vm.position, event) in BY_POSITION]
        gentle = [event for event in possible if event not in REMOVING]
        events = [*gentle * 9, *possible]
        if not events:
            return
        event = events[choice % len(events)]
        if event is VmEvent.DEPLOY:
            self.world.try_call(c.DeployVm(vm_id, hid))
        elif event in MOVING:
            live, kind = MOVING[event]
            self.world.try_call(c.MigrateVm(vm_id, hid, live=live, type=kind))
        elif event in USER_ACTIONS.values():
            self.world.try_call(c.VmAction(vm_id, event.value))
        elif self.world.is_true(vm_id, OPERATION[event]):
            self.world.try_call(c.RecoverVm(vm_id, OPERATION[event]))

    @move(4)
    def somebody_repairs(self, pick: int, choice: int) -> None:
        """One of two people does the next thing in the repair of a failed transfer."""
        state = self.world.rig.engine.state
        failed = [vm for vm in state.vms.values() if vm.position in STEPS]
        if not failed:
            return
        vm = failed[pick % len(failed)]
        session = ("the session of anna", "the session of bert")[choice % 2]
        repair = state.repairs.get(vm.oid)
        if repair is None or repair.holder.session != session:
            file = f"transfer.{vm.history[-1].seq}.{STEPS[vm.position]}"
            begin = r.BeginRepair(vm.oid, session, session[-4:], file, ("MV a", "MV b"), take_over=choice % 3 == 0)
            self.world.try_call(begin)
            return
        line = repair.position + 1
        deeds = (
            *(r.RunRepairLine(vm.oid, session, line, repair.next_record),) * 3,
            *(r.SkipRepairLine(vm.oid, session, line), r.HoldRepair(vm.oid, session), r.LeaveRepair(vm.oid, session)),
        )
        self.world.try_call(deeds[choice // 2 % len(deeds)])

    @move(1)
    def set_host(self, hid: int, status: int) -> None:
        """Enabled, disabled or offline."""
        self.world.try_call(c.SetHostStatus(hid, status))

    @move(1)
    def open_failover(self, hid: int, mode: str, pause: int) -> None:
        """As the hook does, or an operator."""
        self.world.try_call(c.AllocateFailover(hid, mode, f"PAUSE={pause}"))

    @move(2)
    def drive_failover(self, pick: int, operator: str) -> None:
        """An operator confirms (honestly), retries or aborts."""
        failovers = [item for item in self.world.rig.engine.state.failovers.values() if item.is_open]
        if not failovers:
            return
        failover = failovers[pick % len(failovers)]
        if operator == "confirm" and failover.host_id not in self.world.powered:
            self.world.try_call(c.ConfirmFailover(failover.oid))
        elif operator == "retry":
            self.world.try_call(c.RetryFailover(failover.oid))
        elif operator == "abort":
            self.world.try_call(c.AbortFailover(failover.oid))

    # --- drivers

    @move(3)
    def perform(self, pick: int) -> None:
        """A driver does its work, and has not said so yet."""
        if self.world.rig.orders:
            self.world.perform(self.pick_order(pick))

    @move(5)
    def answer(self, pick: int, wish: str) -> None:
        """A driver answers."""
        if not self.world.rig.orders:
            return
        order = self.pick_order(pick)
        if wish == "ok":
            self.world.perform(order)
        self.world.answer([order], wish)

    @move(1)
    def answer_all_in_one_batch(self, wish: str) -> None:
        """All drivers at once."""
        orders = list(self.world.rig.orders)
        if wish == "ok":
            for order in orders:
                self.world.perform(order)
        self.world.answer(orders, wish)

    @move(1)
    def a_start_of_unknown_outcome_succeeds_late(self) -> None:
        """What a driver could not tell turns out to have been a start."""
        if not self.world.late:
            return
        place = min(self.world.late)
        self.world.late.discard(place)
        self.world.domains.add(place)

    @move(2)
    def everything_works_for_a_while(self) -> None:
        """Until nothing is left to do."""
        self.finish()

    # --- hosts

    def host_of(self, pick: int) -> int:
        """The host that one of the VMs is on, or was."""
        return max(0, self.world.rig.vm(self.pick_vm(pick)).hid)

    @move(3)
    def a_host_dies_or_is_cut_off_and_the_hook_fires(self, pick: int, mode: str, dark: bool, heard: bool) -> None:
        """Or is merely thought to have died."""
        hid = self.host_of(pick)
        if dark:
            self.world.crash(hid)
        elif not heard:
            self.world.linked.discard(hid)
        self.fall_silent(hid)
        self.open_failover(hid, mode, 5)

    @move(1)
    def a_host_reboots_and_its_drivers_get_through_before_its_agent(self, pick: int, early: bool, report: bool) -> None:
        """A start that waited for the host is carried out on its new boot."""
        hid = self.host_of(pick)
        self.world.crash(hid)
        self.world.boot(hid)
        self.world.linked.add(hid)
        for order in self.world.rig.orders if early else ():
            if order.host_id == hid and order.kind in STARTING:
                self.world.perform(order)
        if report:
            self.world.beacon(hid, 4)

    @move(1)
    def a_vm_is_removed_and_its_driver_answers(self, pick: int, operation: int, wish: str) -> None:
        """Well or badly."""
        if self.world.try_call(c.RecoverVm(self.pick_vm(pick), operation)):
            self.world.answer([order for order in self.world.rig.orders if order.kind in STOPPING], wish)

    @move(1)
    def an_answer_and_a_user_meet_in_one_batch(self, pick: int, operation: int) -> None:
        """One orders the next step, the other overtakes it."""
        rig = self.world.rig
        steps = [Answered(order.oid, Answer(True)) for order in rig.orders if order.kind in STORAGE]
        rig.tell(*steps, Called(ONEADMIN, c.RecoverVm(self.pick_vm(pick), operation)))
        rig.tick()

    @move(1)
    def a_host_changes(self, hid: int, change: str) -> None:
        """Without anybody having noticed yet."""
        if change == "crash":
            self.world.crash(hid)
        elif change == "boot":
            self.world.boot(hid)
        elif change == "cut":
            self.world.linked.discard(hid)
        else:
            self.world.linked.add(hid)

    @move(6)
    def come_back(self, hid: int, times: int) -> None:
        """It is enabled, has power and a link, and reports."""
        self.world.try_call(c.SetHostStatus(hid, 0))
        self.world.boot(hid)
        self.world.linked.add(hid)
        self.world.beacon(hid, times)

    @move(2)
    def beat(self, hid: int, times: int) -> None:
        """Its agent reports, if it gets through."""
        self.world.beacon(hid, times)

    @move(1)
    def fall_silent(self, hid: int) -> None:
        """Rightly or wrongly: the engine must be safe either way."""
        rig = self.world.rig
        rig.tell(HostSilent(hid, rig.now, False, (Evidence("agent", rig.now, "silent", ""),)))
        rig.tick()

    @move(1)
    def guest_powers_off(self, pick: int) -> None:
        """From within."""
        places = sorted(self.world.domains)
        if places:
            self.world.domains.discard(places[pick % len(places)])

    # --- time and the controller

    @move(1)
    def wait(self, seconds: float) -> None:
        """In one step."""
        self.world.rig.tick(seconds)

    @move(1)
    def controller_is_killed_and_started_again(self) -> None:
        """Only what was committed is left."""
        self.world.rig.restart()
        self.world.rig.tick()

    @move(1)
    def the_store_refuses(self, pick: int, operation: int, hid: int) -> None:
        """And nothing has changed anywhere."""
        rig = self.world.rig
        before = remembered(rig.engine)
        rig.store.fail_next("the disk is full")
        events = [
            HostSilent(hid, rig.now, False, ()),
            Called(ONEADMIN, c.AllocateFailover(hid, "migrate")),
            Called(ONEADMIN, c.RecoverVm(self.pick_vm(pick), operation)),
            *(Answered(order.oid, Answer(True, values={"POWER": "OFF"})) for order in rig.orders),
        ]
        with suppress(StoreError):
            assert rig.tell(*events).is_empty
        assert remembered(rig.engine) == before
        rig.store = rig.engine.store = rig.store.reload()

    @move(1)
    def an_answer_comes_twice(self, pick: int, ok: bool) -> None:
        """Once for its effect, once for nothing."""
        if not self.world.answered:
            return
        rig = self.world.rig
        order = self.world.answered[pick % len(self.world.answered)]
        before = remembered(rig.engine)
        assert rig.tell(Answered(order.oid, Answer(ok, values={"POWER": "OFF"}))).is_empty
        assert remembered(rig.engine) == before

    def end_well(self) -> None:
        """When all troubles end, every VM comes to rest, or says what it waits for."""
        world, rig = self.world, self.world.rig
        for hid in range(HOSTS):
            world.try_call(c.SetHostStatus(hid, 0))
        for _ in range(4):
            self.finish()
            rig.tick(10)
            for hid in range(HOSTS):
                world.boot(hid)
                world.linked.add(hid)
                world.beacon(hid, 20)
        self.finish()
        no_vm_runs_twice_and_where_one_runs_is_known(world)
        for vm in rig.engine.state.vms.values():
            assert vm.position not in TRANSIENT, vm
            if vm.lcm_state is LcmState.RUNNING:
                assert (vm.oid, vm.hid) in world.domains
            if vm.position == (VmState.ACTIVE, LcmState.UNKNOWN) or vm.state is VmState.PENDING:
                assert vm.user_template.get("SCHED_MESSAGE"), vm
