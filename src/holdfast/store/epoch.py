"""The epoch: the number of the controller's reign.  Only the controller whose epoch the store holds may write.

SQLite has one controller and stays at the first epoch; where several share a store, an election raises it.
"""

from __future__ import annotations

from holdfast.model.errors import StoreError

FIRST_EPOCH = 1


def refuse_deposed(claimed: int, stored: int) -> None:
    """Raises StoreError unless the writer's epoch is the store's."""
    if claimed != stored:
        raise StoreError(
            f"The change was not stored: it comes from a controller of epoch {claimed}, but the store is at epoch "
            f"{stored}. That controller was deposed; restart it to join again."
        )
