"""A store that forgets with the process, for tests and simulations; to its user it behaves like the durable one.

Objects are kept as text, so what a restarted controller loads has gone through the same door as on a disk.  Failures
are scripted: the next commits can be made to fail, and then they change nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from holdfast.engine.ports import Changes, Snapshot, Stored
from holdfast.engine.state import LOG_RETENTION, POOLS
from holdfast.model.effect import Effect
from holdfast.model.errors import StoreError
from holdfast.model.hook import Hook, HookExecution
from holdfast.store.codec import decode, encode
from holdfast.store.epoch import FIRST_EPOCH, refuse_deposed


class MemoryStore:
    """Implements ``engine.ports.Store``."""

    def __init__(self) -> None:
        self._epoch = FIRST_EPOCH
        self._objects: dict[type[Any], dict[int, str]] = {kind: {} for kind in POOLS}
        self._log: dict[int, dict[int, str]] = {}
        self._counters: dict[str, int] = {}
        self._failures: deque[str] = deque()
        self._closed = False

    def fail_next(self, reason: str) -> None:
        """One more of the coming commits fails, with this reason."""
        self._failures.append(reason)

    def reload(self) -> MemoryStore:
        """What a restarted controller finds: all that was committed, no failure in sight.  This one is closed."""
        self.close()
        again = MemoryStore()
        again._epoch = self._epoch
        again._objects = self._objects
        again._log = self._log
        again._counters = self._counters
        return again

    def load(self) -> Snapshot:
        """All that was committed."""
        self._refuse_closed()
        objects: list[Stored] = []
        for kind, texts in self._objects.items():
            objects.extend(decode(kind, texts[oid]) for oid in sorted(texts))
        return Snapshot(
            epoch=self._epoch,
            objects=objects,
            executions=[
                decode(HookExecution, self._log[hook_id][execution_id])
                for hook_id in sorted(self._log)
                for execution_id in sorted(self._log[hook_id])
            ],
            counters=dict(self._counters),
        )

    def commit(self, changes: Changes) -> None:
        """Keeps the changes, all or none; raises StoreError when a failure was scripted."""
        self._refuse_closed()
        if self._failures:
            raise StoreError(self._failures.popleft())
        refuse_deposed(changes.epoch, stored=self._epoch)
        puts = [(self._objects[type(stored)], stored.oid, encode(stored)) for stored in changes.puts]
        deletes = [(self._objects[kind], oid) for kind, oid in changes.deletes]
        executions = [(execution, encode(execution)) for execution in changes.executions]
        for pool, oid in deletes:
            pool.pop(oid, None)
            if pool is self._objects[Hook]:
                self._log.pop(oid, None)
        for pool, oid, text in puts:
            pool[oid] = text
        self._forget_closed(changes.puts)
        for execution, text in executions:
            self._add_to_log(execution, text)
        self._counters.update(changes.counters)

    def close(self) -> None:
        """The store is of no use afterwards."""
        self._closed = True

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreError("The store is closed: this controller is stopping.")

    def _forget_closed(self, puts: Iterable[Stored]) -> None:
        for stored in puts:
            if isinstance(stored, Effect) and not stored.state.is_open:
                self._objects[Effect].pop(stored.oid, None)

    def _add_to_log(self, execution: HookExecution, text: str) -> None:
        records = self._log.setdefault(execution.hook_id, {})
        records[execution.execution_id] = text
        for surplus in sorted(records)[:-LOG_RETENTION]:
            del records[surplus]
