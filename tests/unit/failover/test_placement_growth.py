"""Placement looks at as many hosts as it needs, and refuses without asking everybody again."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.failover.placement import Request, Room, place

MB = 1024


class Counted:
    """Hosts in falling order of memory, and how many of them were looked at."""

    def __init__(self, hosts: int, cpu: int = 1000) -> None:
        self.hosts = hosts
        self.cpu = cpu
        self.taken = 0

    def __iter__(self) -> Iterator[Room]:
        for hid in range(self.hosts):
            self.taken += 1
            yield Room(hid, self.cpu, (2 * self.hosts - hid) * MB)


def test_no_more_hosts_are_looked_at_than_there_are_vms_to_place() -> None:
    rooms = Counted(10_000)
    placed = place([Request(vm_id, 10, MB, frozenset({vm_id})) for vm_id in range(100)], rooms)
    assert len(placed.chosen) == 100
    assert rooms.taken <= 202, "one host for each VM, one that it excludes, and the next one in line"


def test_a_refusal_looks_at_every_host_and_answers_for_the_next_vm_too() -> None:
    rooms = Counted(1000, cpu=50)
    placed = place([Request(vm_id, 100, MB) for vm_id in range(500)], rooms)
    assert rooms.taken == 1000
    assert len(placed.refused) == 500
    assert len(set(placed.refused.values())) == 1


def test_a_vm_that_needs_less_than_a_refused_one_still_finds_its_place() -> None:
    rooms = [Room(1, 400, 10 * MB), Room(2, 100, 8 * MB)]
    placed = place(
        [Request(1, 500, 9 * MB), Request(2, 400, 9 * MB), Request(3, 100, 9 * MB), Request(4, 1, MB)], rooms
    )
    assert placed.chosen == {2: 1, 4: 2}
    assert sorted(placed.refused) == [1, 3]


def test_a_vm_that_may_go_where_a_refused_one_must_not_finds_its_place() -> None:
    placed = place([Request(1, 10, 5 * MB, frozenset({1})), Request(2, 10, 5 * MB)], [Room(1, 100, 9 * MB)])
    assert placed.chosen == {2: 1}
