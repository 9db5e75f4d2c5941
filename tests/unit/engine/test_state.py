"""The committed state, drafts over it, and what objects are found by."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from holdfast.engine.ports import Changes, Snapshot
from holdfast.engine.state import LOG_RETENTION, Draft, State
from holdfast.model.effect import Effect
from holdfast.model.enums import EffectKind, EffectState, FailoverMode, FailoverState, HostState
from holdfast.model.failover import Failover
from holdfast.model.hook import Hook, HookExecution
from holdfast.model.host import Host


def host(oid: int, name: str = "", mem: int = 0, state: HostState = HostState.MONITORED) -> Host:
    """A host."""
    return Host(oid, name or f"host{oid}", state, "kvm", "kvm", max_mem=mem, max_cpu=100)


def state_of(*objects: Host | Effect | Failover | Hook) -> State:
    """A state that was loaded."""
    return State(Snapshot(1, objects, counters={"Host": 10}))


def effect(oid: int, state: EffectState = EffectState.RUNNING) -> Effect:
    """An effect."""
    return Effect(oid, EffectKind.TM_PROLOG, 1, 0, 0.0, 1.0, 1, state)


def test_a_draft_shows_its_own_versions_over_those_below() -> None:
    state = state_of(host(1), host(2))
    draft = Draft(state)
    layer = Draft(draft)
    draft.put(replace(host(1), cpu_usage=5))
    layer.put(replace(host(1), cpu_usage=7))
    layer.delete(Host, 2)
    layer.put(host(3))
    found = layer.find(Host, 1)
    assert found is not None
    assert found.cpu_usage == 7
    assert layer.find(Host, 2) is None
    assert {item.oid for item in layer.all(Host)} == {1, 3}
    assert {item.oid for item in draft.all(Host)} == {1, 2}
    assert {item.oid for item in state.hosts.values()} == {1, 2}


def test_a_layer_that_is_dropped_leaves_no_trace_and_one_that_is_merged_does() -> None:
    draft = Draft(state_of(host(1)))
    dropped, kept = Draft(draft), Draft(draft)
    dropped.put(host(7))
    dropped.next_id(Host)
    kept.put(host(8))
    assert kept.next_id(Host) == 10
    draft.merge(kept)
    assert {item.oid for item in draft.all(Host)} == {1, 8}
    assert draft.next_id(Host) == 11


def test_ids_count_on_from_what_was_stored() -> None:
    draft = Draft(state_of())
    assert [draft.next_id(Host), draft.next_id(Host), draft.next_id(Hook)] == [10, 11, 0]
    assert draft.changes(1).counters == {"Host": 12, "Hook": 1}


def test_the_transaction_has_the_last_version_of_each_object_once() -> None:
    draft = Draft(state_of(host(1)))
    draft.put(replace(host(1), cpu_usage=1))
    draft.put(replace(host(1), cpu_usage=2))
    draft.put(host(2))
    draft.delete(Host, 2)
    changes = draft.changes(3)
    assert changes.epoch == 3
    assert [put.oid for put in changes.puts] == [1]
    assert changes.deletes == [(Host, 2)]


def test_closed_effects_are_forgotten_and_logs_are_kept_short() -> None:
    state = state_of(effect(1), effect(2), Hook(5, "h", "state"))
    records = tuple(HookExecution(5, number, 0, "", "", "", "", 0) for number in range(LOG_RETENTION + 3))
    state.publish(Changes(1, [effect(1, EffectState.DONE)], executions=records))
    assert set(state.effects) == {2}
    assert [record.execution_id for record in state.executions[5]] == list(range(3, LOG_RETENTION + 3))
    state.publish(Changes(1, (), [(Hook, 5)]))
    assert 5 not in state.executions


def test_objects_are_found_by_their_newest_name() -> None:
    state = state_of(host(1, "a"), host(2, "b"))
    draft = Draft(state)
    draft.put(host(1, "b"))
    draft.put(host(3, "c"))
    layer = Draft(draft)
    layer.delete(Host, 2)
    assert [item.oid for item in draft.matching(Host, "b")] == [1, 2]
    assert [item.oid for item in layer.matching(Host, "b")] == [1]
    assert draft.matching(Host, "a") == []
    assert [item.oid for item in layer.matching(Host, "c")] == [3]
    draft.merge(layer)
    state.publish(draft.changes(1))
    fresh = Draft(state)
    assert [item.oid for item in fresh.matching(Host, "b")] == [1]
    assert fresh.matching(Host, "a") == []


def test_a_failover_is_found_by_its_host_while_it_is_open() -> None:
    failover = Failover(4, 1, "host1", FailoverState.WATCHING, FailoverMode.MIGRATE, "x", 0.0)
    state = state_of(failover)
    assert Draft(state).matching(Failover, 1) == [failover]
    state.publish(Changes(1, [replace(failover, state=FailoverState.DONE)]))
    assert Draft(state).matching(Failover, 1) == []
    assert 4 in state.failovers


HOSTS = st.builds(
    host, st.integers(0, 6), st.just(""), st.integers(0, 50), st.sampled_from([HostState.MONITORED, HostState.ERROR])
)
CHANGES = st.lists(HOSTS | st.integers(0, 6), max_size=8)


@given(st.lists(HOSTS, unique_by=lambda item: item.oid, max_size=5), st.lists(CHANGES, max_size=5), CHANGES)
def test_the_order_of_rooms_is_that_of_the_hosts_whatever_was_staged_merged_and_published(
    loaded: list[Host], layers: list[list[Host | int]], top: list[Host | int]
) -> None:
    state = state_of(*loaded)
    draft = Draft(state)
    for number, changes in enumerate([*layers, top]):
        layer = Draft(draft)
        for change in changes:
            if isinstance(change, Host):
                layer.put(change)
            else:
                layer.delete(Host, change)
        assert rooms(layer) == expected(list(layer.all(Host)))
        if number % 3 != 2:
            draft.merge(layer)
        assert rooms(draft) == expected(list(draft.all(Host)))
    state.publish(draft.changes(1))
    assert rooms(Draft(state)) == expected(list(state.hosts.values()))


def rooms(draft: Draft) -> list[tuple[int, int]]:
    """Free memory and host, in the order in which placement looks at them."""
    return [(room.free_mem, room.hid) for room in draft.room()]


def expected(hosts: list[Host]) -> list[tuple[int, int]]:
    """The same, worked out afresh."""
    return sorted(((item.free_mem, item.oid) for item in hosts if item.usable), key=lambda pair: (-pair[0], pair[1]))
