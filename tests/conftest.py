"""The order of the tests: what starts a controller or a rack comes last."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The quick ones first, so that a slip shows soon."""
    items.sort(key=lambda item: "e2e" in item.path.parts)
