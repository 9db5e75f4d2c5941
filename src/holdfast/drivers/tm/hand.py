"""The hand: a small program that the controller sends along and a machine's own python3 runs; one order, one answer.

It comes in on stdin, followed by the order, and works on that machine's files with the code that works on the
controller's.  What it says are lines of JSON: ``log``, ``copied``, and at last ``answer`` or ``failed``.  They go to
stdout, except when stdout carries the files that are sent: then to stderr.

A hand must not outlive the wish for its work.  While it works it listens to its stdin, where the controller lets
something be heard every few seconds; after the end of the input or a silence it stops what it does, with every program
that it started, and so it does after its deadline.  A hand whose order changes something locks the VM on that machine,
so that one which has not noticed yet and one that came after it never work at the same time.

Needs Python 3.11 and, as the controller does, qemu-img and prlimit; copies need tar.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from io import FileIO
from pathlib import Path
from typing import Any

from holdfast.drivers.process import Sink
from holdfast.drivers.process_group import ProcessGroup, start
from holdfast.drivers.tm.account import Account
from holdfast.drivers.tm.hand_orders import LOOKS, HandOrders, Order
from holdfast.drivers.tm.lines import TransferError
from holdfast.drivers.tm.tools import Clockwork, TransferOverdue, is_full, removed_on_failure
from holdfast.model.errors import HoldfastError

READY = b"holdfast-hand-ready"
"""The first thing it says; whatever came before was said by the host's shell."""

_LOCK_POLL_S = 0.2
_TELL_S = 0.5
_LAST_WORDS = 500
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_RECORD = "--blocking-factor=512"
"""256 KiB at a time; tar's own 10 KiB take twice the processor time."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main(stdin: FileIO) -> None:
    """Reads the order, carries it out, says what came of it, ends."""
    order = json.loads(stdin.readline())
    os.write(_STDOUT, READY + b"\n")
    talk = Talk(_STDERR if order["call"] == "send" else _STDOUT)
    with contextlib.suppress(BrokenPipeError):  # nobody listens any more
        talk.say(asyncio.run(_answer(order, talk)))
    sys.stdout.flush()
    os._exit(0)  # a thread may be stuck in a storage that hangs


class Talk:
    """What the hand says."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def say(self, what: dict[str, Any]) -> None:
        """One line."""
        left = f"\n{json.dumps(what)}\n".encode()
        while left:
            left = left[os.write(self._descriptor, left) :]


class TalkingAccount(Account):
    """An account of a line that is carried out here, told to the controller."""

    def __init__(self, talk: Talk) -> None:
        super().__init__(lambda severity, text: talk.say({"log": [severity, text]}))
        self._talk = talk
        self._told_at = 0.0

    def copied(self, done_bytes: int, total_bytes: int) -> None:
        """Not each time: a copy reports often."""
        super().copied(done_bytes, total_bytes)
        if time.monotonic() - self._told_at >= _TELL_S:
            self._told_at = time.monotonic()
            self._talk.say({"copied": [done_bytes, total_bytes]})


async def _answer(order: Order, talk: Talk) -> dict[str, Any]:
    clockwork = Clockwork(order["limit_s"], TalkingAccount(talk))
    work = asyncio.create_task(_carry_out(order, clockwork))
    silence = asyncio.create_task(_silence(order["silence_s"]))
    await asyncio.wait({work, silence}, timeout=clockwork.left_s, return_when=asyncio.FIRST_COMPLETED)
    why = "the controller gave it up" if silence.done() else "the time was up"
    silence.cancel()
    if not work.done():
        work.cancel()
        await asyncio.wait({work})
    if work.cancelled():
        return {"failed": why, "overdue": True}
    error = work.exception()
    if error is None:
        return {"answer": work.result()}
    return {"failed": _message(error), "overdue": isinstance(error, TransferOverdue)}


def _message(error: BaseException) -> str:
    if isinstance(error, HoldfastError):
        return error.message
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror or error}{where}"
    return f"{type(error).__name__}: {error}"


async def _silence(limit_s: float) -> None:
    """Ends when the controller is not heard for so long; 0: never, who is fed with data sees its end by himself."""
    loop, heard, ended = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    if not limit_s:
        await ended.wait()

    def listen() -> None:
        if not os.read(_STDIN, 1 << 12):
            loop.remove_reader(_STDIN)
            ended.set()
        heard.set()

    loop.add_reader(_STDIN, listen)
    while not ended.is_set():
        heard.clear()
        try:
            async with asyncio.timeout(limit_s):
                await heard.wait()
        except TimeoutError:
            return


