"""What a driver script says on stderr: lines for the VM's log, and the text of its error.

Three generations of OpenNebula's script conventions are understood, mixed as they come:

* ``INFO: text``, ``ERROR: text``, ``WARN: text``, ``DEBUG: text``: a log line with its severity; the number of the VM
  may stand before the text, and the form of the driver protocol, ``LOG I 12 text``, means the same;
* ``ERROR MESSAGE --8<------``, lines, ``ERROR MESSAGE ------>8--``: these lines are the error's text;
* every other line is noise to the log and, if there was no such block, part of the error's text.

A script may print without end, in pieces of any size, and bytes that are no text: what is kept is bounded, and what is
handed out is one printable line without secrets.  Nothing here does I/O.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.model.free_text import OMISSION, printable, without_secrets

LINE_LIMIT = 2000
"""Characters of a line that are kept."""
LINES_LIMIT = 500
"""Lines of one script that are kept: the first half and the last."""
ERROR_LIMIT = 2000
"""Characters of an error's text: its beginning and its end."""

_SEVERITIES = {"ERROR": "E", "INFO": "I", "WARN": "W", "WARNING": "W", "DEBUG": "D"}
_TAGGED = re.compile(r"(ERROR|INFO|WARN|WARNING|DEBUG):\s*(.*)")
_PROTOCOL = re.compile(r"LOG ([IEWD]) (-?\d*) ?(.*)")
_NUMBERED = re.compile(r"(\d+)\s+(.*)")
_EXIT_CODE = re.compile(r"ExitCode:\s*-?\d+")
_OPENS = re.compile(r"ERROR MESSAGE --8<-+")
_CLOSES = re.compile(r"ERROR MESSAGE -+>8--")
_ENDS = re.compile(rb"[\r\n]")


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line for the VM's log; ``tagged``: the script gave the severity, so it is meant for the log on success, too."""

    severity: str
    text: str
    tagged: bool = True


class ScriptOutput:
    """Reads the stderr of one script run for VM ``vm_id`` as it comes."""

    def __init__(self, vm_id: int = -1) -> None:
        self._vm_id = str(vm_id)
        self._pieces = _Lines()
        self._first: list[LogLine] = []
        self._last: deque[LogLine] = deque(maxlen=LINES_LIMIT - LINES_LIMIT // 2)
        self._seen = 0
        self._in_block = False
        self._block, self._plain, self._errors = _Excerpt(), _Excerpt(), _Excerpt()

    def feed(self, chunk: bytes) -> Sequence[LogLine]:
        """More output; answers the lines that are complete now."""
        return tuple(self._keep(line) for text in self._pieces.feed(chunk) for line in self._read(text))

    def close(self) -> Sequence[LogLine]:
        """The script ended: a last line without its end counts."""
        return tuple(self._keep(line) for text in self._pieces.close() for line in self._read(text))

    @property
    def lines(self) -> Sequence[LogLine]:
        """All lines so far; of very many, the first and the last ones, with a line between that says so."""
        left_out = self._seen - len(self._first) - len(self._last)
        if left_out <= 0:
            return (*self._first, *self._last)
        return (*self._first, LogLine("I", f"({left_out} lines of output are left out here)", False), *self._last)

    @property
    def error(self) -> str:
        """The error's text: the block, else the lines without severity, else those of severity E; "" when none."""
        return next((text for text in (self._block.text, self._plain.text, self._errors.text) if text), "")

    def _read(self, text: str) -> Iterator[LogLine]:
        if _OPENS.fullmatch(text):
            self._in_block = True
        elif _CLOSES.fullmatch(text):
            self._in_block = False
        elif self._in_block:
            self._block.add(text)
            yield LogLine("E", text)
        else:
            yield self._sorted(text)

    def _sorted(self, text: str) -> LogLine:
        line = self._tagged(text)
        if line is None:
            line = LogLine("I", text, tagged=False)
            if not _EXIT_CODE.fullmatch(text):
                self._plain.add(text)
        elif line.severity == "E":
            self._errors.add(line.text)
        return line

    def _tagged(self, text: str) -> LogLine | None:
        if found := _TAGGED.fullmatch(text):
            return LogLine(_SEVERITIES[found[1]], self._unnumbered(found[2]))
        if found := _PROTOCOL.fullmatch(text):
            own = found[2] in ("", "-1", self._vm_id)
            return LogLine(found[1], found[3] if own else f"{found[2]} {found[3]}")
        return None

    def _unnumbered(self, text: str) -> str:
        """Without the VM's own number; another number may be part of the text (``5 files are missing``)."""
        found = _NUMBERED.fullmatch(text)
        return found[2] if found and found[1] == self._vm_id else text

    def _keep(self, line: LogLine) -> LogLine:
        self._seen += 1
        if len(self._first) < LINES_LIMIT // 2:
            self._first.append(line)
        else:
            self._last.append(line)
        return line


def script_output(stderr: bytes, vm_id: int = -1) -> ScriptOutput:
    """The output of a script that has ended."""
    output = ScriptOutput(vm_id)
    output.feed(stderr)
    output.close()
    return output


class _Lines:
    """Cuts bytes into lines of text; of a line past the limit, the beginning is kept."""

    def __init__(self) -> None:
        self._begun = bytearray()
        self._dropped = 0

    def feed(self, chunk: bytes) -> Iterator[str]:
        start = 0
        for end in _ENDS.finditer(chunk):
            self._add(chunk, start, end.start())
            yield from self.close()
            start = end.end()
        self._add(chunk, start, len(chunk))

    def close(self) -> Iterator[str]:
        text = printable(self._begun.decode(errors="backslashreplace")).strip()
        more = f" ({self._dropped} more bytes)" if self._dropped else ""
        self._begun.clear()
        self._dropped = 0
        if text:
            yield without_secrets(text) + more

    def _add(self, chunk: bytes, start: int, end: int) -> None:
        fits = min(end, start + LINE_LIMIT - len(self._begun))
        self._begun += chunk[start:fits]
        self._dropped += end - fits


class _Excerpt:
    """Collects lines as one text; of a long one, the beginning and the end."""

    def __init__(self) -> None:
        self._head = ""
        self._tail = ""
        self._cut = False

    def add(self, line: str) -> None:
        text = f" {line}" if self._head else line
        room = ERROR_LIMIT // 2 - len(self._head)
        self._head += text[:room]
        rest = self._tail + text[room:]
        self._cut = self._cut or len(rest) > ERROR_LIMIT // 2
        self._tail = rest[-(ERROR_LIMIT // 2) :]

    @property
    def text(self) -> str:
        return f"{self._head}{OMISSION}{self._tail}" if self._cut else self._head + self._tail
