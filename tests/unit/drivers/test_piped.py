"""Programs that are talked to while they run."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from holdfast.drivers import piped as module
from holdfast.drivers.piped import Piped, piped, pump


def test_lines_come_one_by_one_and_the_last_one_without_its_end() -> None:
    async def work() -> list[bytes]:
        async with piped(["sh", "-c", "echo one; echo two; printf three"]) as program:
            return [await program.read_line() for _ in range(4)]

    assert asyncio.run(work()) == [b"one\n", b"two\n", b"three", b""]


def test_a_line_without_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_LINE", 1 << 18)

    async def work() -> None:
        async with piped(["sh", "-c", "exec tr '\\0' x < /dev/zero"]) as program:
            await program.read_line()

    with pytest.raises(OverflowError):
        asyncio.run(work())


def test_who_never_stops_talking_keeps_nobody_else_waiting() -> None:
    async def work(text: str) -> tuple[float, float]:
        """How long a read took that had 0.5 s, and the longest time that the loop stood still."""
        loop = asyncio.get_running_loop()
        longest, begun = 0.0, loop.time()

        async def watch() -> None:
            nonlocal longest
            last = loop.time()
            while True:
                await asyncio.sleep(0.01)
                longest, last = max(longest, loop.time() - last), loop.time()

        watching = asyncio.create_task(watch())
        async with piped(["sh", "-c", text]) as program:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    while await program.read_line():
                        pass
            took = loop.time() - begun
        watching.cancel()
        return took, longest

    for text in ("exec yes", "while :; do head -c 20000000 /dev/zero; echo; done"):
        took, longest = asyncio.run(work(text))
        assert 0.5 <= took < 5
        assert longest < 2


def test_the_last_words_of_a_program_are_kept_after_much_noise() -> None:
    async def work() -> bytes:
        async with piped(["sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x >&2; echo last >&2"]) as program:
            assert await program.ends() == 0
            return program.stderr.end

    assert asyncio.run(work()).endswith(b"xlast\n")


def test_after_the_mark_not_one_byte_is_read() -> None:
    async def work() -> tuple[bool, bytes]:
        async with piped(["sh", "-c", "echo noise; echo ready; echo rest"]) as program:
            return await program.read_exactly_to(b"ready", 100), await program.read_line()

    assert asyncio.run(work()) == (True, b"rest\n")


def test_a_mark_that_never_comes_is_missed() -> None:
    async def work(text: str, limit: int) -> bool:
        async with piped(["sh", "-c", text]) as program:
            return await program.read_exactly_to(b"ready", limit)

    assert not asyncio.run(work("echo noise", 100))
    assert not asyncio.run(work("yes", 100))


def test_what_is_pumped_arrives_whole_and_is_counted() -> None:
    async def work() -> tuple[int, bytes]:
        moved = 0

        def count(more: int) -> None:
            nonlocal moved
            moved += more

        async with piped(["head", "-c", "5000000", "/dev/zero"]) as source, piped(["wc", "-c"]) as target:
            await pump(source, target, count)
            target.end_input()
            return moved, await target.read_line()

    assert asyncio.run(work()) == (5_000_000, b"5000000\n")


def test_a_reader_that_ends_early_is_an_error_for_the_pump() -> None:
    async def ended(program: Piped) -> int:
        return await program.ends()

    async def work() -> int:
        async with piped(["cat", "/dev/zero"]) as source, piped(["head", "-c", "10"]) as target:
            with pytest.raises(BrokenPipeError):
                await pump(source, target, lambda _: None)
            return await ended(target)

    assert asyncio.run(work()) == 0


def test_nothing_of_a_program_is_left_when_its_block_ends() -> None:
    async def work() -> Piped:
        async with piped(["sh", "-c", "sleep 100 & exec sleep 100"]) as program:
            pass
        return program

    assert asyncio.run(asyncio.wait_for(work(), 5)).stdin.closed
