"""The agent's log: a line on standard error when something changes state, and no more.

Invariants: saying something never blocks (a full pipe behind standard error must not stop beacons: a thread of its
own writes); a topic gets one line per RATE_LIMIT_S at most, and the state it was in when the limit ended is not
lost.
"""

import os
import queue
import threading
import time

WORKING = "working"  # what every topic is taken to be until it says otherwise
RATE_LIMIT_S = 10.0
_WAITING_LINES = 100


class StateLog:
    """Remembers each topic's state and writes when it becomes another."""

    def __init__(self, descriptor: int = 2) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._written: dict[str, tuple[str, float]] = {}
        self._lines: queue.Queue[str | None] = queue.Queue(_WAITING_LINES)
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def say(self, topic: str, state: str) -> None:
        """Note the topic's state; call it each time, changed or not."""
        now_s = time.monotonic()
        with self._lock:
            written, at_s = self._written.get(topic, (WORKING, now_s - RATE_LIMIT_S))
            if written == state or now_s - at_s < RATE_LIMIT_S:
                return
            self._written[topic] = (state, now_s)
        self._put(f"holdfast-agent: {topic}: {state}\n")

    def close(self, limit_s: float = 0.5) -> None:
        """Write out what is waiting, as far as the reader of standard error lets us."""
        self._put(None)
        self._writer.join(limit_s)

    def _put(self, line: str | None) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            return  # nobody has read standard error for a hundred lines

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                os.write(self._descriptor, line.encode())
            except OSError:
                return  # standard error is gone for good
