"""Placement by free capacity: what fits, what does not and why, and how the load spreads."""

from collections import Counter
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from holdfast.failover.placement import Placement, Request, Room
from holdfast.failover.placement import place as place_in_order

GB = 1024 * 1024
ROOMS = [Room(1, 400, 8 * GB), Room(2, 400, 4 * GB), Room(3, 100, 16 * GB)]


def place(requests: Iterable[Request], rooms: Iterable[Room]) -> Placement:
    """As the engine asks: the roomiest host comes first."""
    return place_in_order(requests, sorted(rooms, key=lambda room: (-room.free_mem, room.hid)))


def test_a_vm_goes_where_most_memory_stays_free() -> None:
    assert place([Request(7, 50, GB)], ROOMS).chosen == {7: 3}


def test_a_vm_fits_only_where_cpu_and_memory_suffice() -> None:
    assert place([Request(7, 200, 6 * GB)], ROOMS).chosen == {7: 1}
    assert place([Request(7, 400, 8 * GB)], ROOMS).chosen == {7: 1}
    assert place([Request(7, 401, GB)], ROOMS).chosen == {}
    assert place([Request(7, 1, 16 * GB + 1)], ROOMS).chosen == {}


def test_an_excluded_host_is_out_of_the_question() -> None:
    assert place([Request(7, 50, GB, frozenset({3}))], ROOMS).chosen == {7: 1}
    refused = place([Request(7, 50, GB, frozenset({1, 2, 3}))], ROOMS).refused
    assert refused == {7: "No other host can take VMs: all candidates were tried or are excluded."}


def test_without_any_host_the_reason_says_so() -> None:
    assert place([Request(7, 50, GB)], []).refused == {7: "No host can take VMs: none is in state MONITORED."}


def test_the_reason_names_what_is_needed_and_the_most_there_is_on_hosts_that_count() -> None:
    said = place([Request(7, 250, 9 * GB, frozenset({3}))], ROOMS).refused[7]
    assert "needed 9216 MB and 2.5 CPU" in said
    assert "most that is free on one host is 8192 MB and 4 CPU" in said


def test_what_one_vm_takes_the_next_cannot_have() -> None:
    placed = place([Request(1, 300, 7 * GB), Request(2, 300, 3 * GB), Request(3, 300, GB)], ROOMS[:2])
    assert placed.chosen == {1: 1, 2: 2}
    assert list(placed.refused) == [3]


def test_vms_spread_over_equal_hosts() -> None:
    rooms = [Room(hid, 1000, 10 * GB) for hid in range(5)]
    placed = place([Request(vm_id, 10, GB) for vm_id in range(20)], rooms)
    assert Counter(Counter(placed.chosen.values()).values()) == {4: 5}


def test_the_more_important_come_first_then_the_larger() -> None:
    requests = [Request(1, 10, 5 * GB), Request(2, 10, GB, priority=1), Request(3, 10, 6 * GB)]
    placed = place(requests, [Room(1, 100, 7 * GB)])
    assert set(placed.chosen) == {2, 3}


def test_the_same_question_has_the_same_answer_whatever_its_order() -> None:
    requests = [Request(vm_id, 10 + vm_id % 3, GB * (1 + vm_id % 4)) for vm_id in range(12)]
    assert place(requests, ROOMS).chosen == place(requests[::-1], ROOMS[::-1]).chosen


@given(
    st.lists(
        st.builds(Room, st.integers(0, 9), st.integers(0, 400), st.integers(0, 90)), unique_by=lambda room: room.hid
    ),
    st.lists(
        st.builds(
            Request, st.integers(0, 99), st.integers(0, 300), st.integers(0, 50),
            st.frozensets(st.integers(0, 9), max_size=3), st.integers(0, 2),
        ),
        unique_by=lambda request: request.vm_id,
        max_size=25,
    ),
)  # fmt: skip
def test_every_vm_is_placed_or_refused_and_no_host_takes_more_than_it_has(
    rooms: list[Room], requests: list[Request]
) -> None:
    placed = place(requests, rooms)
    assert set(placed.chosen) | set(placed.refused) == {request.vm_id for request in requests}
    assert not set(placed.chosen) & set(placed.refused)
    left = {room.hid: [room.free_cpu, room.free_mem] for room in rooms}
    for request in requests:
        hid = placed.chosen.get(request.vm_id)
        if hid is not None:
            assert hid not in request.excluded
            left[hid][0] -= request.cpu
            left[hid][1] -= request.mem
    assert all(cpu >= 0 and mem >= 0 for cpu, mem in left.values())
    least = min(requests, key=lambda request: (request.priority, request.mem, request.cpu), default=None)
    if least is not None and least.vm_id in placed.refused:
        assert all(hid in least.excluded or cpu < least.cpu or mem < least.mem for hid, (cpu, mem) in left.items())


def test_a_thousand_vms_find_their_places_among_ten_thousand_hosts() -> None:
    rooms = [Room(hid, 3200, (64 + hid % 3) * GB) for hid in range(10_000)]
    requests = [Request(vm_id, 200, 4 * GB, frozenset({vm_id})) for vm_id in range(1000)]
    placed = place(requests, rooms)
    assert len(placed.chosen) == 1000
    assert max(Counter(placed.chosen.values()).values()) == 1, "so many hosts: each takes one"
