"""One workflow, undisturbed and then once for each of its points; runs in a process without threads, which may fork.

The undisturbed run writes down its points and its end state.  Each further run starts from a copy of the same
installation, dies at one point, is started again (and dies there again, if it comes there again), and has to come to
the same end state.
"""

from __future__ import annotations

import difflib
import gc
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.end_state import end_state
from tests.crash.points import CHANGE, DONE
from tests.crash.site import Killed, Site, Stuck
from tests.crash.workflows import WORKFLOWS, Workflow, founded, rest

DEATH_LIMIT_S = 10.0
QUIET_S = 0.5
"""So long is looked whether a VM that has come to rest stays there; agents report five times meanwhile."""
UNDISTURBED = "undisturbed"


@dataclass
class Outcome:
    """What became of a workflow: its points, what failed, and how long it took."""

    workflow: str
    points: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    took_s: float = 0.0


class Bench:
    """A site that is founded once in each process and put back for each run."""

    def __init__(self, directory: Path | None = None) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="holdfast-crash-", dir=directory))
        gc.freeze()  # a fork then shares these pages, and collects nothing of them
        self.site = Site(self.place / "site")
        try:
            self._keep("founded", founded)
        except Exception as error:
            log = self.site.said()
            self.close()
            raise Stuck(f"the installation cannot be founded: {error}\n{log}") from error

    def _keep(self, name: str, *acts: object) -> None:
        site = self.site
        site.start()
        for act in acts:
            act(site)  # type: ignore[operator]
            site.wait_for_rest()
        site.kill()
        site.sweep()
        site.put_aside(self.place / name)

    def stage(self, workflow: Workflow) -> None:
        """The installation as it is before the workflow's act."""
        shutil.rmtree(self.place / "stage", ignore_errors=True)
        self.site.put_back(self.place / "founded")
        self._keep("stage", *workflow.before)

    def undisturbed(self, workflow: Workflow) -> tuple[list[str], list[str]]:
        """The points, in their order, and the end state."""
        noted = self.place / "noted"
        noted.unlink(missing_ok=True)
        self._begin()
        self.site.start(noted=noted)
        workflow.act(self.site)
        rest(self.site, workflow)
        state = self._end()
        points = list(dict.fromkeys(noted.read_text(encoding="utf-8").splitlines()))
        return [point for point in points if not (workflow.takes_long and CHANGE in point)], state

    def killed(self, workflow: Workflow, point: str) -> list[str]:
        """The end state after a death at this point, and after another if what is taken up again comes there too."""
        self._begin()
        before = self.site.newest_effect()
        for life, deadly in enumerate((point, point, "")):
            if self._lives(workflow, deadly, before, must_die=life == 0):
                break
        if point.endswith(DONE):
            time.sleep(QUIET_S)
            rest(self.site, workflow)
        return self._end()

    def _lives(self, workflow: Workflow, deadly: str, before: int, must_die: bool) -> bool:
        """One controller, until all is done or it dies; what it finds undone is asked for again."""
        site = self.site
        site.start(deadly=deadly)
        try:
            if site.newest_effect() == before:
                workflow.act(site)
            rest(site, workflow)
            if not must_die:
                return True
            self._await_death()
        except Killed:
            pass
        code = site.bury()
        if code != -signal.SIGKILL:
            raise Stuck(f"the controller ended by itself, code {code}")
        return False

    def _begin(self) -> None:
        self.site.put_back(self.place / "stage")

    def _await_death(self) -> None:
        if not select.select([self.site._pidfd], [], [], DEATH_LIMIT_S)[0]:
            raise Stuck("this point was not reached")

    def _end(self) -> list[str]:
        self.site.kill()
        self.site.sweep()
        return end_state(self.site)

    def recover(self) -> None:
        """After a run that failed."""
        self.site.kill()
        self.site.sweep()

    def close(self) -> None:
        """Nothing is left."""
        self.site.close()
        shutil.rmtree(self.place)


_benches: dict[int, Bench] = {}


def bench(directory: Path | None = None) -> Bench:
    """The bench of this process."""
    if os.getpid() not in _benches:
        _benches[os.getpid()] = Bench(directory)
    return _benches[os.getpid()]


@contextmanager
def _explained(outcome: Outcome, point: str, place: Bench) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what this run came to
        outcome.failures[point] = f"{type(error).__name__}: {error}\n{place.site.said()}"
        place.recover()


def run_share(name: str, directory: Path, number: int, count: int) -> Outcome:
    """Every ``count``-th point of a workflow, for another process to ask for."""
    workflow = next(workflow for workflow in WORKFLOWS if workflow.name == name)
    return run(workflow, bench(directory), lambda points: points[number::count])


def run_faulty(name: str, directory: Path, fault: str, points: list[str]) -> Outcome:
    """These points of a workflow, with controllers that have a fault."""
    place = bench(directory)
    place.site.fault = fault
    try:
        return run(next(one for one in WORKFLOWS if one.name == name), place, lambda _: points)
    finally:
        place.site.fault = ""


def run(workflow: Workflow, place: Bench, choose: Callable[[list[str]], list[str]]) -> Outcome:
    """The undisturbed run of a workflow, and one for each of the chosen points."""
    outcome = Outcome(workflow.name)
    began = time.monotonic()
    with _explained(outcome, UNDISTURBED, place):
        place.stage(workflow)
        points, expected = place.undisturbed(workflow)
        if any("VIOLATION" in line for line in expected):
            raise Stuck("\n".join(expected))
        outcome.points = choose(points)
        for point in outcome.points:
            with _explained(outcome, point, place):
                found = place.killed(workflow, point)
                if found != expected:
                    raise Stuck("another end state:\n" + difference(expected, found))
    outcome.took_s = time.monotonic() - began
    return outcome


def difference(expected: list[str], found: list[str]) -> str:
    """Only the lines that differ."""
    lines = difflib.unified_diff(expected, found, "without the kill", "with it", lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith("@@"))
