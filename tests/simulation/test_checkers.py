"""Every checker speaks up in a world, or over a record, that was made wrong on purpose."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.engine.engine import Batch, Engine
from holdfast.engine.events import Answered
from holdfast.engine.ports import Changes
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import EffectKind
from holdfast.model.failover import Failover
from holdfast.model.host import Host
from holdfast.model.vm import Vm
from holdfast.model.vm_states import LcmState, VmState
from holdfast.simulation.checkers import Violation
from holdfast.simulation.checkers.answers import Answers
from holdfast.simulation.checkers.history import check_history
from holdfast.simulation.checkers.own_files import OwnFiles
from holdfast.simulation.checkers.positions import check_position
from holdfast.simulation.checkers.reference import FROM_REFERENCE, name_of
from holdfast.simulation.foundation import BEGIN
from holdfast.simulation.machine import End, Life
from holdfast.simulation.plan import Options, draw
from holdfast.simulation.run import Simulation
from holdfast.simulation.wishes import Wish

DATA = Path(__file__).parents[1] / "data" / "one"
NOW = int(BEGIN) + 10


def _simulation(seconds: float = 5.0, apart: int = 0) -> tuple[Simulation, Engine]:
    """A quiet world of two hosts with four VMs, after some seconds."""
    simulation = Simulation(replace(draw(Options(1, hosts=2, vms=4, faults=())), apart=apart))
    simulation.shell.begin(simulation)
    simulation.kernel.run_until(BEGIN + seconds)
    assert simulation.shell.engine is not None
    return simulation, simulation.shell.engine


def _start_of(engine: Engine, vm_id: int, hid: int) -> Effect:
    return Effect(900, EffectKind.VMM_DEPLOY, vm_id, hid, BEGIN, BEGIN + 90, 1)


def _stored(engine: Engine, *objects: Vm | Effect | Failover | Host) -> Batch:
    """A batch as if the engine had stored this."""
    batch = Batch([], changes=Changes(1, objects))
    engine.state.publish(batch.changes)
    return batch


def test_a_quiet_world_is_in_order() -> None:
    simulation, engine = _simulation(60)
    simulation.checkers.ending.check(engine.state, BEGIN + 60)


def test_two_writers_of_one_disk_are_seen_at_once() -> None:
    simulation, _ = _simulation()
    with pytest.raises(Violation, match="VM 0 runs on hosts"):
        simulation.world.machines[1].put(0, Life.RUNNING)


def test_files_moved_under_a_running_domain_are_seen() -> None:
    simulation, _ = _simulation()
    with pytest.raises(Violation, match=r"tm.delete of VM 0, which runs on host 0"):
        simulation.checkers.writers.touched(0, EffectKind.TM_DELETE)


def test_a_guest_that_goes_on_from_an_older_memory_is_seen() -> None:
    """What has arrived may run as long as nothing else has run from the same memory."""
    simulation, _ = _simulation()
    source, destination = simulation.world.machines[0], simulation.world.machines[1]
    arrived = destination.put(0, Life.ARRIVED)
    arrived.memory = source.domains[0].memory
    source.put(0, Life.PAUSED)
    source.put(0, Life.RUNNING)
    source.drop(0, End.GUEST)
    with pytest.raises(Violation, match="VM 0 goes on on host 1, it has run since"):
        destination.put(0, Life.RUNNING)


def test_a_guest_that_has_arrived_and_left_its_source_goes_on() -> None:
    simulation, _ = _simulation()
    source, destination = simulation.world.machines[0], simulation.world.machines[1]
    destination.put(0, Life.ARRIVED).memory = source.domains[0].memory
    source.drop(0, End.MOVED)
    destination.put(0, Life.RUNNING)


def test_a_start_while_the_old_domain_lives_is_seen() -> None:
    simulation, engine = _simulation()
    with pytest.raises(Violation, match="its domain on host 0 is running"):
        simulation.checkers.published(engine.state, _stored(engine, _start_of(engine, 0, 1)), BEGIN)


def test_a_start_after_a_death_without_proof_is_seen() -> None:
    simulation, engine = _simulation()
    simulation.world.machines[0].drop(0, End.POWER)
    vm = engine.state.vms[0]
    moved = replace(vm.history[-1], seq=1, hid=1, hostname="host1")
    _stored(engine, replace(vm, history=(replace(vm.history[-1], etime=NOW), moved)))
    with pytest.raises(Violation, match="names a proof"):
        simulation.checkers.published(engine.state, _stored(engine, _start_of(engine, 0, 1)), BEGIN)


def test_a_start_without_files_is_seen_unless_the_controller_could_not_know() -> None:
    simulation, engine = _simulation(apart=2)
    simulation.world.storage.places[1] = 0
    order = _start_of(engine, 1, 1)
    with pytest.raises(Violation, match="VM 1 is to start on host 1, its files are on 0"):
        simulation.checkers.published(engine.state, _stored(engine, order), BEGIN)
    simulation.world.storage.unanswered[1] = 7
    simulation.checkers.published(engine.state, _stored(engine, replace(order, oid=order.oid + 1)), BEGIN)


def test_an_order_to_a_host_that_is_proven_dead_is_seen_unless_it_names_the_host_as_lost() -> None:
    simulation, engine = _simulation(apart=2)
    host = replace(engine.state.hosts[1], error_since=BEGIN, proof_id=3)
    order = Effect(900, EffectKind.TM_DELETE, 1, 1, BEGIN, BEGIN + 90, 1, args={"LOST": "host0 host1"})
    simulation.checkers.published(engine.state, _stored(engine, host, order), BEGIN)
    with pytest.raises(Violation, match=r"tm\.delete of VM 1 asks host 1, which is proven dead"):
        simulation.checkers.published(engine.state, _stored(engine, replace(order, oid=901, args={})), BEGIN)


def test_a_domain_that_runs_beside_its_files_is_seen() -> None:
    simulation, _ = _simulation(apart=2)
    own_files, domain = OwnFiles(simulation.world, simulation.wishes), simulation.world.machines[1].domains[1]
    own_files.changed(domain, None)
    simulation.world.storage.places[1] = 0
    with pytest.raises(Violation, match="VM 1 runs on host 1, its files are on 0"):
        own_files.changed(domain, None)
    own_files.changed(domain, End.POWER)


def test_a_start_against_the_users_wish_is_seen() -> None:
    simulation, engine = _simulation()
    simulation.wishes.of[0], simulation.wishes.by[0] = Wish.OFF, "poweroff"
    with pytest.raises(Violation, match="poweroff was accepted"):
        simulation.checkers.published(engine.state, _stored(engine, _start_of(engine, 0, 0)), BEGIN)


def test_capacity_that_does_not_add_up_is_seen() -> None:
    simulation, engine = _simulation()
    vm = engine.state.vms[0]
    off = replace(
        vm, state=VmState.UNDEPLOYED, lcm_state=LcmState.LCM_INIT, history=(replace(vm.history[-1], etime=NOW),)
    )
    wrong = replace(off, prev_state=VmState.ACTIVE, prev_lcm_state=LcmState.EPILOG_UNDEPLOY)
    seen = replace(wrong, prev_state=VmState.ACTIVE, prev_lcm_state=LcmState.EPILOG_UNDEPLOY)
    with pytest.raises(Violation, match=r"counts VMs \[0\] that it has not|RUNNING -> … -> EPILOG_UNDEPLOY"):
        simulation.checkers.published(engine.state, _stored(engine, seen), NOW)


def _running(engine: Engine) -> Vm:
    return engine.state.vms[0]


WRONG_POSITIONS: dict[str, Callable[[Vm], Vm]] = {
    "is in CANCEL": lambda vm: replace(vm, lcm_state=LcmState.CANCEL),
    "waits for no open effect": lambda vm: replace(vm, lcm_state=LcmState.BOOT),
    "waits for effect 4711": lambda vm: replace(vm, effect_id=4711),
    "RUNNING -> STOPPED": lambda vm: replace(
        vm,
        state=VmState.STOPPED,
        lcm_state=LcmState.LCM_INIT,
        prev_state=VmState.ACTIVE,
        prev_lcm_state=LcmState.RUNNING,
    ),
}


@pytest.mark.parametrize("said", WRONG_POSITIONS)
def test_a_wrong_position_is_seen(said: str) -> None:
    _, engine = _simulation()
    before = _running(engine)
    with pytest.raises(Violation, match=said):
        check_position(engine.state, before, WRONG_POSITIONS[said](before))


WRONG_RECORDS: dict[str, Callable[[Vm], Vm]] = {
    "record 0 has number 3": lambda vm: replace(vm, history=(replace(vm.history[0], seq=3),)),
    "ends before it begins": lambda vm: replace(vm, history=(replace(vm.history[0], retime=1),)),
    "lie outside of it": lambda vm: replace(vm, history=(replace(vm.history[0], retime=NOW + 1000),)),
    "record 0 of 2 is open": lambda vm: replace(vm, history=(vm.history[0], replace(vm.history[0], seq=1))),
    "its last record is closed": lambda vm: replace(vm, history=(replace(vm.history[0], etime=NOW),)),
}


@pytest.mark.parametrize("said", WRONG_RECORDS)
def test_a_wrong_history_record_is_seen(said: str) -> None:
    _, engine = _simulation()
    with pytest.raises(Violation, match=said):
        check_history(None, WRONG_RECORDS[said](_running(engine)), NOW)


def test_a_late_answer_that_changes_something_is_seen() -> None:
    _, engine = _simulation()
    batch = Batch([Answered(77, Answer(True))], changes=Changes(1, [_running(engine)]))
    with pytest.raises(Violation, match="effect 77 was closed"):
        Answers().published(batch)


WRONG_ENDS: dict[str, Callable[[Simulation, Engine], None]] = {
    "is RUNNING on host 0, its domain runs on": lambda simulation, engine: simulation.world.machines[0].drop(
        0, End.POWER
    ),
    "open 55 s after its deadline": lambda simulation, engine: _stored_only(
        engine, replace(_start_of(engine, 0, 0), deadline=BEGIN + 5)
    ),
    "is still in BOOT": lambda simulation, engine: _stored_only(
        engine, replace(_running(engine), lcm_state=LcmState.BOOT)
    ),
    "its domain runs on host 0": lambda simulation, engine: _stored_only(
        engine, replace(_running(engine), state=VmState.DONE, lcm_state=LcmState.LCM_INIT)
    ),
    "does not say why": lambda simulation, engine: _stored_only(
        engine, replace(_running(engine), lcm_state=LcmState.UNKNOWN, user_template=_running(engine).user_template)
    ),
}


def _stored_only(engine: Engine, stored: Vm | Effect) -> None:
    _stored(engine, stored)


@pytest.mark.parametrize("said", WRONG_ENDS)
def test_a_wrong_end_is_seen(said: str) -> None:
    simulation, engine = _simulation(60)
    WRONG_ENDS[said](simulation, engine)
    if said == "does not say why":
        simulation.world.machines[0].drop(0, End.POWER)
    with pytest.raises(Violation, match=said):
        simulation.checkers.ending.check(engine.state, BEGIN + 60)


def test_a_restart_that_forgets_a_vm_is_seen() -> None:
    simulation, engine = _simulation()
    del engine.state.vms[3]
    with pytest.raises(Violation, match="VM 3 is gone"):
        simulation.checkers.restarted(engine.state, BEGIN + 5)


def test_the_allowed_transitions_are_those_of_the_reference() -> None:
    events, recoveries = _rows("one-lcm-events.csv"), _rows("one-recover-matrix.csv")
    pairs = {
        (_name(row["from_state"], row["from_lcm_state"]), _name(row["to_state"], row["to_lcm_state"])) for row in events
    } | {(_name(row["state"], row["lcm_state"]), _name(row["next_state"], row["next_lcm_state"])) for row in recoveries}
    assert {pair for pair in pairs if pair[0] != pair[1]} == FROM_REFERENCE


def _rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _name(state: str, lcm_state: str) -> str:
    return name_of(VmState[state], LcmState[lcm_state])
