"""What the datastores' directories on hosts hold, and how full they are: looks by the hand there."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence

from holdfast.drivers.capacity import Figures
from holdfast.drivers.inventory import Entry
from holdfast.drivers.tm.remote import Hands
from holdfast.drivers.tm.tools import Clockwork

_NO_VM = 0
"""A look is about no VM and locks none."""


def inventory_of(hands: Hands) -> Callable[[str, str, float], Coroutine[None, None, Sequence[Entry]]]:
    """Looks at a directory on a host within a limit in seconds; raises TransferError naming the host."""

    async def look(host: str, path: str, limit_s: float) -> Sequence[Entry]:
        found: Sequence[Entry] = await hands.call(host, "inventory", _NO_VM, Clockwork(limit_s), path=path)
        return found

    return look


def capacity_of(hands: Hands) -> Callable[[str, str, float], Coroutine[None, None, Figures]]:
    """Measures a directory on a host within a limit in seconds; raises TransferError naming the host."""

    async def look(host: str, path: str, limit_s: float) -> Figures:
        return Figures(**await hands.call(host, "capacity", _NO_VM, Clockwork(limit_s), path=path))

    return look
