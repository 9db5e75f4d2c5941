"""What a driver script says on stderr: lines for the VM's log, and the text of its error.

Three generations of OpenNebula's script conventions are understood, mixed as they come:

* ``INFO: text``, ``ERROR: text``, ``WARN: text``, ``DEBUG: text``: a log line with its severity; the number of the VM
  may stand before the text, and the form of the driver protocol, ``LOG I 12 text``, means the same;
* ``ERROR MESSAGE --8<------``, lines, ``ERROR MESSAGE ------>8--``: these lines are the error's text;
* every other line is noise to the log and, if there was no such block, part of the error's text.

A script may print without end, and bytes that are no text.  What is kept is bounded, and so is the work: of very many
lines only those at the beginning, at the end and of the error are looked at, for the loop that reads this also hears
beacons.  What is handed out are printable lines without secrets.  Nothing here does I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.drivers.process import ending
from holdfast.model.free_text import printable, shortened, without_secrets

LINE_LIMIT = 2000
"""Bytes of a line that are kept."""
LINES_LIMIT = 500
"""Lines of one script that are kept: the first half and the last."""
ERROR_LIMIT = 2000
"""Characters of an error's text: its beginning and its end."""

_SEVERITIES = {"ERROR": "E", "INFO": "I", "WARN": "W", "WARNING": "W", "DEBUG": "D"}
_TAGGED = re.compile(r"(ERROR|INFO|WARN|WARNING|DEBUG):\s*(.*)")
_PROTOCOL = re.compile(r"LOG ([IEWD]) (-?\d*) ?(.*)")
_NUMBERED = re.compile(r"(\d+)\s+(.*)")
_EXIT_CODE = re.compile(r"ExitCode:\s*-?\d+")
_MARK = b"ERROR MESSAGE "
_OPENS = re.compile(rb"\s*ERROR MESSAGE --8<-+\s*")
_CLOSES = re.compile(rb"\s*ERROR MESSAGE -+>8--\s*")


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line for the VM's log; ``tagged``: the script gave the severity, so it is meant for the log on success, too."""

    severity: str
    text: str
    tagged: bool = True


@dataclass(frozen=True, slots=True)
class ScriptOutput:
    """The lines, of very many the first and the last ones, with one between that says so; and the error's text.

    ``error`` is the block, else the lines without severity, else those of severity E; "" when there is none.
    """

    lines: Sequence[LogLine]
    error: str


def script_output(stderr: bytes, vm_id: int = -1) -> ScriptOutput:
    """What a script said that ran for VM ``vm_id``."""
    raw = [line for line in stderr.replace(b"\r", b"\n").split(b"\n") if line]
    blocks = list(_blocks(raw))
    first, last = _ends(0, len(raw))
    begun, ended = (list(_read(raw, part, blocks, str(vm_id))) for part in (first, last))
    left_out = last.start - first.stop
    between = [LogLine("I", f"({left_out} lines of output are left out here)", tagged=False)] if left_out else []
    return ScriptOutput((*begun, *between, *ended), _error(raw, blocks, [*begun, *ended]))


def code_for_log(code: int) -> str:
    """The end of a script as OpenNebula writes it into a log; for a signal it has no words."""
    return f"exit code: {code}" if code >= 0 else f"killed by {ending(code)}"


def _ends(start: int, stop: int) -> tuple[range, range]:
    """The lines from ``start`` to ``stop`` that are looked at: the first ones, and the last."""
    half = LINES_LIMIT // 2
    if stop - start <= LINES_LIMIT:
        return range(start, stop), range(stop, stop)
    return range(start, start + half), range(stop - half, stop)


def _blocks(raw: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Where error messages begin and end: the numbers of their delimiters."""
    opened = -1
    for number in [number for number, line in enumerate(raw) if _MARK in line]:
        if opened < 0 and _OPENS.fullmatch(raw[number]):
            opened = number
        elif opened >= 0 and _CLOSES.fullmatch(raw[number]):
            yield opened, number
            opened = -1
    if opened >= 0:
        yield opened, len(raw)


def _read(raw: Sequence[bytes], part: range, blocks: Sequence[tuple[int, int]], vm_id: str) -> Iterator[LogLine]:
    near = [(opens, closes) for opens, closes in blocks if opens < part.stop and closes >= part.start]
    inside = {
        number for opens, closes in near for number in range(max(opens, part.start), min(closes, part.stop - 1) + 1)
    }
    marks = {number for block in near for number in block}
    for number in part:
        text = "" if number in marks else _text(raw[number])
        if text:
            yield LogLine("E", text) if number in inside else _sorted(text, vm_id)


def _sorted(text: str, vm_id: str) -> LogLine:
    if found := _TAGGED.fullmatch(text):
        return LogLine(_SEVERITIES[found[1]], _unnumbered(found[2], vm_id))
    if found := _PROTOCOL.fullmatch(text):
        own = found[2] in ("", "-1", vm_id)
        return LogLine(found[1], found[3] if own else f"{found[2]} {found[3]}")
    return LogLine("I", text, tagged=False)


def _unnumbered(text: str, vm_id: str) -> str:
    """Without the VM's own number; another number may be part of the text (``5 files are missing``)."""
    found = _NUMBERED.fullmatch(text)
    return found[2] if found and found[1] == vm_id else text


def _error(raw: Sequence[bytes], blocks: Sequence[tuple[int, int]], lines: Sequence[LogLine]) -> str:
    told = (
        [_text(raw[number]) for block in blocks[:1] for part in _ends(block[0] + 1, block[1]) for number in part],
        [line.text for line in lines if not line.tagged and not _EXIT_CODE.fullmatch(line.text)],
        [line.text for line in lines if line.severity == "E"],
    )
    texts = (" ".join(filter(None, parts)) for parts in told)
    return shortened(next(filter(None, texts), ""), ERROR_LIMIT)


def _text(line: bytes) -> str:
    kept = line[:LINE_LIMIT]
    text = without_secrets(printable(kept.decode(errors="backslashreplace")).strip())
    more = len(line) - len(kept)
    return f"{text} ({more} more bytes)" if more else text
