"""The controller's side of the hands: sends one to a host, or starts one here, and hears what it says.

``frontend`` is the controller's own name in transfer lines: its files are worked on by a hand that is a child of the
controller.  Every host needs python3 (3.11 or later), qemu-img, prlimit and tar; nothing of Holdfast is there.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import zipfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from holdfast.drivers.piped import Piped, piped
from holdfast.drivers.ssh import CONNECTION_FAILED, Ssh, SshFailed
from holdfast.drivers.tm.hand import READY
from holdfast.drivers.tm.lines import TransferError
from holdfast.drivers.tm.tools import Clockwork, TransferOverdue
from holdfast.model.errors import HoldfastError

COMMAND = """exec python3 -I -S -X utf8 -c 'i=open(0,"rb",0,closefd=False);exec(i.readline())'"""
"""What the host's shell reads.  Always the same: the program and its order come in on stdin."""

_LOADER = """
import os, sys
if sys.version_info < (3, 11):
    sys.exit("python3 is version %d.%d here, 3.11 or later is needed" % sys.version_info[:2])
left = int(i.readline())
memory = os.memfd_create("holdfast")
while left:
    chunk = i.read(min(left, 65536))
    if not chunk:
        sys.exit("the program did not arrive")
    os.write(memory, chunk)
    left -= len(chunk)
sys.path.insert(0, "/proc/self/fd/%d" % memory)
from holdfast.drivers.tm.hand import main
main(i)
"""
_PACKAGES = ("", "model", "drivers", "drivers/tm", "drivers/vmm")
_MODULES = (
    "model/enums", "model/errors", "model/snapshot", "model/template", "model/vm", "model/vm_states",
    "drivers/capacity", "drivers/expendable", "drivers/inventory", "drivers/process", "drivers/process_group",
    "drivers/vmm/checkpoint",
    "drivers/tm/account", "drivers/tm/arrivals", "drivers/tm/copies", "drivers/tm/disks", "drivers/tm/hand",
    "drivers/tm/hand_orders", "drivers/tm/home", "drivers/tm/inspection", "drivers/tm/layers", "drivers/tm/layout",
    "drivers/tm/lines", "drivers/tm/moves", "drivers/tm/orders", "drivers/tm/paths", "drivers/tm/probes",
    "drivers/tm/shared", "drivers/tm/tools", "drivers/tm/use",
)  # fmt: skip
SILENCE_S = 12.0
"""A hand that has not heard from the controller for so long stops; a connection is given up later than that."""
_BEATS = 4
_MARGIN_S = 2.0
_NOISE_LIMIT = 1 << 16
_LAST_WORDS = 500
_NOT_FOUND = 127
_CLEAN_LIMIT_S = 5.0
_MOST_WORDS = 1000


class Hands:
    """Gives orders to hands; ``root`` is the datastores' directory, the same on every machine."""

    def __init__(self, root: Path, frontend: str, ssh: Ssh, silence_s: float = SILENCE_S) -> None:
        self.root, self.frontend = root, frontend
        self._ssh, self._silence_s = ssh, silence_s

    async def call(self, host: str, call: str, vm_id: int, clockwork: Clockwork, **values: Any) -> Any:
        """One order; raises TransferError, which names the host, or TransferOverdue when it may still be under way."""
        async with self.turn(host, clockwork=clockwork), self.at_work(host, call, vm_id, clockwork, **values) as hand:
            return await hand.answer()

    async def clean_up(self, host: str, call: str, vm_id: int, **values: Any) -> None:
        """An order that is tried once and not waited for long: what it does not remove, the next attempt does."""
        with suppress(HoldfastError):
            await self.call(host, call, vm_id, Clockwork(_CLEAN_LIMIT_S), **values)

    @asynccontextmanager
    async def turn(self, *hosts: str, clockwork: Clockwork) -> AsyncIterator[None]:
        """The right to one hand on each of these hosts."""
        remote = tuple(host for host in hosts if host != self.frontend)
        granted = self._ssh.turn(*remote)
        try:
            async with asyncio.timeout(clockwork.left_s):
                await granted.__aenter__()
        except TimeoutError:
            raise TransferOverdue(f"no time was left for {', '.join(hosts)}: too many others were before it") from None
        try:
            yield
        finally:
            await granted.__aexit__(None, None, None)

    @asynccontextmanager
    async def at_work(
        self, host: str, call: str, vm_id: int, clockwork: Clockwork, **values: Any
    ) -> AsyncIterator[Hand]:
        """A hand that has its order; within a :meth:`turn`."""
        limit_s = max(clockwork.left_s - _MARGIN_S, clockwork.left_s / 2)
        order = {**values, "call": call, "vm_id": vm_id, "root": str(self.root), "frontend": self.frontend}
        try:
            async with self._running(host) as program:
                hand = Hand(self._ssh, host, program, clockwork, is_here=host == self.frontend)
                await hand.begin({**order, "limit_s": limit_s}, self._silence_s if call != "receive" else 0)
                try:
                    yield hand
                finally:
                    hand.leave()
        except SshFailed as error:
            raise TransferError(error.message) from None

    @asynccontextmanager
    async def _running(self, host: str) -> AsyncIterator[Piped]:
        if host == self.frontend:
            async with piped([sys.executable, *_here()]) as program:
                yield program
        else:
            async with self._ssh.session(host, COMMAND) as program:
                yield program


