"""Detection: silence is suspected, investigated, and only then believed; our own troubles accuse nobody."""

from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.failover.detection import Detector, Patience, Verdict

START = 1000.0
LOOK_S = 0.25


class Clock:
    """A detector whose hosts beat once a second, and the time."""

    def __init__(self, hosts: int = 5) -> None:
        self.detector = Detector(Patience())
        self.now = START
        self.alive = set(range(hosts))
        self.suspects: list[tuple[float, int]] = []
        self.silent: list[tuple[float, int]] = []
        for host_id in self.alive:
            self.detector.beat(host_id, "boot", (), self.now)

    def run(self, seconds: float) -> None:
        """Time passes in looks; living hosts beat every second."""
        for _ in range(round(seconds / LOOK_S)):
            self.now += LOOK_S
            if self.now % 1 == 0:
                for host_id in self.alive:
                    self.detector.beat(host_id, "boot", (), self.now)
            self.look()

    def look(self) -> None:
        """One look; what it found is noted with its time since the start."""
        found = self.detector.look(self.now)
        self.suspects += [(self.now - START, host_id) for host_id in found.suspects]
        self.silent += [(self.now - START, host_id) for host_id in found.silent]


@pytest.fixture
def clock() -> Clock:
    """Five hosts that have just beaten."""
    return Clock()


def test_a_host_that_beats_is_never_suspected(clock: Clock) -> None:
    clock.run(60)
    assert clock.suspects == clock.silent == []


def test_a_silent_host_is_suspected_and_investigated_before_it_is_believed_lost(clock: Clock) -> None:
    clock.run(2)
    clock.alive.discard(2)
    clock.run(10)
    assert clock.suspects == [(3.5, 2)], "1.5 s after its last beacon, once"
    assert clock.silent == [(5.0, 2)], "3 s after its last beacon, once"
    assert clock.detector.watches[2].verdict is Verdict.DEAD
    assert clock.detector.watches[2].silent_since == START + 2


def test_an_interruption_shorter_than_three_seconds_loses_nobody(clock: Clock) -> None:
    clock.alive.discard(2)
    clock.run(2.75)
    clock.alive.add(2)
    clock.run(5)
    assert clock.silent == []
    assert clock.detector.watches[2].verdict is Verdict.ALIVE


def test_a_host_may_be_lost_again_after_it_came_back(clock: Clock) -> None:
    for _ in range(2):
        clock.alive.discard(2)
        clock.run(6)
        clock.alive.add(2)
        clock.run(3)
    assert [host_id for _, host_id in clock.silent] == [2, 2]


def test_an_answering_hypervisor_keeps_a_host_alive_whose_agent_crashed(clock: Clock) -> None:
    clock.alive.discard(2)
    for _ in range(20):
        clock.run(1)
        if any(host_id == 2 for _, host_id in clock.suspects):
            clock.detector.hypervisor_answered(2, True, "hypervisor answers", clock.now)
    assert clock.silent == []
    assert clock.suspects[-1] == (20.0, 2), "it is asked again and again"
    clock.run(3)
    assert clock.silent == [(23.0, 2)], "until it, too, falls silent"


def test_a_hypervisor_that_does_not_answer_saves_nobody(clock: Clock) -> None:
    clock.alive.discard(2)
    clock.run(2)
    clock.detector.hypervisor_answered(2, False, "connection refused", clock.now)
    clock.run(2)
    assert clock.silent == [(3.0, 2)]
    assert clock.detector.watches[2].hypervisor_text == "connection refused"


@pytest.mark.parametrize(
    ("heartbeat", "verdict"), [("advancing", Verdict.ISOLATED), ("stalled", Verdict.DEAD), ("unreadable", Verdict.DEAD)]
)
def test_a_heartbeat_that_advances_tells_isolation_from_death(clock: Clock, heartbeat: str, verdict: Verdict) -> None:
    clock.alive.discard(2)
    clock.run(2)
    clock.detector.heartbeat_read(2, heartbeat)
    clock.run(2)
    assert clock.detector.watches[2].verdict is verdict


def test_an_old_reading_of_the_heartbeat_does_not_count_for_a_new_silence(clock: Clock) -> None:
    clock.detector.heartbeat_read(2, "advancing")
    clock.alive.discard(2)
    clock.run(4)
    assert clock.detector.watches[2].verdict is Verdict.DEAD


def test_a_monitor_that_slept_accuses_nobody(clock: Clock) -> None:
    clock.run(2)
    clock.now += 3600
    clock.look()
    assert clock.suspects == clock.silent == []
    clock.run(10)
    assert clock.silent == []


def test_after_our_sleep_a_dead_host_is_found_with_the_patience_that_was_left(clock: Clock) -> None:
    clock.alive.discard(2)
    clock.run(1)
    clock.now += 60
    clock.look()
    assert clock.silent == []
    clock.run(2)
    assert [host_id for _, host_id in clock.silent] == [2]


