"""Which objects of a pool a caller gets, and in what order: newest first, by owner, by id or by page.

The filters are lazy, so that a page of a large pool costs what is on it and before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Protocol, TypeVar

from holdfast.api.views.fragments import Identified
from holdfast.api.views.owners import Owned
from holdfast.model.errors import ArgumentError
from holdfast.model.user import Actor
from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState

PRIMARY_GROUP = -4
MINE = -3
ALL = -2
MINE_AND_GROUP = -1

ANY_STATE = -2
NOT_DONE = -1
_STATES = frozenset(state.value for state in VmState)
_ID = re.compile("[0-9]{1,10}")

S = TypeVar("S", bound=Identified)


class OwnedObject(Identified, Owned, Protocol):
    """An object with id and owner."""


SO = TypeVar("SO", bound=OwnedObject)


def newest_first(pool: dict[int, S]) -> Iterator[S]:
    """The whole pool in the order of replies, to be taken before anything is awaited; pools are in the order of ids."""
    return reversed(pool.values())


def owned_by(objects: Iterable[SO], actor: Actor, flag: int) -> Iterable[SO]:
    """Those that the filter flag lets through: a user's id, or one of the negative constants."""
    if flag == ALL:
        return objects
    if flag < PRIMARY_GROUP:
        raise ArgumentError(f"Incorrect filter_flag {flag}: it is a user id or one of -4, -3, -2, -1")
    wanted = _owner_test(actor, flag)
    return filter(wanted, objects)


def _owner_test(actor: Actor, flag: int) -> Callable[[Owned], bool]:
    if flag == PRIMARY_GROUP:
        return lambda stored: stored.gid == actor.gid
    if flag == MINE:
        return lambda stored: stored.uid == actor.uid
    if flag == MINE_AND_GROUP:
        return lambda stored: stored.uid == actor.uid or stored.gid == actor.gid
    return lambda stored: stored.uid == flag


def page(objects: Iterable[S], start: int, end: int) -> list[S]:
    """Ids from ``start`` to ``end`` (-1 is no bound); an end below -1 asks for ``-end`` rows from offset ``start``."""
    if end < -1:
        offset = max(start, 0)
        return list(islice(objects, offset, offset - end))
    if start < 0:
        return list(objects)
    return [stored for stored in objects if stored.oid >= start and (end < 0 or stored.oid <= end)]


def in_state(vms: Iterable[Vm], state: int) -> Iterable[Vm]:
    """VMs in the state of that number; -1 is any but DONE, -2 any."""
    if state == ANY_STATE:
        return vms
    if state == NOT_DONE:
        done = VmState.DONE
        return (vm for vm in vms if vm.state is not done)
    if state not in _STATES:
        raise ArgumentError(f"Incorrect state filter {state}: it is -2, -1 or the number of a VM state")
    return (vm for vm in vms if vm.state == state)


def listed(vms: Mapping[int, Vm], ids: str) -> list[Vm]:
    """The VMs with these comma-separated ids, as far as they exist."""
    return [vms[oid] for oid in sorted(set(_numbers(ids)), reverse=True) if oid in vms]


def _numbers(ids: str) -> Iterable[int]:
    for word in ids.split(","):
        number = word.strip()
        if _ID.fullmatch(number):
            yield int(number)
        elif number:
            raise ArgumentError(f'Incorrect id "{number[:40]}": the ids are whole numbers separated by commas')
