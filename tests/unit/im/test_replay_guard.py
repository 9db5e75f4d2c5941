"""Which authentic beacons count as life."""

from holdfast.drivers.im.replay import Freshness, ReplayGuard
from holdfast.model.beacon import Beacon, BeaconBody

SESSION = "aa" * 16


def beacon(seq: int, *, host_id: int = 1, boot: str = "boot-a", path: int = 0, nonce: str = SESSION) -> Beacon:
    return Beacon(host_id, seq, path, BeaconBody(boot, nonce, 0.0, (), "up"))


def test_sequence_numbers_must_rise() -> None:
    guard = ReplayGuard(SESSION)
    judged = [guard.judge(beacon(seq)) for seq in (10, 11, 11, 10, 15, 12, 16)]
    counts, replayed = Freshness.COUNTS, Freshness.REPLAYED
    assert judged == [counts, counts, replayed, replayed, counts, replayed, counts]


def test_a_beacon_of_another_session_changes_nothing() -> None:
    guard = ReplayGuard(SESSION)
    assert guard.judge(beacon(100, nonce="bb" * 16)) is Freshness.OTHER_SESSION
    assert guard.judge(beacon(100, nonce="")) is Freshness.OTHER_SESSION
    assert guard.judge(beacon(1)) is Freshness.COUNTS


def test_each_network_has_its_own_sequence_so_a_slow_one_still_counts() -> None:
    guard = ReplayGuard(SESSION)
    assert guard.judge(beacon(2, path=1)) is Freshness.COUNTS
    assert guard.judge(beacon(1, path=0)) is Freshness.COUNTS
    assert guard.judge(beacon(1, path=0)) is Freshness.REPLAYED


def test_hosts_do_not_share_sequence_numbers() -> None:
    guard = ReplayGuard(SESSION)
    assert guard.judge(beacon(9, host_id=1)) is Freshness.COUNTS
    assert guard.judge(beacon(5, host_id=2)) is Freshness.COUNTS


def test_a_new_boot_counts_even_with_its_clock_set_back() -> None:
    guard = ReplayGuard(SESSION)
    guard.judge(beacon(1_000))
    assert guard.judge(beacon(5, boot="boot-b")) is Freshness.COUNTS
    assert guard.judge(beacon(5, boot="boot-b")) is Freshness.REPLAYED


def test_the_late_word_of_an_earlier_boot_never_counts_again() -> None:
    guard = ReplayGuard(SESSION)
    guard.judge(beacon(1_000))
    guard.judge(beacon(2_000, boot="boot-b"))
    assert guard.judge(beacon(1_000)) is Freshness.EARLIER_BOOT
    assert guard.judge(beacon(2_001, boot="boot-b")) is Freshness.COUNTS


def test_an_earlier_boot_that_goes_on_speaking_is_a_rival_and_its_replayed_words_are_not() -> None:
    guard = ReplayGuard(SESSION)
    guard.judge(beacon(1_000))
    guard.judge(beacon(2_000, boot="boot-b"))
    assert guard.judge(beacon(1_001)) is Freshness.RIVAL
    assert guard.judge(beacon(1_001)) is Freshness.EARLIER_BOOT
    assert guard.judge(beacon(1_002)) is Freshness.RIVAL


def test_the_floor_is_what_the_sender_must_exceed() -> None:
    guard = ReplayGuard(SESSION)
    assert guard.floor(beacon(1)) == 0
    guard.judge(beacon(50))
    assert guard.floor(beacon(1, nonce="")) == 50
    assert guard.floor(beacon(1, path=1)) == 0
    assert guard.floor(beacon(1, boot="boot-b")) == 0


def test_a_forgotten_host_starts_afresh() -> None:
    guard = ReplayGuard(SESSION)
    guard.judge(beacon(50))
    guard.forget(1)
    assert guard.judge(beacon(1)) is Freshness.COUNTS
