"""``onevm recover ID --retry --interactive``: the Transfer Manager debug environment, in OpenNebula's layout.

What OpenNebula's says goes to standard output byte for byte, colours always; what is Holdfast's own (a line that
somebody else started, a lost connection, lines that were left out) goes to standard error.  There the client runs the
lines; here the controller does, and keeps an account of it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from holdfast.cli.errors import FAILURE, CliError, UsageError
from holdfast.cli.grammar import Call
from holdfast.cli.lookup import find_ids, is_range
from holdfast.cli.repair_session import RepairSession, record_of
from holdfast.cli.terminal import harmless
from holdfast.cli.xmltree import integer_of, number_of, text_of

_MENU = """Choose action:
(r) Run action
(n) Skip to next action
(a) Show all actions
(q) Quit
"""


def repair(call: Call) -> int:
    """The dialogue about the one VM that the command names."""
    vm_id = _only_vm(call)
    call.say(f"VM {vm_id}: recovering")
    session = RepairSession(call.client, vm_id)
    stands = session.begin(call.values.switch("take-over"))
    try:
        return _Dialogue(vm_id, session, stands).run()
    except KeyboardInterrupt:
        print(flush=True)
        raise
    finally:
        session.leave()


def _only_vm(call: Call) -> int:
    named = call.arguments[0]
    ids = find_ids(call.client, "VM", named)
    if len(ids) != 1 or is_range(named):
        raise UsageError(f"--interactive repairs one VM at a time, {named} names {len(ids)}: name one.")
    return ids[0]


class _Dialogue:
    """The screen and the answers to it."""

    def __init__(self, vm_id: int, session: RepairSession, stands: Element) -> None:
        self._vm_id = vm_id
        self._session = session
        self._lines = [harmless(line.text or "") for line in stands.findall("LINES/LINE")]
        self._stands = stands

    @property
    def _number(self) -> int:
        """The current action, from 1."""
        return integer_of(self._stands, "POSITION")

    def run(self) -> int:
        """Until all actions were run or skipped, or the answer is to quit."""
        _say(_green("TM Debug Interactive Environment."), "")
        self._show_all()
        self._take_up()
        while self._number <= len(self._lines):
            self._show_current()
            choice = _ask()
            if choice == "q":
                return FAILURE
            self._act(choice)
        self._hint()
        return 0

    def _act(self, choice: str) -> None:
        if choice == "a":
            self._show_all()
            return
        if choice == "n":
            self._session.skip(self._number)
        else:
            record = integer_of(self._stands, "NEXT_RECORD")
            self._session.run(self._number, record)
            self._follow(record)
        self._stands = self._session.look()

    def _take_up(self) -> None:
        """What an earlier session has left: actions that are done, one that runs."""
        running = integer_of(self._stands, "RUNNING")
        if running:
            record = record_of(self._stands, running)
            _note(f"Action {self._number} is running{_by(record)}.")
            self._follow(running)
            self._stands = self._session.look()
        elif self._number > 1:
            _note(f"Going on with action {self._number}; the ones before it were run or skipped in an earlier session.")

    def _follow(self, record: int) -> None:
        """What the action says while it runs, and what came of it."""
        result = ""
        for lines, so_far in self._session.output(record):
            _say(*map(harmless, lines))
            result = so_far
        if result == "SUCCESS":
            _say("SUCCESS", "")
        elif result == "FAILURE":
            _say("", _red("FAILURE. Repeat command."), "")
        elif result == "UNKNOWN":
            _say("", _red("UNKNOWN. Look at the files before you repeat the command."), "")
        else:
            ended = harmless(text_of(self._session.look(), "ENDED"))
            raise CliError(f"The action was stopped ({result}). {ended}")

    def _show_all(self) -> None:
        numbered = (f"({number}) {line}" for number, line in enumerate(self._lines, 1))
        _say(_green("TM Action list:"), *numbered, "")

    def _show_current(self) -> None:
        _say(_green(f"Current action ({self._number}):"), self._lines[self._number - 1], "")
        print(_MENU, end="")

    def _hint(self) -> None:
        skipped = _skipped(self._stands)
        if skipped:
            _note(
                f"WARNING: action {', '.join(map(str, skipped))} was skipped and is recorded as skipped: --success "
                "takes it for done."
            )
        _say(
            "If all the TM actions have been successful and you want to",
            "recover the Virtual Machine to the RUNNING state execute this ",
            f"command $ onevm recover {self._vm_id} --success",
        )


def _ask() -> str:
    """One of r, n, a and q; the end of the input is q."""
    while True:
        print("> ", end="", flush=True)
        answer = sys.stdin.readline()
        print(flush=True)
        if not answer:
            return "q"
        choice = answer.strip().lower()
        if choice in ("r", "n", "a", "q"):
            return choice


def _skipped(stands: Element) -> Sequence[int]:
    """The actions of this file that were left out and not run well afterwards."""
    left_out: set[int] = set()
    for record in stands.findall("RECORDS/RECORD"):
        if text_of(record, "FILE") != text_of(stands, "FILE"):
            continue
        if text_of(record, "DEED") == "SKIP":
            left_out.add(integer_of(record, "ACTION"))
        elif text_of(record, "RESULT") == "SUCCESS":
            left_out.discard(integer_of(record, "ACTION"))
    return sorted(left_out)


def _by(record: Element | None) -> str:
    if record is None:
        return ""
    begun = time.ctime(number_of(record, "TIME"))
    return harmless(f" since {begun}, begun by {text_of(record, 'UNAME')} ({text_of(record, 'SEAT')})")


def _say(*lines: str) -> None:
    for line in lines:
        print(line)
    sys.stdout.flush()


def _note(text: str) -> None:
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)


def _green(text: str) -> str:
    return f"\033[32m{text}\033[0m"


def _red(text: str) -> str:
    return f"\033[31m{text}\033[0m"
