"""Who is calling: the session ``user:secret`` checked against the users' SHA-256 digests.

A session that was found right is remembered by its own digest, never in clear, together with the very user object it
was checked against; any change of the user makes it be checked again.  Nothing here logs a session.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from holdfast.api.ports import Controller
from holdfast.model.errors import AuthenticationError
from holdfast.model.user import Actor, User

REMEMBERED_SESSIONS = 1024
_NOBODY = hashlib.sha256(b"").hexdigest()


class Authenticator:
    """Turns sessions into actors."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._verified: dict[bytes, tuple[User, Actor]] = {}

    def actor(self, session: str) -> Actor:
        """Who the session belongs to; raises AuthenticationError without saying what was wrong with it."""
        raw = session.encode("utf-8", "surrogatepass")
        key = hashlib.sha256(raw).digest()
        users = self._controller.state.users
        known = self._verified.get(key)
        if known is not None and users.get(known[0].oid) is known[0]:
            return known[1]
        user = _verified_user(raw, users)
        actor = Actor(uid=user.oid, gid=user.gid, name=user.name)
        self._remember(key, user, actor)
        return actor

    def _remember(self, key: bytes, user: User, actor: Actor) -> None:
        self._verified.pop(key, None)
        while len(self._verified) >= REMEMBERED_SESSIONS:
            del self._verified[next(iter(self._verified))]
        self._verified[key] = (user, actor)


def _verified_user(session: bytes, users: Mapping[int, User]) -> User:
    name, colon, secret = session.partition(b":")
    user = next((user for user in users.values() if user.name.encode() == name), None)
    digest = hashlib.sha256(secret).hexdigest()
    expected = user.password if user else _NOBODY
    right = hmac.compare_digest(digest.encode(), expected.encode())
    if user is None or not colon or not right or not user.enabled or user.auth_driver != "core":
        raise AuthenticationError("User couldn't be authenticated, aborting call.")
    return user