async def _carry_out(order: Order, clockwork: Clockwork) -> Any:
    orders = HandOrders(Path(order["root"]))
    if order["call"] == "send":
        return await _send(orders, order, clockwork)
    if order["call"] == "receive":
        return await _receive(orders, order, clockwork)
    if order["call"] in LOOKS:
        return await orders.carry_out(order, clockwork)
    async with _locked(_lock_of(order), clockwork):
        return await orders.carry_out(order, clockwork)


async def _send(orders: HandOrders, order: Order, clockwork: Clockwork) -> None:
    """The files as a tar stream on stdout; holes stay holes, a file whose size changes meanwhile is an error."""
    await orders.insist_unused(order, clockwork)
    directory, names = await clockwork.touch(lambda: orders.sent_from(order), "looking for what is to be sent")
    what = ["--null", "--files-from=-"]
    tar = ["tar", "--create", _RECORD, "--sparse", "--numeric-owner", "--file=-", f"--directory={directory}", *what]
    listed = b"".join(b"./" + os.fsencode(name) + b"\0" for name in names)
    await _tar(tar, listed, _STDOUT, f"reading {directory}", clockwork)


async def _receive(orders: HandOrders, order: Order, clockwork: Clockwork) -> str:
    """A draft that holds the tar stream from stdin."""
    async with _locked(_lock_of(order), clockwork):
        draft = await clockwork.touch(lambda: orders.begin_arrival(order), "preparing the copy")
    tar = ["tar", "--extract", _RECORD, "--sparse", "--preserve-permissions", "--numeric-owner", "--file=-"]
    async with removed_on_failure(draft):
        try:
            await _tar([*tar, f"--directory={draft}"], None, subprocess.DEVNULL, f"writing {draft}", clockwork)
        except TransferError as error:
            if await is_full(draft):
                raise TransferError(f"no space is left in {draft.parent}: {error.message}") from None
            raise
        await _drained()
    return str(draft)


async def _drained() -> None:
    """Reads the padding behind the end of the stream: who sends it must not find that nobody reads."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def read() -> None:
        if not os.read(_STDIN, 1 << 16):
            ended.set()

    loop.add_reader(_STDIN, read)
    await ended.wait()
    loop.remove_reader(_STDIN)


async def _tar(argv: list[str], given: bytes | None, stdout: int, what: str, clockwork: Clockwork) -> None:
    environment = {**os.environ, "PATH": _PATH, "LC_ALL": "C"}
    stdin = _STDIN if given is None else _memory(given)
    group = start(argv, stdin=stdin, stdout=stdout, env=environment)
    assert group.popen.stderr
    words = Sink(asyncio.get_running_loop(), group.popen.stderr, 1 << 16)
    try:
        await _ended(group, clockwork)
        await asyncio.wait_for(words.ended.wait(), 1.0)
    finally:
        await group.stop()
        words.close()
    if group.code != 0:
        said = " ".join(bytes(words.kept).decode(errors="replace").split())[-_LAST_WORDS:]
        raise TransferError(f"{what}: tar failed with exit code {group.code}: {said or 'it gave no reason'}")


async def _ended(group: ProcessGroup, clockwork: Clockwork) -> None:
    if not await group.exits_within(clockwork.left_s):
        raise TransferOverdue("tar was stopped: the time was up")


def _memory(content: bytes) -> int:
    """A descriptor to read this from."""
    descriptor = os.memfd_create("names")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _lock_of(order: Order) -> Path:
    return Path(order["root"]) / ".locks" / str(order["vm_id"])


@contextlib.asynccontextmanager
async def _locked(path: Path, clockwork: Clockwork) -> AsyncIterator[None]:
    """Alone with the VM on this machine."""
    while (descriptor := await clockwork.touch(lambda: _lock(path), f"locking {path}")) is None:
        if clockwork.left_s <= _LOCK_POLL_S:
            raise TransferOverdue(f"another transfer of this VM is still under way here ({path} is locked)")
        await asyncio.sleep(_LOCK_POLL_S)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _lock(path: Path) -> int | None:
    """Locks the file; None when somebody else has locked it, or removed it meanwhile."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
