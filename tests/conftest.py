"""The order of the tests: what starts a controller or a rack comes last."""

from __future__ import annotations

import signal

import pytest


def pytest_configure() -> None:
    """Ctrl-C is tested: what is started here must not inherit that it is ignored, as in a shell's background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The quick ones first, so that a slip shows soon."""
    items.sort(key=lambda item: "e2e" in item.path.parts)
