"""One dialogue's way to the repair of a VM: calls that survive a lost connection, and a sign of life now and then.

A call whose answer was lost is made again, which is safe: a line is run under the number of its record and skipped by
its own, so the server refuses to do either twice.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar
from xml.etree.ElementTree import Element

from holdfast.cli.errors import ApiError, CliError, Unreachable
from holdfast.cli.rpc import Client
from holdfast.cli.xmltree import integer_of, text_of

T = TypeVar("T")

PATIENCE_S = 180.0
"""So long a lost connection is tried again."""
AGAIN_S = 1.0
SIGN_EVERY_S = 4.0
BRIEF_S = 5.0
WAIT_S = 10


class RepairSession:
    """A session with the server about one VM; a context in which it is held."""

    def __init__(self, client: Client, vm_id: int) -> None:
        self._client = client
        self._vm_id = vm_id
        self._session = secrets.token_hex(16)
        self._left = threading.Event()

    def begin(self, take_over: bool) -> Element:
        """Opens the repair, or goes on with it, and answers how it stands; raises CliError."""
        self._client.identifier("one.vm.repair", self._vm_id, self._session, seat(), take_over)
        threading.Thread(target=self._show_life, name="sign of life", daemon=True).start()
        return self.look()

    def look(self) -> Element:
        """How the repair stands."""
        return self._patiently(lambda: self._client.document("one.vm.repairinfo", self._vm_id))

    def run(self, line: int, record: int) -> None:
        """Has a line run, once."""
        call = self._call("one.vm.repairrun", line, record)
        self._once(call, lambda stands: record_of(stands, record) is not None)

    def skip(self, line: int) -> None:
        """Leaves a line out."""
        call = self._call("one.vm.repairskip", line)
        self._once(call, lambda stands: integer_of(stands, "POSITION") > line)

    def output(self, record: int) -> Iterator[tuple[list[str], str]]:
        """What a run says, as it comes, each with the result so far; ends with the run."""
        seen: list[str] = []
        result = "RUNNING"
        asked = ("one.vm.repairoutput", self._vm_id, record)
        wait_s = max(1, min(WAIT_S, int(self._client.connection.timeout_s / 2)))
        while result == "RUNNING":
            said = self._patiently(partial(self._client.document, *asked, len(seen), wait_s))
            lines = [line.text or "" for line in said.findall("LINES/LINE")]
            if integer_of(said, "FIRST") < len(seen):  # the controller was restarted and has its record only
                lines = [line for line in lines if line not in seen]
            seen += lines
            result = text_of(said, "RESULT")
            yield lines, result

    def leave(self) -> None:
        """Lets others have it.  If that cannot be told, the server notices the silence."""
        self._left.set()
        brief = self._brief()
        with suppress(CliError):
            brief.identifier("one.vm.repairquit", self._vm_id, self._session)

    def _call(self, method: str, *arguments: int) -> Callable[[], int]:
        return lambda: self._client.identifier(method, self._vm_id, self._session, *arguments)

    def _once(self, call: Callable[[], int], was_done: Callable[[Element], bool]) -> None:
        """The call; when an answer was lost, a refusal may mean that the lost call was carried out."""
        lost: list[Unreachable] = []
        try:
            self._patiently(call, lost.append)
        except ApiError:
            if not lost or not was_done(self.look()):
                raise

    def _patiently(self, call: Callable[[], T], lost: Callable[[Unreachable], None] = lambda error: None) -> T:
        """The call, again and again while the server cannot be reached, for a while."""
        ends: float | None = None
        while True:
            try:
                answer = call()
            except Unreachable as error:
                lost(error)
                if ends is None:
                    _tell(f"{error} Trying again for {PATIENCE_S:.0f} s; the repair stays as it is.")
                    ends = time.monotonic() + PATIENCE_S
                elif time.monotonic() > ends:
                    raise
                time.sleep(AGAIN_S)
                continue
            if ends is not None:
                _tell("The server answers again.")
            return answer

    def _show_life(self) -> None:
        """Until the session is left; whoever took it over meanwhile is named at the next action."""
        brief = self._brief()
        while not self._left.wait(SIGN_EVERY_S):
            with suppress(CliError):
                brief.identifier("one.vm.repairhold", self._vm_id, self._session)

    def _brief(self) -> Client:
        connection = self._client.connection
        return Client(replace(connection, timeout_s=min(BRIEF_S, connection.timeout_s)))


def record_of(stands: Element, number: int) -> Element | None:
    """The record of this number in how the repair stands."""
    records = stands.findall("RECORDS/RECORD")
    return next((record for record in records if integer_of(record, "ID") == number), None)


def seat() -> str:
    """Who sits where: login, machine, and terminal or process."""
    try:
        place = os.ttyname(sys.stdin.fileno()).removeprefix("/dev/")
    except (OSError, ValueError):
        place = f"process {os.getpid()}"
    return f"{_login()}@{os.uname().nodename}, {place}"[:128]


def _login() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
