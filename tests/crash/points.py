"""The instants at which a controller can be killed, and collaborators that pass through them.

A production controller is built from a store and drivers.  Wrapped here, each of them says by name where it is: before
and after a commit, at the start and the end of a driver's action, and within it.  A :class:`Points` writes the names
down (that is how the matrix is found) or ends its own process with SIGKILL at one of them.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from holdfast.engine.ports import Changes, Driver, Order, Snapshot, Store
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import EffectKind
from holdfast.model.failover import Failover
from tests.crash.world import World

BEFORE_COMMIT = "before its commit"
COMMITTED = "committed, the action not begun"
HALF = "half done"
DONE = "done, the answer not stored"
ANSWERED = "its end is committed"
CHANGE = " change "
SPAWN_S = 0.002
HOOK_RUNS_S = 0.05
_HEXADECIMAL = re.compile(r"[0-9a-f]{32}")
_CHANGES = ("os.rename", "os.rmdir", "os.symlink", "os.truncate", "subprocess.Popen")


class Points:
    """Passed by their names; ``noted`` is a file that gets them, ``deadly`` the one at which the process dies.

    ``names`` is a file in which effects keep their names from one life of the controller to the next.
    """

    def __init__(self, names: Path, noted: Path | None = None, deadly: str = "") -> None:
        self._file = _appended(noted) if noted else -1
        self._kept = _appended(names)
        self._deadly = deadly
        lines = names.read_text(encoding="ascii").splitlines()
        self.names = {int(oid): name for oid, _, name in (line.partition(" ") for line in lines)}
        """Of effects, by their ids: kind, the how-manieth of its subject, subject."""

    @property
    def matter(self) -> bool:
        """Whether anybody wants to know."""
        return self._file >= 0 or self._deadly != ""

    def name(self, effect: Effect) -> str:
        """What the points of this effect begin with; empty for one that was there before everything."""
        return self.names.get(effect.oid, "")

    def plan(self, effect: Effect) -> str:
        """Names a new effect; one whose plan was never committed comes again, under the same id."""
        if effect.oid not in self.names:
            kind, subject = f"{effect.kind.value} ", f" of {effect.subject}"
            earlier = sum(name.startswith(kind) and name.endswith(subject) for name in self.names.values())
            self.names[effect.oid] = f"{kind}{earlier + 1}{subject}"
            os.write(self._kept, f"{effect.oid} {self.names[effect.oid]}\n".encode())
        return self.names[effect.oid]

    def reach(self, effects: str, point: str) -> None:
        """This point is passed, or not."""
        text = f"{effects}: {point}"
        if self._file >= 0:
            os.write(self._file, f"{text}\n".encode())
        if text == self._deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def reach_soon(self, effects: str, point: str) -> None:
        """As :meth:`reach`, a moment later: a program that is just being started does run by then."""
        text = f"{effects}: {point}"
        if self._file >= 0:
            self.reach(effects, point)
        elif text == self._deadly:
            threading.Thread(target=self._later, args=(effects, point), daemon=True).start()

    def _later(self, effects: str, point: str) -> None:
        time.sleep(SPAWN_S)
        self.reach(effects, point)


class KillingStore:
    """The store, with a point before and after every commit that plans or ends something."""

    def __init__(self, inner: Store, points: Points, known: Iterable[Effect]) -> None:
        self._inner = inner
        self._points = points
        self._known = {effect.oid for effect in known}

    def load(self) -> Snapshot:
        """All that was committed."""
        return self._inner.load()

    def commit(self, changes: Changes) -> None:
        """Stores the changes, if it lives to do so."""
        effects = [stored for stored in changes.puts if isinstance(stored, Effect)]
        fresh = [effect for effect in effects if effect.state.is_open and effect.oid not in self._known]
        self._known.update(effect.oid for effect in fresh)
        planned = [self._points.plan(effect) for effect in fresh]
        going_on = {effect.subject for effect in fresh}
        ended = [effect for effect in effects if not effect.state.is_open and effect.subject not in going_on]
        over = [f"end of failover {one.oid}" for one in changes.puts if isinstance(one, Failover) and not one.is_open]
        for name in (*planned, *over):
            self._points.reach(name, BEFORE_COMMIT)
        self._inner.commit(changes)
        for name in planned:
            self._points.reach(name, COMMITTED)
        for name in (*filter(None, map(self._points.name, ended)), *over):
            self._points.reach(name, ANSWERED)


class KillingDriver:
    """A driver, with a point after every action; what the world refuses does not reach it."""

    def __init__(self, inner: Driver, points: Points, world: World, files: FileChanges) -> None:
        self._inner = inner
        self._points = points
        self._world = world
        self._files = files

    async def run(self, order: Order) -> Answer:
        """Does it, and dies before anybody hears of it."""
        refused = order.effect.kind.value in self._world.look().refusals
        name = self._points.name(order.effect)
        watch = asyncio.create_task(self._watch(order.effect, name))
        with self._files.belonging_to(order.effect, name):
            answer = Answer(False, "the test refuses it") if refused else await self._inner.run(order)
        if order.effect.kind is EffectKind.FENCE_OFF and answer.ok:
            await watch
        watch.cancel()
        if name:
            self._points.reach(name, DONE)
        return answer

    async def _watch(self, effect: Effect, name: str) -> None:
        """Programs of others are half done when they run, or when they show their effect."""
        if not name or not self._points.matter:
            return
        if effect.kind is EffectKind.HOOK:
            await asyncio.sleep(HOOK_RUNS_S)
            self._points.reach(name, f"{HALF}, the hook runs")
        elif effect.kind is EffectKind.FENCE_OFF:
            while self._world.look().is_on(effect.host_id):
                await asyncio.sleep(SPAWN_S)
            self._points.reach(name, f"{HALF}, the power is off, the agent has not said so")

    async def probe(self, order: Order) -> Answer | None:
        """As the driver does; what is refused was not done."""
        refused = order.effect.kind.value in self._world.look().refusals
        return None if refused else await self._inner.probe(order)


class FileChanges:
    """Every change that a transfer makes to a file of its VM is a point: the interpreter tells of it beforehand."""

    def __init__(self, points: Points, var: Path) -> None:
        self._points = points
        self._own = re.compile(re.escape(str(var)) + r"/(?:(?:datastores/\d+|vms)/(\d+)(?:/|$)|datastores/\d+/\w{32})")
        self._under_way: dict[str, str] = {}
        self._counted: Counter[str] = Counter()
        if points.matter:
            sys.addaudithook(self._hear)

    def belonging_to(self, effect: Effect, name: str) -> _Belonging:
        """Within, changes to the files of the effect's VM are its points."""
        floor = effect.kind.value.partition(".")[0]
        owner = {"tm": f"VM {effect.subject}", "image": "image"}.get(floor, "") if name else ""
        return _Belonging(self._under_way, owner, name)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._under_way or not _changes_something(event, args):
            return
        words = [str(word) for word in args[1]] if event == "subprocess.Popen" else [str(word) for word in args[:2]]
        for word in words:
            found = self._own.search(word)
            owner = "" if found is None else f"VM {found.group(1)}" if found.group(1) else "image"
            name = self._under_way.get(owner, "")
            if name:
                self._pass(name, event, words, word)
                return

    def _pass(self, name: str, event: str, words: list[str], word: str) -> None:
        self._counted[name] += 1
        number = self._counted[name]
        subject = _HEXADECIMAL.sub("…", Path(word).name)
        if event == "subprocess.Popen":
            self._points.reach(name, f"{HALF}, before{CHANGE}{number}, {words[0]} {subject}")
            self._points.reach_soon(name, f"{HALF}, during{CHANGE}{number}, {words[0]} {subject}")
        else:
            self._points.reach(name, f"{HALF}, before{CHANGE}{number}, {event.removeprefix('os.')} {subject}")


class _Belonging:
    def __init__(self, under_way: dict[str, str], owner: str, name: str) -> None:
        self._under_way, self._owner, self._name = under_way, owner, name

    def __enter__(self) -> None:
        if self._owner:
            self._under_way[self._owner] = self._name

    def __exit__(self, *_: object) -> None:
        self._under_way.pop(self._owner, None)


def _appended(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _changes_something(event: str, args: tuple[Any, ...]) -> bool:
    if event == "open":
        return isinstance(args[2], int) and bool(args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    if event in ("os.mkdir", "os.remove"):
        return os.path.lexists(args[0]) is (event == "os.remove")
    return event in _CHANGES