class Hand:
    """One hand at work."""

    def __init__(self, ssh: Ssh, host: str, program: Piped, clockwork: Clockwork, is_here: bool) -> None:
        self.host, self.program = host, program
        self._ssh, self._clockwork, self._is_here = ssh, clockwork, is_here
        self._beats: asyncio.Task[None] | None = None
        self._words = 0

    async def begin(self, order: Mapping[str, Any], silence_s: float) -> None:
        """Sends it there with its order; unless it is fed with data, it never waits ``silence_s`` for a sound."""
        try:
            async with asyncio.timeout(self._clockwork.left_s):
                with suppress(BrokenPipeError):  # why it ended is asked below
                    await self.program.write(_parcel({**order, "silence_s": silence_s}))
                ready = await self.program.read_exactly_to(READY, _NOISE_LIMIT)
        except TimeoutError:
            raise TransferOverdue(f"host {self.host}: the time was up") from None
        if not ready:
            raise await self._failure()
        if silence_s:
            self._beats = asyncio.create_task(self._beat(silence_s / _BEATS))

    async def answer(self) -> Any:
        """What came of it; raises TransferError or TransferOverdue."""
        try:
            async with asyncio.timeout(self._clockwork.left_s):
                while line := await self.program.read_line():
                    what = _said(line)
                    if what is not None and self._is_last(what):
                        return self._result(what)
        except TimeoutError:
            raise TransferOverdue(f"host {self.host}: the time was up before it had answered") from None
        except OverflowError:
            raise TransferError(f"host {self.host}: the answer is too long to be one") from None
        raise await self._failure()

    async def answer_of_sender(self) -> None:
        """As :meth:`answer`, of a hand whose stdout carried files; they have been read to their end."""
        try:
            async with asyncio.timeout(self._clockwork.left_s):
                code = await self.program.ends()
        except TimeoutError:
            raise TransferOverdue(f"host {self.host}: the time was up before it had answered") from None
        stderr = self.program.stderr
        for line in bytes(stderr.kept + stderr.end).splitlines():
            what = _said(line)
            if what is not None and self._is_last(what):
                self._result(what)
                return
        raise self._ended_early(code)

    def leave(self) -> None:
        """It is heard no more."""
        if self._beats:
            self._beats.cancel()

    def _is_last(self, what: Mapping[str, Any]) -> bool:
        """Whatever else it says is passed on, if it is what a hand says: a host in other hands may say anything."""
        match what:
            case {"log": [str(severity), str(text)]}:
                self._words += 1
                if self._words > _MOST_WORDS:
                    raise TransferError(f"host {self.host}: it said more than {_MOST_WORDS} things about one order")
                self._clockwork.account.log(severity, text)
            case {"copied": [int(done), int(total)]}:
                self._clockwork.account.copied(done, total)
        return "answer" in what or "failed" in what

    def _result(self, what: Mapping[str, Any]) -> Any:
        if "failed" in what:
            kind = TransferOverdue if what.get("overdue") else TransferError
            raise kind(f"host {self.host}: {what['failed']}")
        return what["answer"]

    async def _beat(self, every_s: float) -> None:
        with suppress(BrokenPipeError, ValueError):  # it has ended: whoever waits for its answer sees that
            while True:
                await asyncio.sleep(every_s)
                await self.program.write(b"\n")

    async def _failure(self) -> TransferError:
        """Why it ended without an answer."""
        try:
            async with asyncio.timeout(self._clockwork.left_s):
                return self._ended_early(await self.program.ends())
        except TimeoutError:
            return TransferOverdue(f"host {self.host}: the time was up before it had answered")

    def _ended_early(self, code: int) -> TransferError:
        said = bytes(self.program.stderr.kept + self.program.stderr.end)
        if code == CONNECTION_FAILED and not self._is_here:
            return TransferOverdue(self._ssh.lost(self.host, said))
        words = " ".join(said.decode(errors="replace").split())[-_LAST_WORDS:] or "it gave no reason"
        if code == _NOT_FOUND:
            words = f"python3 cannot be run there, install it (3.11 or later): {words}"
        return TransferError(f"host {self.host}: the transfer program ended with exit code {code}: {words}")


def _said(line: bytes) -> dict[str, Any] | None:
    """A line that the hand said, None for one that it did not say."""
    if not line.startswith(b"{"):
        return None
    try:
        what = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return what if isinstance(what, dict) else None


def _parcel(order: Mapping[str, Any]) -> bytes:
    """What goes to its stdin: a line that loads it, the program, the order."""
    return b"".join((_program(), json.dumps(order).encode(), b"\n"))


@cache
def _program() -> bytes:
    source = Path(__file__).resolve().parents[2]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (*(f"{package}/__init__".lstrip("/") for package in _PACKAGES), *_MODULES):
            archive.writestr(f"holdfast/{name}.py", (source / f"{name}.py").read_bytes())
    program = packed.getvalue()
    return f"exec({_LOADER!r})\n{len(program)}\n".encode() + program


def _here() -> list[str]:
    """The same command without a shell."""
    return ["-I", "-S", "-X", "utf8", "-c", COMMAND.split("'")[1]]
