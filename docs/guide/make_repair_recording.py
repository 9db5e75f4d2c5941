"""Records the repair of a failed transfer: a real controller, real files, the real commands on a pseudo-terminal.

Run it from the checkout, with ``.venv/bin/python docs/guide/make_repair_recording.py``.  It writes ``repair.cast``
(asciicast version 2, for asciinema) and ``../images/repair.svg``, the same screen as a picture.  What belongs to the
machine of the recording (its directories, its name, its terminal) is replaced; everything else is as it came.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.e2e.daemon import BIN
from tests.e2e.dialogue import Dialogue, Terminal
from tests.e2e.repair_stage import RepairStage

HERE = Path(__file__).parent
CAST, PICTURE = HERE / "repair.cast", HERE.parent / "images" / "repair.svg"
COLUMNS = 112
PAUSE_S = 1.2
"""Between two things on the screen, in the recording; the run itself does not wait."""
_STYLE = re.compile(r"\x1b\[(\d+)m")
_COLOURS = {"32": "#3fb950", "31": "#f85149"}


@dataclass
class Recording:
    """What came onto the screen, with its time."""

    replaced: dict[str, str]
    events: list[tuple[float, str]] = field(default_factory=list)
    at: float = 0.0

    def add(self, text: str, pause_s: float = PAUSE_S) -> None:
        """Something more is shown."""
        for found, written in self.replaced.items():
            text = re.sub(f"{re.escape(found)}( *)", partial(_in_place, written), text)
        self.events.append((self.at, text))
        self.at += pause_s

    @property
    def screen(self) -> str:
        """Everything, as text."""
        return "".join(text for _, text in self.events)


def _in_place(written: str, found: re.Match[str]) -> str:
    """The replacement; in a table, what follows stays in its column."""
    blanks = found.group(1)
    return written.ljust(len(found.group())) if len(blanks) > 1 else written + blanks


def record(base: Path) -> Recording:
    """The story: a move fails, is repaired line by line, and the VM runs."""
    stage = RepairStage(base)
    try:
        vm_id = stage.running_vm()
        stage.unmount()
        with Terminal() as terminal:
            return _story(stage, terminal, vm_id, Recording(_replaced(stage, terminal)))
    finally:
        stage.close()


def _replaced(stage: RepairStage, terminal: Terminal) -> dict[str, str]:
    return {
        str(stage.daemon.var): "/var/lib/holdfast",
        str(stage.mount): "/mnt/second",
        f"anna@{os.uname().nodename}, {terminal.name.removeprefix('/dev/')}": "anna@desk, pts/1",
    }


def _story(stage: RepairStage, terminal: Terminal, vm_id: int, recording: Recording) -> Recording:
    state = f"onevm show {vm_id} | grep LCM_STATE"
    _shell(stage, recording, f"onevm migrate --poff {vm_id} there second")
    stage.wait_for_failure(vm_id)
    _shell(stage, recording, state)
    _typed(recording, f"onevm recover {vm_id} --retry --interactive")
    with stage.dialogue(terminal, vm_id) as dialogue:
        _prompted(recording, dialogue)
        for answer in ("r", "r", "# the storage is mounted again"):
            if answer.startswith("#"):
                stage.remount()
            dialogue.type(answer)
            _prompted(recording, dialogue)
        dialogue.type("r")
        assert dialogue.code() == 0
        recording.add(dialogue.screen[len(dialogue.taken) :])
    _shell(stage, recording, f"onevm recover {vm_id} --success")
    stage.daemon.wait_for_vm(vm_id, 1)
    _shell(stage, recording, state)
    _shell(stage, recording, f"onevm show {vm_id} | grep -A 4 'TRANSFER REPAIR'")
    recording.add("$ ")
    return recording


def _typed(recording: Recording, command: str) -> None:
    recording.add(f"$ {command}\n")


def _shell(stage: RepairStage, recording: Recording, command: str) -> None:
    _typed(recording, command)
    recording.add(stage.shell(command))


def _prompted(recording: Recording, dialogue: Dialogue) -> None:
    """What is on the screen when the prompt is there."""
    recording.add(dialogue.news("> "), 2 * PAUSE_S)


def cast_of(recording: Recording) -> str:
    """The recording as an asciicast."""
    header = {"version": 2, "width": COLUMNS, "height": 40, "title": "onevm recover --retry --interactive"}
    events = ([round(at, 3), "o", text.replace("\n", "\r\n")] for at, text in recording.events if text)
    return "".join(f"{json.dumps(line)}\n" for line in (header, *events))


def picture_of(screen: str) -> str:
    """The screen as an SVG picture."""
    lines = list(_wrapped(screen.rstrip("\n").split("\n")))
    height = 18 * len(lines) + 32
    rows = "\n".join(f'<text x="16" y="{30 + 18 * row}">{_spans(line)}</text>' for row, line in enumerate(lines))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{8.43 * COLUMNS + 32:.0f}" height="{height}" '
        'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14" fill="#e6edf3" xml:space="preserve">'
        f'\n<rect width="100%" height="100%" rx="8" fill="#0d1117"/>\n{rows}\n</svg>\n'
    )


def _wrapped(lines: Sequence[str]) -> Iterator[str]:
    """As a terminal of this width would show them; only plain lines are that long."""
    for line in lines:
        pieces = [line[at : at + COLUMNS] for at in range(0, len(line), COLUMNS)] or [""]
        yield from [line] if _STYLE.search(line) else pieces


def _spans(line: str) -> str:
    """A line with its colours."""
    written, colour = [], ""
    for index, piece in enumerate(_STYLE.split(line)):
        if index % 2:
            colour = _COLOURS.get(piece, "")
        elif piece:
            written.append(f'<tspan fill="{colour}">{escape(piece)}</tspan>' if colour else escape(piece))
    return "".join(written)


def main() -> None:
    """Writes both files."""
    with tempfile.TemporaryDirectory() as base:
        begun = time.monotonic()
        recording = record(Path(base))
    CAST.write_text(cast_of(recording), encoding="utf-8")
    PICTURE.write_text(picture_of(recording.screen), encoding="utf-8")
    print(f"{CAST}, {PICTURE}: a run of {time.monotonic() - begun:.1f} s with {BIN / 'onevm'}")


if __name__ == "__main__":
    main()
