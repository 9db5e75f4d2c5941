"""Schedule, watch and log: what keeps beacons regular and waiting elsewhere."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from holdfast.agent.schedule import next_due_s
from holdfast.agent.statelog import StateLog
from holdfast.agent.watch import Watch

Until = Callable[[Callable[[], bool]], None]


def test_the_schedule_does_not_drift() -> None:
    due_s = 100.0
    for turn in range(1, 50):
        due_s = next_due_s(due_s, 0.5, due_s + 0.1)
        assert due_s == 100.0 + 0.5 * turn


def test_turns_that_were_missed_are_not_made_up_for() -> None:
    assert next_due_s(100.0, 1.0, 137.25) == 138.0


def test_an_extra_turn_does_not_move_the_schedule() -> None:
    assert next_due_s(100.0, 1.0, 99.4) == 100.0


def test_a_watch_tells_of_a_change_once(log: StateLog, until: Until) -> None:
    values = iter(["a", "b", "b"])
    changes: list[str] = []
    looks: list[str] = []

    def look() -> str:
        looks.append(next(values, "c"))
        return looks[-1]

    watch = Watch("thing", look, 0.01, "a", log, lambda: changes.append(watch.latest))
    watch.start()
    until(lambda: len(looks) > 6)
    watch.stop()
    assert changes == ["b", "c"]


def test_a_look_that_hangs_leaves_the_last_value_and_its_age(log: StateLog, until: Until) -> None:
    hung, release = threading.Event(), threading.Event()

    def look() -> str:
        if hung.is_set():
            release.wait(10)
        return "seen"

    watch = Watch("thing", look, 0.01, "first", log)
    watch.start()
    until(lambda: watch.latest == "seen")
    hung.set()
    until(lambda: watch.age_s() > 0.2 and watch.stuck_s() > 0.2)
    assert watch.latest == "seen"
    watch.stop(limit_s=0.05)
    release.set()


def test_a_look_that_fails_is_said_once_and_so_is_its_recovery(tmp_path: Path, log: StateLog, until: Until) -> None:
    looks: list[int] = []

    def look() -> int:
        looks.append(len(looks))
        if len(looks) < 20:
            raise OSError("no such thing")
        return 1

    watch = Watch("thing", look, 0.001, 0, log)
    watch.start()
    until(lambda: watch.latest == 1)
    watch.stop()
    log.close()
    assert (tmp_path / "log").read_text() == "holdfast-agent: thing: failing: no such thing\n"


def test_a_topic_that_works_from_the_start_says_nothing(tmp_path: Path, log: StateLog) -> None:
    log.say("heartbeat", "working")
    log.say("network", "down")
    log.say("network", "down")
    log.close()
    assert (tmp_path / "log").read_text() == "holdfast-agent: network: down\n"


def test_a_reader_of_the_log_that_has_stopped_reading_blocks_nobody(until: Until) -> None:
    reader, writer = os.pipe()
    log = StateLog(writer)
    said = threading.Event()

    def talk() -> None:
        for number in range(3_000):
            log.say(f"topic {number}", "x" * 100)
        log.close(limit_s=0.05)
        said.set()

    threading.Thread(target=talk, daemon=True).start()
    until(said.is_set)
    os.close(reader)
    os.close(writer)
