"""A libvirtd for the tests of a module, another one, and one that a single test may ill-treat."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.vmm.session_daemon import SessionDaemon


@pytest.fixture(scope="module")
def daemon() -> Iterator[SessionDaemon]:
    """Runs during the whole module."""
    yield from _running(1)


@pytest.fixture(scope="module")
def second_daemon() -> Iterator[SessionDaemon]:
    """Another host with the same storage."""
    yield from _running(2)


@pytest.fixture
def fragile_daemon() -> Iterator[SessionDaemon]:
    """Runs during one test."""
    yield from _running(3)


def _running(number: int) -> Iterator[SessionDaemon]:
    # Not in pytest's directory: with its long name the path of a guest's socket would exceed the 107 bytes there are.
    with tempfile.TemporaryDirectory(prefix="hf", ignore_cleanup_errors=True) as directory:
        daemon = SessionDaemon(Path(directory), number)
        try:
            daemon.start()
            yield daemon
        finally:
            daemon.stop()
