"""Copies files from one machine to another: a hand sends them as a tar stream, another writes them into a draft.

The stream goes through the controller, which counts it; hosts need no way to each other.  The draft is the answer only
when both hands ended well: a stream that was cut off at a file's end looks complete to the receiver alone.
"""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from holdfast.drivers.piped import pump
from holdfast.drivers.tm.lines import TransferError
from holdfast.drivers.tm.remote import Hand, Hands
from holdfast.drivers.tm.tools import Clockwork, TransferOverdue

_LAST_WORD_S = 5.0


@dataclass(frozen=True, slots=True)
class End:
    """One end of a copy: the machine, and what a hand there is told it is about (``path``, ``file`` or ``image``)."""

    host: str
    about: Mapping[str, Any]


async def copied(hands: Hands, origin: End, target: End, size: int, vm_id: int, clockwork: Clockwork) -> str:
    """The draft at the target that holds all that was sent; ``size`` is what it will take there, in bytes.

    Raises TransferError, which names the host that failed, or TransferOverdue; the draft goes then.
    """
    try:
        return await _copied(hands, origin, target, size, vm_id, clockwork)
    except _LeftBehind as error:
        await hands.clean_up(target.host, "drop", vm_id, **target.about, draft=error.draft)
        raise error.reason from None


class _LeftBehind(Exception):
    """The receiver took for complete what the sender had not finished."""

    def __init__(self, draft: str, reason: TransferError) -> None:
        super().__init__(draft)
        self.draft, self.reason = draft, reason


async def _copied(hands: Hands, origin: End, target: End, size: int, vm_id: int, clockwork: Clockwork) -> str:
    async with (
        hands.turn(origin.host, target.host, clockwork=clockwork),
        hands.at_work(target.host, "receive", vm_id, clockwork, **target.about, size=size) as receiver,
        hands.at_work(origin.host, "send", vm_id, clockwork, **origin.about) as sender,
    ):
        try:
            async with asyncio.timeout(clockwork.left_s):
                await _stream(sender, receiver, size, clockwork)
        except TimeoutError:
            raise TransferOverdue(f"copying from {origin.host} to {target.host}: the time was up") from None
        except BrokenPipeError:
            raise await _failure_of(receiver, sender) from None
        try:
            await sender.answer_of_sender()
        except TransferError as error:
            receiver.program.end_input()
            draft = await _last_word(receiver)
            raise _LeftBehind(draft, error) if draft else error from None
        receiver.program.end_input()
        return str(await receiver.answer())


async def handed(hands: Hands, content: bytes, target: End, vm_id: int, clockwork: Clockwork) -> str:
    """The draft at the target of a file with this content; raises TransferError or TransferOverdue."""
    async with (
        hands.turn(target.host, clockwork=clockwork),
        hands.at_work(target.host, "receive", vm_id, clockwork, **target.about, size=len(content)) as receiver,
    ):
        try:
            async with asyncio.timeout(clockwork.left_s):
                await receiver.program.write(_tarred(content))
        except TimeoutError:
            raise TransferOverdue(f"writing on {target.host}: the time was up") from None
        except BrokenPipeError:
            pass  # its answer says why it stopped reading
        receiver.program.end_input()
        return str(await receiver.answer())


def _tarred(content: bytes) -> bytes:
    """A tar archive with one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        about = tarfile.TarInfo("content")
        about.size, about.mode = len(content), 0o640
        archive.addfile(about, io.BytesIO(content))
    return packed.getvalue()


async def _stream(sender: Hand, receiver: Hand, size: int, clockwork: Clockwork) -> None:
    done = 0
    clockwork.account.copied(0, size)

    def count(moved: int) -> None:
        nonlocal done
        done += moved
        clockwork.account.copied(min(done, size), size)

    await pump(sender.program, receiver.program, count)
    clockwork.account.copied(size, size)


async def _failure_of(receiver: Hand, sender: Hand) -> TransferError:
    """The receiver stopped reading: it knows why, unless its connection was cut."""
    try:
        async with asyncio.timeout(_LAST_WORD_S):
            await receiver.answer()
    except TransferError as error:
        return error
    except TimeoutError:
        pass
    return TransferError(f"host {receiver.host} stopped reading what host {sender.host} sent, and did not say why")


async def _last_word(hand: Hand) -> str:
    """The draft that it leaves; none when it found out by itself."""
    with suppress(TransferError, TimeoutError):
        async with asyncio.timeout(_LAST_WORD_S):
            return str(await hand.answer())
    return ""
