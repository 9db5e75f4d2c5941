"""A program that is talked to while it runs: open pipes to its stdin and stdout, its last words on stderr kept.

Where a program only gets its input and gives its output, use :mod:`holdfast.drivers.process`.

What talks may be a host in somebody else's hands: however much it says, everybody else has their turn between any two
pieces of it, and no more than one line of a limited length is kept.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import IO

from holdfast.drivers.process import Sink
from holdfast.drivers.process_group import ProcessGroup, start

_CHUNK = 1 << 14
_PIPE_BYTES = 1 << 20
_TURN = 1 << 10
_LAST_WORDS = 1 << 16
_LONGEST_LINE = 1 << 25


class Piped:
    """The program; every wait is the caller's to limit."""

    def __init__(self, group: ProcessGroup) -> None:
        popen = group.popen
        assert popen.stdin
        assert popen.stdout
        assert popen.stderr
        self._group = group
        self.stdin, self.stdout = popen.stdin, popen.stdout
        self.stderr = Sink(asyncio.get_running_loop(), popen.stderr, _LAST_WORDS, _LAST_WORDS)
        self._lines: deque[bytes] = deque()
        self._begun: list[bytes] = []
        for pipe in (self.stdin, self.stdout):
            os.set_blocking(pipe.fileno(), False)
            with suppress(OSError):  # an ordinary user may have used up his share: it works, more slowly
                fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    async def write(self, data: bytes) -> None:
        """Gives it all of this; raises BrokenPipeError when it does not read any more."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self.stdin.fileno(), left[:_PIPE_BYTES]) :]
                await asyncio.sleep(0)
            except BlockingIOError:
                await writable(self.stdin)

    async def read_line(self) -> bytes:
        """The next line of its output with its end; empty after the last one.  Raises OverflowError for a huge one."""
        kept = sum(map(len, self._begun))
        while not self._lines:
            chunk = await self._read()
            if not chunk:
                return self._end_of_line()
            kept += len(chunk)
            self._split(chunk)
            if kept > _LONGEST_LINE and not self._lines:
                raise OverflowError
            await asyncio.sleep(0)
        return self._lines.popleft()

    def _split(self, chunk: bytes) -> None:
        """Each byte is looked at once, however long the line."""
        *ended, begun = chunk.split(b"\n")
        for piece in ended:
            self._begun.append(piece + b"\n")
            self._lines.append(self._end_of_line())
        if begun:
            self._begun.append(begun)

    def _end_of_line(self) -> bytes:
        line = b"".join(self._begun)
        self._begun.clear()
        return line

    async def read_exactly_to(self, mark: bytes, limit: int) -> bool:
        """Reads not one byte more than the line ``mark``; false when it does not come within ``limit`` bytes."""
        seen = b""
        while not seen.endswith(mark + b"\n") and len(seen) < limit:
            byte = await self._read(1)
            if not byte:
                return False
            seen += byte
            if not len(seen) % _TURN:
                await asyncio.sleep(0)
        return len(seen) < limit or seen.endswith(mark + b"\n")

    async def _read(self, most: int = _CHUNK) -> bytes:
        while True:
            try:
                return os.read(self.stdout.fileno(), most)
            except BlockingIOError:
                await readable(self.stdout)

    def end_input(self) -> None:
        """It reads the end of its input."""
        self.stdin.close()

    async def ends(self) -> int:
        """Its exit code, when it has ended and its last words are read."""
        await self._group.exited.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):  # a child may keep its stderr
                await self.stderr.ended.wait()
        await self._group.stop()
        return self._group.code

    async def stop(self) -> None:
        """Ends it with its process group and lets go of everything."""
        try:
            await self._group.stop()
        finally:
            self.stderr.close()
            for pipe in (self.stdin, self.stdout):
                pipe.close()


@asynccontextmanager
async def piped(argv: Sequence[str], env: Mapping[str, str] | None = None) -> AsyncIterator[Piped]:
    """Runs the program until the block ends; raises CannotRun."""
    program = Piped(start(argv, stdin=subprocess.PIPE, env=env))
    try:
        yield program
    finally:
        await program.stop()


async def pump(source: Piped, target: Piped, count: Callable[[int], None]) -> None:
    """What one program writes, the other reads, up to the end; raises BrokenPipeError when it stops reading.

    The bytes do not pass through this process; ``count`` is told how many more went over.
    """
    flags = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
    while True:
        await readable(source.stdout)
        await writable(target.stdin)
        try:
            moved = os.splice(source.stdout.fileno(), target.stdin.fileno(), _PIPE_BYTES, flags=flags)
        except BlockingIOError:
            continue
        if not moved:
            return
        count(moved)


async def readable(pipe: IO[bytes]) -> None:
    """Returns when there is something to read, or the end."""
    loop, happened = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(pipe.fileno(), happened.set)
    try:
        await happened.wait()
    finally:
        loop.remove_reader(pipe.fileno())


async def writable(pipe: IO[bytes]) -> None:
    """Returns when there is room to write, or nobody reads any more."""
    loop, happened = asyncio.get_running_loop(), asyncio.Event()
    loop.add_writer(pipe.fileno(), happened.set)
    try:
        await happened.wait()
    finally:
        loop.remove_writer(pipe.fileno())
