"""Who owns an object: UID, GID and their names.  A user's name never changes, so fragments may keep it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from holdfast.api.views.markup import text
from holdfast.model.user import ONEADMIN_GROUP, User

GROUPS: Mapping[int, str] = {ONEADMIN_GROUP: "oneadmin", 1: "users"}
"""The groups of every installation."""


class Owned(Protocol):
    """An object with owner and group."""

    @property
    def uid(self) -> int:
        """The owning user's id."""

    @property
    def gid(self) -> int:
        """The owning group's id."""


def owner(stored: Owned, users: Mapping[int, User]) -> str:
    """UID, GID, UNAME and GNAME."""
    user = users.get(stored.uid)
    name = user.name if user else "oneadmin" if stored.uid == 0 else ""
    return (
        f"<UID>{stored.uid}</UID><GID>{stored.gid}</GID>"
        f"<UNAME>{text(name)}</UNAME><GNAME>{GROUPS.get(stored.gid, '')}</GNAME>"
    )
