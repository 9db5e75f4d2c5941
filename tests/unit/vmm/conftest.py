"""A libvirtd for the tests of a module, and one that a single test may ill-treat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.vmm.session_daemon import SessionDaemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionDaemon]:
    """Runs during the whole module."""
    yield from _running(tmp_path_factory.mktemp("d") / "h1", 1)


@pytest.fixture
def fragile_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionDaemon]:
    """Runs during one test."""
    yield from _running(tmp_path_factory.mktemp("f") / "h2", 2)


def _running(directory: Path, number: int) -> Iterator[SessionDaemon]:
    daemon = SessionDaemon(directory, number)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()
