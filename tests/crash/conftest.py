"""Runs the chosen workflows of the matrix side by side, each in a process without threads, and hands out what came."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec

import pytest

from tests.crash.matrix import Outcome, run_share
from tests.crash.workflows import WORKFLOWS

AT_ONCE = 4
"""More than there are processors: much time goes into waiting for the disk, and for a host's silence."""
SHARES = 6
"""Into so many parts the points of a workflow go whose runs take long."""
Outcomes = Mapping[str, list[Future[Outcome]]]
P = ParamSpec("P")


class Pool:
    """Processes that have everything imported, and may fork."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        context = get_context("forkserver")
        context.set_forkserver_preload(["tests.crash.matrix"])
        self._executor = ProcessPoolExecutor(AT_ONCE, mp_context=context)

    def submit(self, work: Callable[P, Outcome], *args: P.args, **kwargs: P.kwargs) -> Future[Outcome]:
        """Does it in one of them."""
        return self._executor.submit(work, *args, **kwargs)

    def close(self) -> None:
        """What has not begun is not done."""
        self._executor.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """The processes of this run of the tests."""
    made = Pool(tmp_path_factory.mktemp("crash"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest, pool: Pool) -> Outcomes:
    """What becomes of each workflow that was chosen, in one part or several; the long ones begin first."""
    parameters = [getattr(item, "callspec", None) for item in request.session.items]
    chosen = {spec.params["name"] for spec in parameters if spec is not None and "name" in spec.params}
    workflows = sorted((one for one in WORKFLOWS if one.name in chosen), key=lambda one: not one.takes_long)
    shares = {workflow.name: SHARES if workflow.takes_long else 1 for workflow in workflows}
    return {
        name: [pool.submit(run_share, name, pool.directory, number, count) for number in range(count)]
        for name, count in shares.items()
    }
