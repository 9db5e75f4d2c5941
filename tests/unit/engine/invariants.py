"""What holds after every event, whatever the story."""

from __future__ import annotations

from holdfast.engine.engine import Engine
from holdfast.engine.scheduling import waits
from holdfast.lifecycle.events import ANSWERS
from holdfast.lifecycle.positions import ON_TWO_HOSTS
from holdfast.lifecycle.repair import STEPS
from holdfast.lifecycle.table import ALL_ROWS, BY_POSITION
from holdfast.lifecycle.whereabouts import holders, strays
from holdfast.model.enums import EffectKind, FailoverState, RowState
from holdfast.model.vm_states import VmState
from tests.unit.engine.world import World

POSITIONS = {position for position, _ in BY_POSITION} | {row.to for row in ALL_ROWS if row.to}
TRANSIENT = {row.to or source for row in ALL_ROWS for source in row.sources if row.effect in ANSWERS}


def all_is_well(world: World) -> None:
    """Everything below."""
    no_vm_runs_twice_and_where_one_runs_is_known(world)
    a_start_is_ordered_only_on_the_one_host_that_may_run_the_vm(world)
    capacity_is_the_sum_of_the_vms_and_each_is_where_its_record_says(world)
    positions_are_in_the_table_and_a_transient_one_waits_for_an_effect(world)
    only_open_effects_are_handed_out(world)
    history_is_numbered_and_only_the_last_record_is_open(world)
    a_failover_that_stands_still_says_why(world)
    a_restart_goes_on_until_every_row_has_its_end(world)
    a_repair_waits_for_its_own_line_and_ends_with_its_failure(world)
    what_is_kept_beside_the_state_agrees_with_it(world)


def no_vm_runs_twice_and_where_one_runs_is_known(world: World) -> None:
    """Promise 1, against what really runs."""
    places: dict[int, list[int]] = {}
    for vm_id, hid in sorted(world.domains):
        places.setdefault(vm_id, []).append(hid)
    for vm_id, hosts in places.items():
        vm = world.rig.vm(vm_id)
        if vm.state is not VmState.DONE:
            assert len(hosts) == 1, f"VM {vm_id} runs on hosts {hosts}"
            assert hosts[0] in vm.may_run_on, f"VM {vm_id} runs on {hosts[0]}, believed: {vm.may_run_on}"


def a_start_is_ordered_only_on_the_one_host_that_may_run_the_vm(world: World) -> None:
    """Promise 1, in the orders."""
    for order in world.rig.starts():
        vm = world.rig.vm(order.subject)
        assert set(vm.may_run_on) <= {order.host_id}
        assert vm.hid == order.host_id


def capacity_is_the_sum_of_the_vms_and_each_is_where_its_record_says(world: World) -> None:
    """A host counts each of its VMs once."""
    state = world.rig.engine.state
    for host in state.hosts.values():
        vms = [state.vms[vm_id] for vm_id in host.vms]
        assert len(set(host.vms)) == len(host.vms)
        assert host.cpu_usage == sum(vm.cpu_percent for vm in vms)
        assert host.mem_usage == sum(vm.memory_kb for vm in vms)
    listed = {(host.oid, vm_id) for host in state.hosts.values() for vm_id in host.vms}
    assert listed == {(hid, vm.oid) for vm in state.vms.values() for hid in holders(vm)}


def positions_are_in_the_table_and_a_transient_one_waits_for_an_effect(world: World) -> None:
    """No VM hangs."""
    state = world.rig.engine.state
    for vm in state.vms.values():
        assert vm.position in POSITIONS
        assert (vm.effect_id in state.effects) is (vm.position in TRANSIENT), vm
        assert vm.effect_id == -1 or state.effects[vm.effect_id].subject == vm.oid


def only_open_effects_are_handed_out(world: World) -> None:
    """No driver works on what was superseded."""
    state = world.rig.engine.state
    assert {order.oid for order in world.rig.orders} == set(state.effects)


def history_is_numbered_and_only_the_last_record_is_open(world: World) -> None:
    """As OpenNebula keeps it."""
    for vm in world.rig.engine.state.vms.values():
        assert [record.seq for record in vm.history] == list(range(len(vm.history)))
        closed = vm.history[:-2] if vm.position in ON_TWO_HOSTS else vm.history[:-1]
        assert all(record.etime for record in closed)


def a_failover_that_stands_still_says_why(world: World) -> None:
    """And what goes on rests on a proof."""
    rig = world.rig
    for failover in rig.engine.state.failovers.values():
        assert (failover.proof_id >= 0) or failover.state not in (FailoverState.RESTARTING, FailoverState.PLACING)
        assert failover.proof_id < 0 or failover.proof_id in rig.engine.state.proofs
        if failover.state is FailoverState.BLOCKED:
            assert f"onehost failover retry {failover.oid}" in failover.reason
        if failover.state in (FailoverState.PROVING, FailoverState.FENCING):
            assert failover.effect_id in rig.engine.state.effects


def a_restart_goes_on_until_every_row_has_its_end(world: World) -> None:
    """A row that is not finished has a VM on its way, or one that waits and says for what."""
    state = world.rig.engine.state
    for failover in state.failovers.values():
        if failover.state is not FailoverState.RESTARTING:
            continue
        for row in failover.rows:
            vm = state.vms[row.vm_id]
            if not row.is_final and row.state is not RowState.FAILED and vm.position not in TRANSIENT:
                assert waits(vm), (failover.oid, row, vm)
                assert row.reason, (failover.oid, row)


def a_repair_waits_for_its_own_line_and_ends_with_its_failure(world: World) -> None:
    """No line runs that nobody knows of."""
    state = world.rig.engine.state
    running = {effect.oid for effect in state.effects.values() if effect.kind is EffectKind.TM_LINE}
    assert running == {repair.effect_id for repair in state.repairs.values() if repair.effect_id >= 0}
    for repair in state.repairs.values():
        vm = state.vms[repair.oid]
        assert vm.state is not VmState.DONE
        assert (repair.running is not None) is (repair.effect_id >= 0), repair
        if repair.ended:
            assert not repair.is_held
            assert repair.effect_id < 0
        else:
            assert vm.position in STEPS, (vm.position, repair)
            assert vm.lcm_state is repair.lcm_state


def what_is_kept_beside_the_state_agrees_with_it(world: World) -> None:
    """Indexes are rebuilt from the state after a restart: they must not differ from it."""
    engine = world.rig.engine
    vms = engine.state.vms.values()
    assert engine.waiting == {vm.oid for vm in vms if waits(vm)}
    assert engine.strays == {vm.oid for vm in vms if strays(vm)}


def remembered(engine: Engine) -> tuple[object, ...]:
    """All that the engine remembers."""
    pools = {kind: dict(pool) for kind, pool in engine.state.pools.items()}
    return pools, dict(engine.state.counters), dict(engine.restarting), set(engine.waiting), set(engine.strays)
