"""Rendered objects, kept until the object is another one.

Objects are immutable, so an entry is right as long as the pool holds the very same object.  A pool's reply is then a
list of ready bytes, and a change costs as much as what changed.  Rendering many at once lets other work in between,
since the loop that answers API calls also hears the beacons of the hosts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from holdfast.api.views.markup import embedded

RENDERED_IN_A_ROW = 64
_SLACK = 64


class Identified(Protocol):
    """Anything with an id."""

    @property
    def oid(self) -> int:
        """The object's id."""


T = TypeVar("T", bound=Identified)


class Fragments(Generic[T]):
    """One view of one pool: each object's XML, escaped for an XML-RPC string."""

    def __init__(self, render: Callable[[T], str], pool: Callable[[], Mapping[int, T]]) -> None:
        self._render = render
        self._pool = pool
        self._entries: dict[int, tuple[T, bytes]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def one(self, stored: T) -> bytes:
        """The fragment of this version of the object."""
        entry = self._entries.get(stored.oid)
        if entry is not None and entry[0] is stored:
            return entry[1]
        return self._new(stored)

    async def many(self, objects: Iterable[T]) -> list[bytes]:
        """The fragments in the order of ``objects``."""
        entries = self._entries
        fragments = []
        rendered = 0
        for stored in objects:
            entry = entries.get(stored.oid)
            if entry is not None and entry[0] is stored:
                fragments.append(entry[1])
                continue
            fragments.append(self._new(stored))
            rendered += 1
            if rendered % RENDERED_IN_A_ROW == 0:
                await asyncio.sleep(0)
                entries = self._entries
        return fragments

    def _new(self, stored: T) -> bytes:
        fragment = embedded(self._render(stored))
        self._entries[stored.oid] = (stored, fragment)
        if len(self._entries) > 2 * len(self._pool()) + _SLACK:
            self._forget_gone()
        return fragment

    def _forget_gone(self) -> None:
        pool = self._pool()
        self._entries = {oid: entry for oid, entry in self._entries.items() if oid in pool}
