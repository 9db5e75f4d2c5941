"""Sessions: who gets in, who does not, and when a remembered one is checked again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.api.auth import REMEMBERED_SESSIONS, Authenticator
from holdfast.engine.ports import Changes
from holdfast.model.errors import AuthenticationError
from holdfast.model.user import Actor, User
from tests.unit.api.world import ANN, CIPHER, GUEST_SESSION, ONEADMIN, FakeController, digest


def controller() -> FakeController:
    return FakeController([ONEADMIN, ANN, CIPHER])


def test_the_secret_may_contain_colons() -> None:
    assert Authenticator(controller()).actor(GUEST_SESSION) == Actor(uid=2, gid=1, name="ann")


@pytest.mark.parametrize(
    "session",
    [
        "",
        ":",
        "oneadmin",
        "oneadmin:",
        "oneadmin:wrong",
        "nobody:opennebula",
        "oneadmin:opennebula:",
        "\ud800:x",
        f"oneadmin:{digest('opennebula')}",
        "OneAdmin:opennebula",
        " oneadmin:opennebula",
    ],
)
def test_wrong_sessions_are_refused_in_opennebulas_words(session: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        Authenticator(controller()).actor(session)
    assert caught.value.message == "User couldn't be authenticated, aborting call."
    assert caught.value.code == 256


def test_a_user_without_name_and_secret_is_not_let_in_by_an_empty_session() -> None:
    nameless = FakeController([User(3, "", digest(""))])
    with pytest.raises(AuthenticationError):
        Authenticator(nameless).actor("")


@pytest.mark.parametrize("user", [CIPHER, replace(ONEADMIN, enabled=False), replace(ONEADMIN, auth_driver="public")])
def test_disabled_users_and_users_of_other_drivers_are_refused(user: User) -> None:
    secret = "secret" if user is CIPHER else "opennebula"
    with pytest.raises(AuthenticationError):
        Authenticator(FakeController([user])).actor(f"{user.name}:{secret}")


def test_a_remembered_session_ends_with_any_change_of_its_user() -> None:
    ours = controller()
    authenticator = Authenticator(ours)
    assert authenticator.actor("oneadmin:opennebula") is authenticator.actor("oneadmin:opennebula")
    ours.put(replace(ONEADMIN, password=digest("changed")))
    with pytest.raises(AuthenticationError):
        authenticator.actor("oneadmin:opennebula")
    assert authenticator.actor("oneadmin:changed").is_admin


def test_a_remembered_session_ends_when_its_user_is_removed() -> None:
    ours = controller()
    authenticator = Authenticator(ours)
    authenticator.actor(GUEST_SESSION)
    ours.state.publish(Changes(1, deletes=[(User, ANN.oid)]))
    with pytest.raises(AuthenticationError):
        authenticator.actor(GUEST_SESSION)


def test_a_remembered_session_follows_its_user_to_another_group() -> None:
    ours = controller()
    authenticator = Authenticator(ours)
    assert not authenticator.actor(GUEST_SESSION).is_admin
    ours.put(replace(ANN, gid=0, gname="oneadmin"))
    assert authenticator.actor(GUEST_SESSION).is_admin


def test_no_more_sessions_are_remembered_than_the_limit_and_none_in_clear() -> None:
    count = REMEMBERED_SESSIONS + 5
    users = [User(oid, f"user{oid}", digest(f"secret{oid}"), gid=1) for oid in range(count)]
    authenticator = Authenticator(FakeController(users))
    for oid in range(count):
        assert authenticator.actor(f"user{oid}:secret{oid}").uid == oid
    remembered = authenticator._verified
    assert len(remembered) == REMEMBERED_SESSIONS
    assert b"secret" not in b"".join(remembered)
