"""A value that is looked up again and again in a thread of its own, so that whoever reads it never waits.

Invariants: `latest` costs nothing and never blocks; a look that hangs or fails leaves the last value in place and
its age growing, and the failure is said once in the log.  The threads are daemons: one that is stuck in the kernel
does not keep the agent from ending.
"""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from holdfast.agent.schedule import next_due_s
from holdfast.agent.statelog import WORKING, StateLog

T = TypeVar("T")


class Watch(Generic[T]):
    """Calls `look` every period and keeps what it returned; calls `on_change` when that is another value."""

    def __init__(
        self,
        topic: str,
        look: Callable[[], T],
        every_s: float,
        first: T,
        log: StateLog,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._topic = topic
        self._look = look
        self._every_s = every_s
        self._log = log
        self._on_change = on_change
        self._taken: tuple[T, float] = (first, time.monotonic())
        self._looking_since_s: float | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=topic, daemon=True)

    @property
    def latest(self) -> T:
        """What the last look that succeeded has seen."""
        return self._taken[0]

    def age_s(self) -> float:
        """How long ago that was."""
        return time.monotonic() - self._taken[1]

    def stuck_s(self) -> float:
        """How long the look under way has been going on."""
        since_s = self._looking_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def start(self) -> None:
        """Begin looking; the first look is made at once."""
        self._thread.start()

    def stop(self, limit_s: float = 0.5) -> None:
        """End the thread, or leave it behind when it is stuck."""
        self._stopping.set()
        self._thread.join(limit_s)

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._stopping.wait(max(0.0, due_s - time.monotonic())):
            self._looking_since_s = time.monotonic()
            self._turn()
            self._looking_since_s = None
            due_s = next_due_s(due_s, self._every_s, time.monotonic())

    def _turn(self) -> None:
        try:
            seen = self._look()
        except OSError as exc:
            self._log.say(self._topic, f"failing: {exc}")
            return
        before = self.latest
        self._taken = (seen, time.monotonic())
        self._log.say(self._topic, WORKING)
        if seen != before:
            self._on_change()
