"""Virtual time: a heap of timed calls, and processes written as generators.

A process yields how many seconds it sleeps, or a :class:`Promise` with the longest time it waits for it.  Calls at the
same time happen in the order in which they were asked for, so a run depends on nothing but its plan.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from heapq import heappop, heappush
from typing import Any

Wait = float | tuple["Promise", float]
FOREVER_S = 1e9
Script = Generator[Wait, None, Any]


class Promise:
    """Something that happens at most once; whoever waits for it goes on when it does."""

    __slots__ = ("_waiting", "done", "value")

    def __init__(self) -> None:
        self.done = False
        self.value: Any = None
        self._waiting: list[tuple[Process, int]] = []

    def keep(self, value: Any = None) -> None:
        """It has happened; a second time changes nothing."""
        if self.done:
            return
        self.done, self.value = True, value
        waiting, self._waiting = self._waiting, []
        for process, turn in waiting:
            process.go_on(turn)

    def tell(self, process: Process, turn: int) -> None:
        """This process goes on when it happens."""
        self._waiting.append((process, turn))


class Process:
    """A script that runs; ``result`` is kept with what it returns, never when it was killed."""

    __slots__ = ("_kernel", "_running", "_script", "_turn", "result")

    def __init__(self, kernel: Kernel, script: Script) -> None:
        self._kernel = kernel
        self._script: Script | None = script
        self._turn = 0
        self._running = False
        self.result = Promise()

    @property
    def alive(self) -> bool:
        """It has neither ended nor been killed."""
        return self._script is not None

    def go_on(self, turn: int) -> None:
        """Runs to the next wait, unless it has gone on already."""
        script = self._script
        if script is None or turn != self._turn:
            return
        self._turn += 1
        self._running = True
        try:
            wait = next(script)
        except StopIteration as end:
            if self._script is not None:
                self._script = None
                self.result.keep(end.value)
            return
        finally:
            self._running = False
        if self._script is None:
            script.close()
            return
        if isinstance(wait, tuple):
            promise, limit_s = wait
            if promise.done:
                self._kernel.after(0.0, self.go_on, self._turn)
                return
            promise.tell(self, self._turn)
            if limit_s < FOREVER_S:
                self._kernel.after(limit_s, self.go_on, self._turn)
        else:
            self._kernel.after(wait, self.go_on, self._turn)

    def kill(self) -> None:
        """It does nothing any more; its ``finally`` clauses run, at its next wait when it brought this on itself."""
        script, self._script = self._script, None
        if script is not None and not self._running:
            script.close()


class Kernel:
    """The clock of the simulated world, in seconds."""

    def __init__(self, start: float) -> None:
        self.now = start
        self.calls = 0
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._count = 0

    def at(self, when: float, action: Callable[[Any], None], argument: Any = None) -> None:
        """Calls ``action(argument)`` at this time."""
        self._count += 1
        heappush(self._heap, (when if when > self.now else self.now, self._count, action, argument))

    def after(self, delay_s: float, action: Callable[[Any], None], argument: Any = None) -> None:
        """Calls ``action(argument)`` so much later."""
        self._count += 1
        heappush(self._heap, (self.now + delay_s if delay_s > 0 else self.now, self._count, action, argument))

    def spawn(self, script: Script) -> Process:
        """Starts a process; it runs from the next call on, not within this one."""
        process = Process(self, script)
        self.after(0.0, process.go_on, 0)
        return process

    def run_until(self, end: float) -> None:
        """Everything up to this time happens."""
        heap = self._heap
        while heap and heap[0][0] <= end:
            when, _, action, argument = heappop(heap)
            self.now = when
            self.calls += 1
            action(argument)
        self.now = end
