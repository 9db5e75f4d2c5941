"""What a line of a transfer file says while it runs, in the form in which OpenNebula's drivers say it: ``LOG I  text``.

Bounded: what comes after :data:`LINES_AT_MOST` lines is only counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

LINES_AT_MOST = 500
WIDTH_AT_MOST = 1000
KEPT = 64


class Transcript:
    """The lines of one run.  May be added to by any thread."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._left_out = 0
        self.has_error = False

    def say(self, severity: str, text: str) -> None:
        """Adds a text, which may have several lines."""
        self.has_error |= severity == "E"
        for line in text.splitlines() or [""]:
            if len(self._lines) < LINES_AT_MOST:
                self._lines.append(f"LOG {severity}  {line[:WIDTH_AT_MOST]}")
            else:
                self._left_out += 1

    @property
    def lines(self) -> Sequence[str]:
        """What has been said so far."""
        surplus = [f"LOG W  {self._left_out} more lines were left out"] if self._left_out else []
        return [*self._lines, *surplus]


class Transcripts:
    """Those of the newest runs, by VM and number of the record; older ones are forgotten."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, int], Transcript] = OrderedDict()

    def begin(self, vm_id: int, record: int) -> Transcript:
        """A new run."""
        transcript = self._kept[vm_id, record] = Transcript()
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return transcript

    def of(self, vm_id: int, record: int) -> Transcript | None:
        """That of this run, if it is still known."""
        return self._kept.get((vm_id, record))
