"""What ``holdfast serve`` does around the engine, on virtual time: batches, commits, crashes and restarts.

As there, one batch is under way at a time, what the passing of time brings comes first, callers get a refusing store's
reason at once while observations and answers are kept and tried again.  Here it can also die at any write: before the
commit, after it and before anybody learns of it, while drivers are at work, or when an answer has just arrived.  The
next one begins with what was durable, decoded from the text that was committed.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from holdfast.engine.commands import Command
from holdfast.engine.engine import Batch, Engine
from holdfast.engine.events import Answered, Called, Event, HostDegraded, Resumed
from holdfast.engine.ports import HookMatcher, Store
from holdfast.engine.settings import Settings
from holdfast.model.beacon import BeaconReport
from holdfast.model.effect import Answer, Effect
from holdfast.model.errors import HoldfastError, StoreError
from holdfast.model.user import Actor
from holdfast.simulation.clock import DriftingClock
from holdfast.simulation.kernel import Kernel
from holdfast.simulation.story import Story
from holdfast.store.memory import MemoryStore

ONEADMIN = Actor(0, 0, "oneadmin")
BATCH_LIMIT = 2000
CHANGES_LIMIT = 1000
RETRY_S = 0.5
DOWN = HoldfastError("connection refused: the controller does not run")

Told = Callable[[int | HoldfastError], None]
Pending = tuple[Event, Told | None]
MakeEngine = Callable[[Store, Settings, HookMatcher, float], Engine]


class Crash(Enum):
    """Where the controller dies."""

    NOW = "now"
    BEFORE_COMMIT = "before-commit"
    AFTER_COMMIT = "after-commit"
    BEFORE_ANSWER = "before-answer"


class Around(Protocol):
    """Who is told by the shell: the dispatcher, the watch and the checkers, in one."""

    def started(self, engine: Engine) -> None:
        """A controller has begun with what was durable."""

    def published(self, engine: Engine, batch: Batch) -> None:
        """A batch was committed and is shown."""

    def resumed(self, engine: Engine, batch: Batch) -> None:
        """Its first batch was committed."""

    def reconcile(self, engine: Engine) -> None:
        """Effects that were under way are taken up."""

    def suspects(self, host_ids: list[int]) -> None:
        """These hosts are to be investigated."""

    def died(self) -> None:
        """The controller is gone, with everything it had not stored."""


class Shell:
    """Runs one engine after the other over the same store."""

    def __init__(
        self,
        kernel: Kernel,
        story: Story,
        store: MemoryStore,
        settings: Settings,
        matcher: HookMatcher,
        make_engine: MakeEngine,
    ) -> None:
        self._kernel = kernel
        self._story = story
        self._store = store
        self._settings = settings
        self._matcher = matcher
        self._make_engine = make_engine
        self.clock = DriftingClock(kernel)
        self.engine: Engine | None = None
        self.session = 0
        self.crash_at: Crash | None = None
        self.restart_after_s = 2.0
        self.refuses = False
        """The store refuses every commit."""
        self.commit_s = 0.0
        """How long a commit takes; what arrives meanwhile forms the next batch."""
        self._around: Around | None = None
        self._pending: list[Pending] = []
        self._storing: list[Pending] = []
        """What a commit is about that is under way."""
        self._inbox: list[BeaconReport] = []
        self._asleep_until = 0.0
        self._busy = False
        """A commit is under way."""
        self._working = False
        self._refused = False

    def begin(self, around: Around) -> None:
        """The first start."""
        self._around = around
        self._start(None)

    @property
    def alive(self) -> bool:
        """The process exists and is not stopped."""
        return self.engine is not None and self._kernel.now >= self._asleep_until

    # --- what reaches it

    def call(self, command: Command, told: Told, actor: Actor = ONEADMIN) -> None:
        """A user's command; ``told`` gets the object's id or the error."""
        if self.engine is None:
            told(DOWN)
            return
        self._put(Called(actor, command), told)

    def report(self, event: Event) -> None:
        """Something happened; lost when no controller runs."""
        if self.engine is not None:
            self._put(event, None)

    def answered(self, effect: Effect, answer: Answer) -> None:
        """A driver of the running controller answers."""
        if self.crash_at is Crash.BEFORE_ANSWER:
            self.die("before an answer was stored")
            return
        self.report(Answered(effect.oid, answer))

    def hear(self, report: BeaconReport) -> None:
        """A beacon that counts has arrived; one that the process does not come to read waits in its socket."""
        if self.engine is None:
            return
        if self._busy or not self.alive:
            self._inbox.append(report)
        else:
            self._hear(report)
            if self._pending:
                self._work()

    def rival(self, host_id: int) -> None:
        """An earlier boot of the host is heard again."""
        if self.engine is not None:
            self.engine.senses.rival(host_id, self.clock())

    def _hear(self, report: BeaconReport) -> None:
        engine = self.engine
        assert engine is not None
        for event in engine.senses.hear(report, self.clock()):
            if not self._refused or not self._pending or isinstance(event, HostDegraded):
                self._pending.append((event, None))

    def _put(self, event: Event, told: Told | None) -> None:
        self._pending.append((event, told))
        if self.alive:
            self._work()

    # --- its life

    def sleep(self, seconds: float) -> None:
        """The process is stopped for a while; then it goes on as if nothing had happened."""
        self._asleep_until = self._kernel.now + seconds
        self._kernel.after(seconds, self._wake, self.session)

    def _wake(self, session: int) -> None:
        if session == self.session:
            self._tick_now()

    def die(self, where: str) -> None:
        """All that was not stored is forgotten."""
        if self.engine is None:
            return
        self._story.tell("controller: dies {}; it is started again in {:.1f} s", where, self.restart_after_s)
        self.crash_at = None
        self.engine = None
        self.session += 1
        self._busy = self._refused = False
        self._asleep_until = 0.0
        callers = [told for _, told in (*self._storing, *self._pending) if told is not None]
        self._pending, self._storing, self._inbox = [], [], []
        assert self._around is not None
        self._around.died()
        for told in callers:
            told(DOWN)
        self._store = self._store.reload()
        self._kernel.after(self.restart_after_s, self._start)

    def _start(self, _: object) -> None:
        assert self._around is not None
        if self.engine is not None:
            return
        now = self.clock()
        self.session += 1
        self.engine = engine = self._make_engine(self._store, self._settings, self._matcher, now)
        self._around.started(engine)
        self._story.tell("controller: session {} begins, {} effects are open", self.session, len(engine.state.effects))
        if not self._resume(engine, now):
            return
        self._around.reconcile(engine)
        engine.senses.begin(now)
        self._tick(self.session)

    def _resume(self, engine: Engine, now: float) -> bool:
        """The first batch of a new controller; its orders go out with all others that are open."""
        batch = engine.stage([Resumed()], now)
        if not batch.is_empty:
            if self.crash_at is Crash.BEFORE_COMMIT or self.refuses:
                self.die("before its first commit")
                return False
            engine.commit(batch)
            if self.crash_at is Crash.AFTER_COMMIT:
                self.die("after its first commit")
                return False
        engine.publish(batch, now)
        assert self._around is not None
        self._around.resumed(engine, batch)
        return True

    def _tick(self, session: int) -> None:
        if session != self.session:
            return
        self._kernel.after(self._settings.patience.look_every_s / self.clock.rate, self._tick, session)
        if self._kernel.now >= self._asleep_until and not self._busy:
            self._tick_now()

    def _tick_now(self) -> None:
        engine = self.engine
        if engine is None or self._busy:
            return
        if self._inbox:
            heard, self._inbox = self._inbox, []
            for report in heard:
                self._hear(report)
        now = self.clock()
        brought = engine.due(now)
        events, suspects = engine.senses.look(now)
        if brought or events:
            self._pending[:0] = [(event, None) for event in (*brought, *events)]
        if suspects:
            assert self._around is not None
            self._around.suspects(suspects)
        if self._pending:
            self._work()

    # --- batches

    def _work(self) -> None:
        if self._working:
            return
        self._working = True
        while self._pending and not self._busy and not self._refused and self.engine is not None:
            taken, self._pending = self._pending[:BATCH_LIMIT], self._pending[BATCH_LIMIT:]
            self._handle(taken, self.engine)
            if self.engine is not None and not self._busy and not self._refused:
                brought = self.engine.due(self.clock())
                if brought:
                    self._pending[:0] = [(event, None) for event in brought]
        self._working = False

    def _handle(self, taken: list[Pending], engine: Engine) -> None:
        now = self.clock()
        batch = engine.stage([event for event, _ in taken], now, CHANGES_LIMIT)
        done = len(batch.events)
        taken, self._pending[:0] = taken[:done], taken[done:]
        if not batch.is_empty:
            if self.crash_at is Crash.BEFORE_COMMIT:
                self._pending[:0] = taken
                self.die("before a commit")
                return
            try:
                if self.refuses:
                    raise StoreError("database or disk is full")
                engine.commit(batch)
            except StoreError as error:
                self._refuse(taken, error)
                return
            if self.crash_at is Crash.AFTER_COMMIT:
                self._pending[:0] = taken
                self.die("after a commit, before anybody was told")
                return
            if self.commit_s:
                self._busy, self._storing = True, taken
                self._kernel.after(self.commit_s, self._stored, (self.session, taken, batch, now))
                return
        self._publish(taken, batch, now, engine)

    def _stored(self, stored: tuple[int, list[Pending], Batch, float]) -> None:
        session, taken, batch, now = stored
        if session != self.session or self.engine is None:
            return
        self._busy, self._storing = False, []
        self._publish(taken, batch, now, self.engine)
        self._tick_now()
        self._work()

    def _publish(self, taken: list[Pending], batch: Batch, now: float, engine: Engine) -> None:
        engine.publish(batch, now)
        for (_, told), answer in zip(taken, batch.answers, strict=True):
            if told is not None:
                told(answer)
        assert self._around is not None
        self._around.published(engine, batch)

    def _refuse(self, taken: list[Pending], error: StoreError) -> None:
        self._refused = True
        kept = [(event, told) for event, told in taken if told is None]
        self._pending = kept + self._pending
        self._kernel.after(RETRY_S, self._try_again, self.session)
        for _, told in taken:
            if told is not None:
                told(error)

    def _try_again(self, session: int) -> None:
        if session == self.session and self.engine is not None:
            self._refused = False
            self._tick_now()
            self._work()
