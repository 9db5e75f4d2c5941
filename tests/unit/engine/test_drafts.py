"""What drafts and the state find without looking through whole pools: names, open failovers, room, the order of ids."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from holdfast.engine.ports import Changes, Snapshot
from holdfast.engine.state import Draft, State
from holdfast.failover.placement import Room
from holdfast.model.enums import FailoverMode, FailoverState, HostState, ProofKind
from holdfast.model.failover import Failover, Proof
from holdfast.model.host import Host


def a_host(oid: int, name: str = "", free_mem: int = 100, state: HostState = HostState.MONITORED) -> Host:
    return Host(oid, name or f"host{oid}", state, "kvm", "kvm", max_cpu=400, max_mem=free_mem)


def a_failover(oid: int, host_id: int, state: FailoverState = FailoverState.WATCHING) -> Failover:
    return Failover(oid, host_id, f"host{host_id}", state, FailoverMode.MIGRATE, "oneadmin", 1.0)


def publish(state: State, draft: Draft) -> None:
    state.publish(draft.changes(1))


def ids(found: list[Host] | list[Failover]) -> list[int]:
    return [each.oid for each in found]


def test_an_object_is_found_by_the_name_of_its_newest_version_only() -> None:
    state = State(Snapshot(1, [a_host(1, "a"), a_host(2, "b")]))
    batch = Draft(state)
    event = Draft(batch)
    event.put(a_host(1, "c"))
    event.put(a_host(3, "d"))
    assert [ids(event.matching(Host, name)) for name in "abcd"] == [[], [2], [1], [3]]
    assert [ids(batch.matching(Host, name)) for name in "abcd"] == [[1], [2], [], []], "not merged yet"
    batch.merge(event)
    later = Draft(batch)
    later.put(a_host(3, "a"))
    later.delete(Host, 2)
    assert [ids(later.matching(Host, name)) for name in "abcd"] == [[3], [], [1], []]
    batch.merge(later)
    publish(state, batch)
    assert [ids(state.matching(Host, name)) for name in "abcd"] == [[3], [], [1], []]


def test_a_failover_is_found_by_its_host_until_it_ends() -> None:
    state = State(Snapshot(1, [a_failover(1, 7, FailoverState.DONE), a_failover(2, 7)]))
    draft = Draft(state)
    assert ids(draft.matching(Failover, 7)) == [2]
    draft.put(a_failover(2, 7, FailoverState.ABORTED))
    draft.put(a_failover(3, 7))
    assert ids(draft.matching(Failover, 7)) == [3]
    publish(state, draft)
    assert ids(state.matching(Failover, 7)) == [3]


def test_the_proofs_of_a_failover_are_found_with_it() -> None:
    proofs = [Proof(oid, 3, ProofKind.FENCED, 1.0, "x", "off", failover_id=oid % 2) for oid in range(5)]
    assert [proof.oid for proof in State(Snapshot(1, proofs)).matching(Proof, 1)] == [1, 3]


def test_pools_stay_in_the_order_of_ids_whatever_order_things_come_in() -> None:
    state = State(Snapshot(1, [a_host(5), a_host(2)]))
    assert list(state.hosts) == [2, 5]
    state.publish(Changes(1, [a_host(9), a_host(7), a_host(2, "again"), a_host(1)]))
    assert list(state.hosts) == [1, 2, 5, 7, 9]
    assert state.hosts[2].name == "again"


def by_sorting(draft: Draft) -> list[Room]:
    usable = [host for host in draft.all(Host) if host.usable]
    usable.sort(key=lambda host: (-host.free_mem, host.oid))
    return [Room(host.oid, host.free_cpu, host.free_mem) for host in usable]


@pytest.mark.parametrize("seed", range(20))
def test_room_comes_in_falling_order_whatever_happened_to_the_hosts(seed: int) -> None:
    chance = random.Random(seed)
    state = State(Snapshot(1, [a_host(oid, free_mem=chance.randrange(5)) for oid in range(12)]))
    for _ in range(8):
        batch = Draft(state)
        for _ in range(chance.randrange(5)):
            event = Draft(batch)
            for _ in range(chance.randrange(4)):
                change_some_host(chance, event)
                if chance.random() < 0.5:
                    assert list(event.room()) == by_sorting(event)
            if chance.random() < 0.8:
                batch.merge(event)
            assert list(Draft(batch).room()) == by_sorting(batch)
        publish(state, batch)
        assert list(Draft(state).room()) == by_sorting(Draft(state))


def change_some_host(chance: random.Random, draft: Draft) -> None:
    oid = chance.randrange(15)
    known = draft.find(Host, oid)
    if known is None:
        draft.put(a_host(oid, free_mem=chance.randrange(5)))
    elif chance.random() < 0.15:
        draft.delete(Host, oid)
    else:
        state = chance.choice([HostState.MONITORED, HostState.MONITORED, HostState.ERROR])
        draft.put(replace(known, mem_usage=chance.randrange(5), cpu_usage=chance.randrange(3), state=state))