def test_a_host_never_heard_gets_its_patience_from_the_start_of_the_watch(clock: Clock) -> None:
    clock.detector.watch(9, clock.now)
    clock.run(2.75)
    assert clock.silent == []
    clock.run(1)
    assert [host_id for _, host_id in clock.silent] == [9]


def test_to_watch_again_does_not_renew_the_patience(clock: Clock) -> None:
    clock.alive.discard(2)
    clock.run(2)
    clock.detector.watch(2, clock.now, "boot")
    clock.run(1)
    assert [host_id for _, host_id in clock.silent] == [2]


def test_a_forgotten_host_is_not_missed(clock: Clock) -> None:
    clock.alive.discard(2)
    clock.detector.forget(2)
    clock.run(10)
    assert clock.silent == []
    clock.detector.hypervisor_answered(2, True, "late", clock.now)
    clock.detector.heartbeat_read(2, "late")
    clock.detector.explain(2)
    assert 2 not in clock.detector.watches


@pytest.mark.parametrize(
    ("hosts", "lost", "blind"),
    [
        (2, 1, False),
        (2, 2, True),
        (3, 1, False),
        (3, 2, True),
        (4, 2, False),
        (4, 3, True),
        (5, 2, False),
        (1, 1, False),
    ],
)
def test_we_are_blind_when_more_than_half_of_the_hosts_and_two_at_least_are_lost_together(
    hosts: int, lost: int, blind: bool
) -> None:
    clock = Clock(hosts)
    clock.alive -= set(range(lost))
    clock.run(4)
    assert len(clock.silent) == lost
    assert clock.detector.is_blind() is blind


def test_sight_returns_with_the_hosts(clock: Clock) -> None:
    lost = {0, 1, 2}
    clock.alive -= lost
    clock.run(4)
    assert clock.detector.is_blind()
    clock.alive |= lost
    clock.run(1)
    assert not clock.detector.is_blind()


def test_a_loss_that_is_explained_does_not_count(clock: Clock) -> None:
    clock.alive -= {0, 1, 2, 3}
    clock.run(4)
    clock.detector.explain(0)
    assert clock.detector.is_blind(), "three of the four whose silence is unexplained"
    clock.detector.explain(1)
    clock.detector.explain(2)
    assert not clock.detector.is_blind()


def test_what_passed_before_the_looking_began_was_nobodys_silence(clock: Clock) -> None:
    clock.now += 600
    clock.detector.begin(clock.now)
    clock.run(10)
    assert clock.suspects == clock.silent == []


def test_a_host_that_was_lost_before_we_started_counts_as_lost_until_it_is_explained() -> None:
    clock = Clock(3)
    clock.detector.lost(7, "boot")
    clock.detector.lost(8, "boot")
    clock.detector.lost(9, "")
    assert not clock.detector.is_blind()
    clock.alive.discard(0)
    clock.run(4)
    assert clock.detector.is_blind(), "three of five, and one that was never heard"
    clock.detector.explain(7)
    assert not clock.detector.is_blind()


def test_hosts_that_were_never_heard_make_nobody_blind(clock: Clock) -> None:
    for host_id in range(10, 30):
        clock.detector.watch(host_id, clock.now)
    clock.run(4)
    assert len(clock.silent) == 20
    assert not clock.detector.is_blind()


def test_a_look_touches_only_the_hosts_that_are_overdue() -> None:
    detector = Detector(Patience())
    line = CountingLine()
    detector._line = line
    for host_id in range(10_000):
        detector.beat(host_id, "boot", (), START + (0 if host_id < 3 else 1.4))
    line.touched = 0
    found = detector.look(START + 1.6)
    assert found.suspects == [0, 1, 2]
    assert line.touched <= 4, "three that are overdue, and the first that is not"


class CountingLine(OrderedDict[int, float]):
    """Counts the entries that somebody looks at."""

    touched = 0

    def items(self):  # type: ignore[no-untyped-def]
        """One by one."""
        for pair in super().items():
            self.touched += 1
            yield pair


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.25, 0.5, 1.0, 2.0, 30.0])), max_size=60))
def test_nobody_is_silent_who_was_heard_three_seconds_ago_or_was_not_suspected_before(
    story: list[tuple[int, float]],
) -> None:
    detector = Detector(Patience())
    now, heard = START, dict.fromkeys(range(4), START)
    suspected: set[int] = set()
    for host_id in heard:
        detector.beat(host_id, "boot", (), now)
    detector.look(now)
    for host_id, pause in story:
        now += pause
        found = detector.look(now)
        for silent in found.silent:
            assert now - heard[silent] >= 3.0
            assert detector.watches[silent].silent_since <= now - 3.0
        assert suspected.issuperset(found.silent), "investigated in an earlier look"
        suspected |= set(found.suspects)
        suspected.discard(host_id)
        detector.beat(host_id, "boot", (), now)
        heard[host_id] = now
        seen = list(detector._line.values())
        assert seen == sorted(seen), "the oldest sign of life is first in line"
