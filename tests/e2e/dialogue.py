"""A command on a pseudo-terminal that a test talks with: what it typed is on the screen as a person would see it."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

LIMIT_S = 30.0


class Terminal:
    """A pseudo-terminal of 80 columns; several commands may run on it, one after the other."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        self.name = os.ttyname(self.theirs)
        self.shown = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._ours)
        os.close(self.theirs)

    def start(self, argv: Sequence[str], environment: Mapping[str, str]) -> Dialogue:
        """Runs a command on it."""
        process = subprocess.Popen(
            argv, stdin=self.theirs, stdout=self.theirs, stderr=self.theirs, env=dict(environment), process_group=0
        )
        return Dialogue(self, process)

    def read(self, limit_s: float) -> bool:
        """Takes in what is shown next; false when nothing came in time."""
        if not select.select([self._ours], [], [], limit_s)[0]:
            return False
        self.shown += os.read(self._ours, 1 << 16).decode().replace("\r\n", "\n")
        return True

    def write(self, text: str) -> None:
        """What a person types."""
        os.write(self._ours, text.encode())


class Dialogue:
    """One command on the terminal."""

    def __init__(self, terminal: Terminal, process: subprocess.Popen[bytes]) -> None:
        self.terminal = terminal
        self.process = process
        self._from = len(terminal.shown)
        self.taken = ""
        """What :meth:`news` has answered so far."""

    def __enter__(self) -> Dialogue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(LIMIT_S)

    @property
    def screen(self) -> str:
        """What it has shown so far."""
        return self.terminal.shown[self._from :]

    def until(self, end: str, limit_s: float = LIMIT_S) -> str:
        """The screen as soon as it ends with this."""
        ends = time.monotonic() + limit_s
        while not self.screen.endswith(end):
            left_s = ends - time.monotonic()
            assert left_s > 0, f"the screen does not end with {end!r}: {self.screen!r}"
            self.terminal.read(left_s)
        return self.screen

    def news(self, end: str) -> str:
        """What has been shown since the last time, as soon as the screen ends with this and there is something new."""
        self.shows_more(len(self.taken))
        new = self.until(end)[len(self.taken) :]
        self.taken += new
        return new

    def shows_more(self, length: int) -> None:
        """Returns when the screen is longer than this, by more than what was typed."""
        typed_and_prompt = 8
        while len(self.screen) < length + typed_and_prompt:
            assert self.terminal.read(LIMIT_S), self.screen

    def becomes(self, screen: str, limit_s: float = LIMIT_S) -> None:
        """Returns as soon as the screen is exactly this."""
        ends = time.monotonic() + limit_s
        while len(self.screen) < len(screen) and self.terminal.read(max(0.0, ends - time.monotonic())):
            pass
        assert self.screen == screen

    def shows(self, text: str, limit_s: float = LIMIT_S) -> None:
        """Returns as soon as the text is on the screen."""
        ends = time.monotonic() + limit_s
        while text not in self.screen:
            left_s = ends - time.monotonic()
            assert left_s > 0, f"{text!r} is not on the screen: {self.screen!r}"
            self.terminal.read(left_s)

    def type(self, text: str) -> None:
        """Types a line."""
        self.terminal.write(f"{text}\n")

    def answer(self, text: str) -> None:
        """Types a line once the prompt is there."""
        self.until("> ")
        self.type(text)

    def interrupt(self) -> None:
        """What a terminal does at Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def code(self) -> int:
        """Its exit code; everything that it has shown is on the screen then."""
        code = self.process.wait(LIMIT_S)
        while self.terminal.read(0.1):
            pass
        return code
