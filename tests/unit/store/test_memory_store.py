"""What only the store in memory has: scripted failures."""

from __future__ import annotations

import pytest

from holdfast.engine.ports import Changes
from holdfast.model.errors import StoreError
from holdfast.model.user import User
from holdfast.store.memory import MemoryStore

USER = User(0, "oneadmin", "00ff")


def test_scripted_failures_come_in_their_order_and_change_nothing() -> None:
    store = MemoryStore()
    store.fail_next("the disk is full")
    store.fail_next("the disk is slow")
    for reason in ("full", "slow"):
        with pytest.raises(StoreError, match=f"the disk is {reason}"):
            store.commit(Changes(1, [USER], counters={"User": 1}))
        assert store.load().objects == []
        assert store.load().counters == {}
    store.commit(Changes(1, [USER]))
    assert store.load().objects == [USER]


def test_a_restarted_controller_meets_no_failure_scripted_for_the_one_before() -> None:
    store = MemoryStore()
    store.fail_next("the disk is full")
    again = store.reload()
    again.commit(Changes(1, [USER]))
    assert again.load().objects == [USER]


def test_a_controller_that_was_replaced_cannot_write_any_more() -> None:
    store = MemoryStore()
    store.reload()
    with pytest.raises(StoreError, match="is closed"):
        store.commit(Changes(1, [USER]))


def test_what_is_loaded_was_made_from_text() -> None:
    store = MemoryStore()
    store.commit(Changes(1, [USER]))
    assert store.load().objects[0] is not USER
