"""Users, and who is asking."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.model.template import EMPTY, Template

ONEADMIN_GROUP = 0


@dataclass(frozen=True, slots=True)
class User:
    """A user; ``password`` is the lower-case hex SHA-256 of the secret (driver ``core``)."""

    oid: int
    name: str
    password: str
    gid: int = ONEADMIN_GROUP
    gname: str = "oneadmin"
    auth_driver: str = "core"
    enabled: bool = True
    template: Template = EMPTY


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for something: a user, or Holdfast itself (uid -1)."""

    uid: int
    gid: int
    name: str

    @property
    def is_admin(self) -> bool:
        """Member of the oneadmin group, or Holdfast itself."""
        return self.gid == ONEADMIN_GROUP or self.uid == -1


HOLDFAST = Actor(uid=-1, gid=-1, name="holdfast")
