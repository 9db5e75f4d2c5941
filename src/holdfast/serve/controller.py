"""The asyncio shell of the engine: gathers events, commits batch after batch in a thread, publishes, hands out effects.

One batch is under way at a time; what arrives meanwhile forms the next one, so that one fsync serves many events.  When
the store refuses, callers get the reason at once, and observations and answers are kept and tried again: nothing that
happened in the world is forgotten because a disk was full.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from holdfast.api.ports import Imports, Storage, Transfers
from holdfast.engine.commands import AllocateVm, Command
from holdfast.engine.engine import Batch, Engine
from holdfast.engine.events import Called, Event, HostDegraded
from holdfast.engine.state import State
from holdfast.model.beacon import BeaconReport
from holdfast.model.errors import HoldfastError, StoreError
from holdfast.model.user import Actor
from holdfast.serve.context_look import ContextLook

LOG = logging.getLogger("holdfast.controller")
BATCH_LIMIT = 2000
CHANGES_LIMIT = 1000
"""A batch that reaches it is stored before the next event is looked at; meanwhile the loop hears beacons again."""
RETRY_S = 0.5
Answer = asyncio.Future[int]
Pending = tuple[Event, Answer | None]


class Controller:
    """Runs the engine.

    ``on_publish`` is told of every committed batch, ``on_suspects`` of hosts to investigate; ``catch_up`` makes beacons
    heard that have arrived already, before anybody is judged silent.
    """

    transfers: Transfers
    """The transfer files of VMs; set before the API is served."""
    imports: Imports
    """The files of images that are on their way; likewise."""
    storage: Storage
    """The datastores' files; likewise."""

    def __init__(
        self,
        engine: Engine,
        on_publish: Callable[[Batch], None],
        on_suspects: Callable[[Sequence[int]], None],
        clock: Callable[[], float] = time.time,
        catch_up: Callable[[], None] = lambda: None,
    ) -> None:
        self.engine = engine
        self._catch_up = catch_up
        self._on_publish = on_publish
        self._on_suspects = on_suspects
        self._clock = clock
        self._pending: list[Pending] = []
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self.context: ContextLook | None = None
        """Looks at the files of new VMs; without it that is left to their first start."""
        self._refused_since = 0.0
        self._looked_at = 0.0

    @property
    def state(self) -> State:
        """The committed state."""
        return self.engine.state

    @property
    def beacon_period_s(self) -> float:
        """How often agents report."""
        return self.engine.settings.patience.beacon_period_s

    def heard_at(self, host_id: int) -> float:
        """When the host's agent was last heard."""
        return self.engine.senses.heard_at(host_id)

    async def call(self, actor: Actor, command: Command) -> int:
        """A user's command; answers the object's id, raises the HoldfastError that refuses it."""
        answer: Answer = asyncio.get_running_loop().create_future()
        if self.context is not None and isinstance(command, AllocateVm):
            await self.context.insist(command.text)
        self._put(Called(actor, command), answer)
        return await answer

    def report(self, event: Event) -> None:
        """Something happened: it will be handled, however long the store refuses."""
        self._put(event, None)

    def hear(self, report: BeaconReport) -> None:
        """A beacon arrived."""
        for event in self.engine.senses.hear(report, self._clock()):
            # while the store refuses, what the next beacons will say again is not piled up
            if not self._refused_since or not self._pending or isinstance(event, HostDegraded):
                self._put(event, None)

    def rival(self, host_id: int) -> None:
        """An earlier boot of the host is heard again: two agents claim to be it."""
        self.engine.senses.rival(host_id, self._clock())

    def _put(self, event: Event, answer: Answer | None) -> None:
        self._pending.append((event, answer))
        self._wake.set()

    async def run(self) -> None:
        """Works until cancelled."""
        self.engine.senses.begin(self._clock())
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience_s()):
                    await self._wake.wait()
            await self._work()

    def _patience_s(self) -> float:
        look_at = self._looked_at + self.engine.settings.patience.look_every_s
        due = self.engine.timers.next_at()
        until = look_at if due is None else min(look_at, due)
        return max(0.001, until - self._clock())

    def _mind_the_time(self) -> None:
        """What the passing of time brings comes first in the next batch, however many callers wait."""
        is_time_to_look = self._clock() - self._looked_at >= self.engine.settings.patience.look_every_s
        if is_time_to_look:
            self._catch_up()
        now = self._clock()
        brought = self.engine.due(now)
        if is_time_to_look:
            self._looked_at = now
            brought += self._look(now)
        self._pending[:0] = [(event, None) for event in brought]

    def _look(self, now: float) -> list[Event]:
        events, suspects = self.engine.senses.look(now)
        if suspects:
            self._on_suspects(suspects)
        return events

    async def _work(self) -> None:
        self._mind_the_time()
        while self._pending:
            self._wake.clear()
            taken, self._pending = self._pending[:BATCH_LIMIT], self._pending[BATCH_LIMIT:]
            if not await self._handle(taken):
                return
            self._mind_the_time()
        self._wake.clear()

    async def _handle(self, taken: list[Pending]) -> bool:
        """One batch; False when the store refuses, so that the next try waits a little."""
        now = self._clock()
        try:
            batch = self.engine.stage([event for event, _ in taken], now, CHANGES_LIMIT)
        except Exception:  # noqa: BLE001 - a bug in one event must not stop the others
            if len(taken) > 1:
                return all([await self._handle([one]) for one in taken])
            return self._give_up(taken[0])
        taken, self._pending[:0] = taken[: len(batch.events)], taken[len(batch.events) :]
        if not batch.is_empty:
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self.engine.commit, batch)
            except StoreError as error:
                return await self._refused(taken, error)
        self._accepted()
        self.engine.publish(batch, now)
        self._answer(taken, batch)
        self._on_publish(batch)
        return True

    def _give_up(self, one: Pending) -> bool:
        """An event that the engine cannot handle is a bug: its caller is told, the others go on."""
        event, answer = one
        command = type(event.command).__name__ if isinstance(event, Called) else ""
        LOG.exception("cannot handle %s %s", type(event).__name__, command)
        if answer is not None and not answer.done():
            answer.set_exception(HoldfastError("Internal error: see the controller's log."))
        return True

    async def _refused(self, taken: list[Pending], error: StoreError) -> bool:
        if not self._refused_since:
            self._refused_since = self._clock()
            LOG.error("the store refuses changes: %s", error.message)
        kept = []
        for event, answer in taken:
            if answer is None:
                kept.append((event, answer))
            elif not answer.done():
                answer.set_exception(error)
        self._pending = kept + self._pending
        await asyncio.sleep(RETRY_S)
        self._wake.set()
        return False

    def _accepted(self) -> None:
        if self._refused_since:
            LOG.info("the store accepts changes again, after %.1f s", self._clock() - self._refused_since)
            self._refused_since = 0.0

    @staticmethod
    def _answer(taken: list[Pending], batch: Batch) -> None:
        for (event, answer), result in zip(taken, batch.answers, strict=True):
            if answer is None:
                if isinstance(result, HoldfastError):
                    LOG.warning("%s: %s", type(event).__name__, result.message)
            elif not answer.done():
                if isinstance(result, HoldfastError):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)

    def close(self) -> None:
        """Lets the store's thread end."""
        self._thread.shutdown(wait=True)
