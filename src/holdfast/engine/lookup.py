"""Finds objects by something other than their id, at a cost that does not grow with their number.

Objects with a name are found by it, failovers by their host while they are open, proofs by their failover.  A
:class:`Lookup` holds ids by kind and key: the state keeps one in step with what is committed; a draft keeps one of what
it has staged, which may name objects that have moved on since, so whoever asks looks at them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from holdfast.model.failover import Failover, Proof
from holdfast.model.hook import Hook
from holdfast.model.host import Host
from holdfast.model.storage import Datastore, Image
from holdfast.model.user import User

Key = str | int


def _name(stored: Any) -> Key | None:
    name: str = stored.name
    return name


def _host_while_open(failover: Failover) -> Key | None:
    return failover.host_id if failover.is_open else None


def _failover(proof: Proof) -> Key | None:
    return proof.failover_id


_KEYS: dict[type[Any], Callable[[Any], Key | None]] = {
    **dict.fromkeys((Host, Datastore, Image, Hook, User), _name),
    Failover: _host_while_open,
    Proof: _failover,
}


def key_of(stored: object) -> Key | None:
    """By what the object is found; None when it is not."""
    key = _KEYS.get(type(stored))
    return None if key is None else key(stored)


class Lookup:
    """Ids by kind and key."""

    def __init__(self) -> None:
        self._ids: dict[tuple[type[Any], Key], set[int]] = {}

    def add(self, stored: Any) -> None:
        """The object is found by its key from now on."""
        key = key_of(stored)
        if key is not None:
            self._ids.setdefault((type(stored), key), set()).add(stored.oid)

    def drop(self, stored: Any) -> None:
        """The object is not found by its key any more."""
        at = (type(stored), key_of(stored))
        ids = self._ids.get(at)  # type: ignore[arg-type]
        if ids is not None:
            ids.discard(stored.oid)
            if not ids:
                del self._ids[at]  # type: ignore[arg-type]

    def ids(self, kind: type[Any], key: Key) -> Iterable[int]:
        """The ids under this key."""
        return self._ids.get((kind, key), ())

    def update(self, other: Lookup) -> None:
        """Takes over what another one holds."""
        for at, ids in other._ids.items():
            self._ids.setdefault(at, set()).update(ids)
