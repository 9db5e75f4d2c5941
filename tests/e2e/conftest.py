"""Controllers for the tests that need no rack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A controller that runs; its directory is the test's own."""
    running = Daemon(tmp_path / "controller")
    try:
        yield running.start()
    finally:
        running.close()
