"""Calls in threads that may be left behind."""

from __future__ import annotations

import asyncio
import threading

import pytest

from holdfast.drivers import expendable


def test_results_and_exceptions_come_back() -> None:
    async def story() -> None:
        assert await expendable.call(lambda: 7, 5, "seven") == 7
        with pytest.raises(ZeroDivisionError):
            await expendable.call(lambda: 1 // 0, 5, "nothing")

    asyncio.run(story())


def test_a_call_that_blocks_is_left_behind_at_its_limit() -> None:
    async def story() -> None:
        release = threading.Event()
        with pytest.raises(expendable.Overdue, match=r"sleeping did not return within 0\.1 s"):
            await expendable.call(lambda: release.wait(10), 0.1, "sleeping")
        release.set()

    asyncio.run(story())


def test_a_late_result_reaches_whoever_kept_the_future() -> None:
    async def story() -> None:
        release = threading.Event()
        future = expendable.start(lambda: release.wait(10), "late")
        await asyncio.wait({future}, timeout=0.05)
        assert not future.done()
        release.set()
        assert await future is True

    asyncio.run(story())


def test_a_result_after_the_event_loop_has_ended_is_dropped() -> None:
    release, ended = threading.Event(), threading.Event()

    def work() -> None:
        release.wait(10)
        ended.set()

    async def story() -> None:
        expendable.start(work, "orphan")

    asyncio.run(story())
    release.set()
    assert ended.wait(10)
