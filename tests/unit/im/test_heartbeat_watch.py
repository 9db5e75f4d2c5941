"""Judging a host by its heartbeat file, with storage that works, lies or hangs."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.drivers.im.heartbeats import SLOTS, HeartbeatUnreadable, HeartbeatWatch
from holdfast.model.beacon import Heartbeat, host_key, seal_heartbeat

MASTER = b"m" * 32


def beat(seq: int, boot: str = "boot-a", host_id: int = 1, master: bytes = MASTER) -> bytes:
    return seal_heartbeat(host_key(master, host_id), Heartbeat(host_id, boot, seq, 123.0, ((4, "RUNNING"),)))


def put(folder: Path, content: bytes, host_id: int = 1) -> None:
    draft = folder / "draft"
    draft.write_bytes(content)
    draft.replace(folder / str(host_id))


def watch(folder: Path, window_s: float = 0.3, read_limit_s: float = 0.2) -> HeartbeatWatch:
    return HeartbeatWatch(folder, lambda host_id: host_key(MASTER, host_id), window_s, read_limit_s)


async def observe_while(heartbeats: HeartbeatWatch, act: Callable[[], None]) -> str:
    observing = asyncio.ensure_future(heartbeats.observe(1))
    await asyncio.sleep(0.1)
    act()
    return await observing


def release(fifo: Path) -> None:
    """Let go of those who wait to read this FIFO."""
    os.close(os.open(fifo, os.O_RDWR | os.O_NONBLOCK))


def test_a_heartbeat_is_read_with_what_it_says(tmp_path: Path) -> None:
    put(tmp_path, beat(9))
    assert asyncio.run(watch(tmp_path).read(1)) == Heartbeat(1, "boot-a", 9, 123.0, ((4, "RUNNING"),))


def test_a_heartbeat_that_moves_is_advancing(tmp_path: Path) -> None:
    put(tmp_path, beat(9))
    started_s = time.monotonic()
    assert asyncio.run(observe_while(watch(tmp_path, window_s=3), lambda: put(tmp_path, beat(10)))) == "advancing"
    assert time.monotonic() - started_s < 3, "the answer must not wait for the window's end"


def test_a_heartbeat_that_stays_is_stalled_however_young_it_is(tmp_path: Path) -> None:
    put(tmp_path, beat(int(time.time() * 1000)))
    assert asyncio.run(watch(tmp_path).observe(1)) == "stalled"


def test_a_move_before_the_observation_is_no_sign_of_life_now(tmp_path: Path) -> None:
    async def body() -> None:
        heartbeats = watch(tmp_path)
        put(tmp_path, beat(9))
        assert await heartbeats.observe(1) == "stalled"
        put(tmp_path, beat(10))
        assert await heartbeats.observe(1) == "stalled"

    asyncio.run(body())


def test_an_earlier_file_put_back_does_not_advance(tmp_path: Path) -> None:
    async def body() -> None:
        heartbeats = watch(tmp_path)
        put(tmp_path, beat(10))
        await heartbeats.read(1)
        assert await observe_while(heartbeats, lambda: put(tmp_path, beat(9))) == "stalled"
        put(tmp_path, beat(8))
        assert await observe_while(heartbeats, lambda: put(tmp_path, beat(10))) == "stalled"

    asyncio.run(body())


def test_a_rebooted_host_advances(tmp_path: Path) -> None:
    put(tmp_path, beat(9))
    assert asyncio.run(observe_while(watch(tmp_path, 3), lambda: put(tmp_path, beat(2, "boot-b")))) == "advancing"


def test_two_observations_of_one_host_do_not_take_the_news_from_each_other(tmp_path: Path) -> None:
    async def body() -> None:
        heartbeats = watch(tmp_path, window_s=2)
        put(tmp_path, beat(9))
        other = asyncio.ensure_future(heartbeats.observe(1))
        assert await observe_while(heartbeats, lambda: put(tmp_path, beat(10))) == "advancing"
        assert await other == "advancing"

    asyncio.run(body())


@pytest.mark.parametrize("content", [b"", b"{}\n00\n", beat(9, master=b"someone else's"), beat(9, host_id=2)])
def test_a_file_that_the_host_did_not_write_is_unreadable(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, content)
    assert asyncio.run(watch(tmp_path).observe(1)) == "unreadable"


def test_a_missing_file_or_folder_is_unreadable(tmp_path: Path) -> None:
    assert asyncio.run(watch(tmp_path).observe(1)) == "unreadable"
    assert asyncio.run(watch(tmp_path / "not mounted").observe(1)) == "unreadable"


def test_storage_that_fails_for_a_moment_proves_no_stall(tmp_path: Path) -> None:
    put(tmp_path, beat(9))
    file = tmp_path / "1"

    async def body() -> str:
        observing = asyncio.ensure_future(watch(tmp_path, 0.6).observe(1))
        await asyncio.sleep(0.1)
        file.rename(tmp_path / "away")
        await asyncio.sleep(0.2)
        (tmp_path / "away").rename(file)
        return await observing

    assert asyncio.run(body()) == "unreadable"


def test_hung_storage_costs_the_time_limit_and_a_bounded_number_of_threads(tmp_path: Path) -> None:
    fifo = tmp_path / "1"
    os.mkfifo(fifo)
    before = threading.active_count()

    async def body() -> None:
        heartbeats = watch(tmp_path, read_limit_s=0.05)
        started_s = time.monotonic()
        assert await heartbeats.observe(1) == "unreadable"
        assert time.monotonic() - started_s < 2
        for _ in range(2 * SLOTS):
            with pytest.raises(HeartbeatUnreadable, match=r"host 1: .* not read within"):
                await heartbeats.read(1)
        assert threading.active_count() - before <= SLOTS
        release(fifo)
        fifo.unlink()
        put(tmp_path, beat(9))
        limit_s = time.monotonic() + 5
        while threading.active_count() > before and time.monotonic() < limit_s:
            await asyncio.sleep(0.01)
        assert (await heartbeats.read(1)).seq == 9

    asyncio.run(body())


def test_a_host_without_a_key_is_unreadable(tmp_path: Path) -> None:
    heartbeats = HeartbeatWatch(tmp_path, lambda _: None, window_s=0.1)
    with pytest.raises(HeartbeatUnreadable, match="host 5: has no key"):
        asyncio.run(heartbeats.read(5))
