"""The production engine under random events; hypothesis shrinks a violation to its shortest story.

After every step: no VM really runs twice; where one runs the engine knows that it may; a start is ordered on the one host
that may run the VM; capacity adds up; every position is in the table; nothing that is refused or repeated leaves a trace.
"""

from __future__ import annotations

from contextlib import suppress

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.engine import commands as c
from holdfast.engine.engine import Engine
from holdfast.engine.events import Answered, Called, HostSilent
from holdfast.engine.scheduling import waits
from holdfast.lifecycle.events import ANSWERS, USER_ACTIONS
from holdfast.lifecycle.table import ALL_ROWS, BY_POSITION, PLACED
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import EffectKind, FailoverState
from holdfast.model.errors import StoreError
from holdfast.model.failover import Evidence
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.rig import ONEADMIN
from tests.unit.engine.world import STOPPING, World

HOSTS = 3
POSITIONS = {position for position, _ in BY_POSITION} | {row.to for row in ALL_ROWS if row.to}
TRANSIENT = {row.to or source for row in ALL_ROWS for source in row.sources if row.effect in ANSWERS}
STORAGE = (EffectKind.TM_PROLOG, EffectKind.TM_MIGRATE, EffectKind.TM_EPILOG, EffectKind.TM_DELETE)
MODES = st.sampled_from(["migrate", "migrate", "recreate", "delete"])
WISHES = st.sampled_from(["ok", "ok", "ok", "fail", "unsure"])
HOST = st.integers(0, HOSTS - 1)
PICK = st.integers(0, 3)


class Story(RuleBasedStateMachine):
    """Users, drivers, hosts and the clock in any order."""

    world: World

    @initialize()
    def begin(self) -> None:
        """Three hosts in touch, each with a fence device, and two running VMs."""
        self.world = World(HOSTS)
        for hid in (0, 0):
            vm_id = self.world.rig.call(c.AllocateVm("CPU=0.5\nMEMORY=2048", hold=True))
            self.world.rig.call(c.DeployVm(vm_id, hid))
            self.finish()

    def finish(self) -> None:
        """All drivers carry out what they can and say so, until nothing is left to do."""
        rig = self.world.rig
        for _ in range(200):
            rig.tick()
            if not rig.orders:
                return
            for order in list(rig.orders):
                self.world.perform(order)
            self.world.answer(list(rig.orders), "ok")
        raise AssertionError(f"the drivers never come to rest: {[(o.kind.value, o.subject) for o in rig.orders]}")

    def pick_vm(self, pick: int) -> int:
        """One of the VMs."""
        return pick % len(self.world.rig.engine.state.vms)

    def pick_order(self, pick: int) -> Effect:
        """One of the open orders."""
        return self.world.rig.orders[pick % len(self.world.rig.orders)]

    # --- users

    @precondition(lambda self: len(self.world.rig.engine.state.vms) < 4)
    @rule(hold=st.booleans())
    def create(self, hold: bool) -> None:
        self.world.try_call(c.AllocateVm("CPU=0.5\nMEMORY=2048", hold=hold))

    @rule(pick=PICK, hid=HOST)
    def deploy(self, pick: int, hid: int) -> None:
        self.world.try_call(c.DeployVm(self.pick_vm(pick), hid))

    @rule(pick=PICK, hid=HOST)
    def migrate(self, pick: int, hid: int) -> None:
        self.world.try_call(c.MigrateVm(self.pick_vm(pick), hid))

    @rule(pick=PICK, action=st.sampled_from(sorted(USER_ACTIONS)))
    def act(self, pick: int, action: str) -> None:
        self.world.try_call(c.VmAction(self.pick_vm(pick), action))

    @rule(pick=PICK, operation=st.integers(0, 5))
    def recover(self, pick: int, operation: int) -> None:
        vm_id = self.pick_vm(pick)
        if self.world.is_true(vm_id, operation):
            self.world.try_call(c.RecoverVm(vm_id, operation))

    @rule(hid=HOST, status=st.integers(0, 2))
    def set_host(self, hid: int, status: int) -> None:
        self.world.try_call(c.SetHostStatus(hid, status))

    @rule(hid=HOST, mode=MODES, pause=st.sampled_from([0, 5]))
    def open_failover(self, hid: int, mode: str, pause: int) -> None:
        self.world.try_call(c.AllocateFailover(hid, mode, f"PAUSE={pause}"))

    @rule(pick=PICK)
    def confirm(self, pick: int) -> None:
        failovers = self.world.rig.engine.state.failovers
        if failovers:
            failover = failovers[pick % len(failovers)]
            if failover.host_id not in self.world.powered:
                self.world.try_call(c.ConfirmFailover(failover.oid))

    @rule(pick=PICK, give_up=st.booleans())
    def drive_failover(self, pick: int, give_up: bool) -> None:
        failovers = self.world.rig.engine.state.failovers
        if failovers:
            oid = pick % len(failovers)
            self.world.try_call(c.AbortFailover(oid) if give_up else c.RetryFailover(oid))

    # --- drivers

    @precondition(lambda self: self.world.rig.orders)
    @rule(pick=PICK)
    def perform(self, pick: int) -> None:
        self.world.perform(self.pick_order(pick))

    @precondition(lambda self: self.world.rig.orders)
    @rule(pick=PICK, wish=WISHES)
    def answer(self, pick: int, wish: str) -> None:
        order = self.pick_order(pick)
        if wish == "ok":
            self.world.perform(order)
        self.world.answer([order], wish)

    @precondition(lambda self: self.world.rig.orders)
    @rule(wish=WISHES)
    def answer_all_in_one_batch(self, wish: str) -> None:
        orders = list(self.world.rig.orders)
        if wish == "ok":
            for order in orders:
                self.world.perform(order)
        self.world.answer(orders, wish)

    @precondition(lambda self: self.world.late)
    @rule()
    def a_start_of_unknown_outcome_succeeds_late(self) -> None:
        place = min(self.world.late)
        self.world.late.discard(place)
        self.world.domains.add(place)

    @rule()
    def everything_works_for_a_while(self) -> None:
        self.finish()

    # --- hosts

    def host_of(self, pick: int) -> int:
        """The host that one of the VMs is on, or was."""
        return max(0, self.world.rig.vm(self.pick_vm(pick)).hid)

    @rule(pick=PICK, mode=MODES, dark=st.booleans(), heard=st.booleans())
    def a_host_dies_or_is_cut_off_and_the_hook_fires(self, pick: int, mode: str, dark: bool, heard: bool) -> None:
        hid = self.host_of(pick)
        if dark:
            self.world.crash(hid)
        elif not heard:
            self.world.linked.discard(hid)
        self.fall_silent(hid)
        self.open_failover(hid, mode, 5)

    @rule(pick=PICK, orders=st.booleans(), report=st.booleans())
    def a_host_reboots_and_its_drivers_get_through_before_its_agent(
        self, pick: int, orders: bool, report: bool
    ) -> None:
        hid = self.host_of(pick)
        self.world.crash(hid)
        self.world.boot(hid)
        self.world.linked.add(hid)
        for order in self.world.rig.orders if orders else ():
            if order.host_id == hid and order.kind is EffectKind.VMM_DEPLOY:
                self.world.perform(order)
        if report:
            self.world.beacon(hid)

    @rule(pick=PICK, operation=st.sampled_from([3, 4]), wish=st.sampled_from(["fail", "unsure"]))
    def a_cleanup_goes_wrong(self, pick: int, operation: int, wish: str) -> None:
        if self.world.try_call(c.RecoverVm(self.pick_vm(pick), operation)):
            self.world.answer([order for order in self.world.rig.orders if order.kind in STOPPING], wish)

    @rule(pick=PICK, operation=st.sampled_from([2, 3, 4]))
    def an_answer_and_a_user_meet_in_one_batch(self, pick: int, operation: int) -> None:
        rig = self.world.rig
        steps = [Answered(order.oid, Answer(True)) for order in rig.orders if order.kind in STORAGE]
        rig.tell(*steps, Called(ONEADMIN, c.RecoverVm(self.pick_vm(pick), operation)))
        rig.tick()

    @rule(hid=HOST)
    def lose_power(self, hid: int) -> None:
        self.world.crash(hid)

    @rule(hid=HOST)
    def power_on(self, hid: int) -> None:
        self.world.boot(hid)

    @rule(hid=HOST)
    def cut_link(self, hid: int) -> None:
        self.world.linked ^= {hid}

    @rule(hid=HOST, times=st.sampled_from([1, 1, 20]))
    def beat(self, hid: int, times: int) -> None:
        self.world.beacon(hid, times)

    @rule(hid=HOST)
    def fall_silent(self, hid: int) -> None:
        """Rightly or wrongly: the engine must be safe either way."""
        rig = self.world.rig
        rig.tell(HostSilent(hid, rig.now - 3, False, (Evidence("agent", rig.now - 3, "silent", ""),)))
        rig.tick()

    @precondition(lambda self: self.world.domains)
    @rule(pick=PICK)
    def guest_powers_off(self, pick: int) -> None:
        places = sorted(self.world.domains)
        self.world.domains.discard(places[pick % len(places)])

    # --- time and the controller

    @rule(seconds=st.sampled_from([1.0, 10.0, 130.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.world.rig.tick(seconds)

    @rule()
    def controller_is_killed_and_started_again(self) -> None:
        self.world.rig.restart()
        self.world.rig.tick()

    @rule(pick=PICK, operation=st.sampled_from([3, 4]), hid=HOST)
    def the_store_refuses(self, pick: int, operation: int, hid: int) -> None:
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

    @precondition(lambda self: self.world.answered)
    @rule(pick=st.integers(0, 30), ok=st.booleans())
    def an_answer_comes_twice(self, pick: int, ok: bool) -> None:
        rig = self.world.rig
        order = self.world.answered[pick % len(self.world.answered)]
        before = remembered(rig.engine)
        assert rig.tell(Answered(order.oid, Answer(ok, values={"POWER": "OFF"}))).is_empty
        assert remembered(rig.engine) == before

    # --- what always holds

    @invariant()
    def all_is_well(self) -> None:
        self.no_vm_runs_twice_and_where_one_runs_is_known()
        self.a_start_is_ordered_only_on_the_one_host_that_may_run_the_vm()
        self.capacity_is_the_sum_of_the_vms_and_each_is_where_its_record_says()
        self.positions_are_in_the_table_and_a_transient_one_waits_for_an_effect()
        self.only_open_effects_are_handed_out()
        self.history_is_numbered_and_only_the_last_record_is_open()
        self.a_failover_that_stands_still_says_why()
        self.what_is_kept_beside_the_state_agrees_with_it()

    def no_vm_runs_twice_and_where_one_runs_is_known(self) -> None:
        places: dict[int, list[int]] = {}
        for vm_id, hid in sorted(self.world.domains):
            places.setdefault(vm_id, []).append(hid)
        for vm_id, hosts in places.items():
            vm = self.world.rig.vm(vm_id)
            if vm.state is not VmState.DONE:
                assert len(hosts) == 1, f"VM {vm_id} runs on hosts {hosts}"
                assert hosts[0] in vm.may_run_on, f"VM {vm_id} runs on {hosts[0]}, believed: {vm.may_run_on}"

    def a_start_is_ordered_only_on_the_one_host_that_may_run_the_vm(self) -> None:
        for order in self.world.rig.starts():
            vm = self.world.rig.vm(order.subject)
            assert set(vm.may_run_on) <= {order.host_id}
            assert vm.hid == order.host_id

    def capacity_is_the_sum_of_the_vms_and_each_is_where_its_record_says(self) -> None:
        state = self.world.rig.engine.state
        for host in state.hosts.values():
            vms = [state.vms[vm_id] for vm_id in host.vms]
            assert len(set(host.vms)) == len(host.vms)
            assert host.cpu_usage == sum(vm.cpu_percent for vm in vms)
            assert host.mem_usage == sum(vm.memory_kb for vm in vms)
            assert all(vm.hid == host.oid for vm in vms)
        listed = {vm_id for host in state.hosts.values() for vm_id in host.vms}
        assert listed == {vm.oid for vm in state.vms.values() if vm.position in PLACED}

    def positions_are_in_the_table_and_a_transient_one_waits_for_an_effect(self) -> None:
        state = self.world.rig.engine.state
        for vm in state.vms.values():
            assert vm.position in POSITIONS
            assert (vm.effect_id in state.effects) is (vm.position in TRANSIENT), vm
            assert vm.effect_id == -1 or state.effects[vm.effect_id].subject == vm.oid

    def only_open_effects_are_handed_out(self) -> None:
        state = self.world.rig.engine.state
        assert {order.oid for order in self.world.rig.orders} == set(state.effects)

    def history_is_numbered_and_only_the_last_record_is_open(self) -> None:
        for vm in self.world.rig.engine.state.vms.values():
            assert [record.seq for record in vm.history] == list(range(len(vm.history)))
            assert all(record.etime for record in vm.history[:-1])

    def a_failover_that_stands_still_says_why(self) -> None:
        rig = self.world.rig
        for failover in rig.engine.state.failovers.values():
            assert (failover.proof_id >= 0) or failover.state not in (FailoverState.RESTARTING, FailoverState.PLACING)
            assert failover.proof_id < 0 or failover.proof_id in rig.engine.state.proofs
            if failover.state is FailoverState.BLOCKED:
                assert f"onehost failover retry {failover.oid}" in failover.reason
            if failover.state in (FailoverState.PROVING, FailoverState.FENCING):
                assert failover.effect_id in rig.engine.state.effects

    def what_is_kept_beside_the_state_agrees_with_it(self) -> None:
        engine = self.world.rig.engine
        vms = engine.state.vms.values()
        assert engine.waiting == {vm.oid for vm in vms if waits(vm)}
        assert engine.strays == {vm.oid for vm in vms if vm.may_run_on and vm.position not in PLACED}

    def teardown(self) -> None:
        """When all troubles end, every VM comes to rest, or says what it waits for."""
        if not hasattr(self, "world"):
            return
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
        self.no_vm_runs_twice_and_where_one_runs_is_known()
        for vm in rig.engine.state.vms.values():
            assert vm.position not in TRANSIENT, vm
            if vm.lcm_state is LcmState.RUNNING:
                assert (vm.oid, vm.hid) in world.domains
            if vm.position == (VmState.ACTIVE, LcmState.UNKNOWN) or vm.state is VmState.PENDING:
                assert vm.user_template.get("SCHED_MESSAGE"), vm


def remembered(engine: Engine) -> tuple[object, ...]:
    """All that the engine remembers."""
    pools = {kind: dict(pool) for kind, pool in engine.state.pools.items()}
    return pools, dict(engine.state.counters), dict(engine.restarting), set(engine.waiting), set(engine.strays)


TestRandomEvents = Story.TestCase
TestRandomEvents.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
