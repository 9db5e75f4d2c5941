"""Screens kept in ``tests/data/cli``.  ``UPDATE_GOLDEN=1`` records them anew; read the difference before keeping it."""

from __future__ import annotations

import os
from pathlib import Path

_SCREENS = Path(__file__).parents[2] / "data" / "cli"


def own_sample(name: str) -> str:
    """A document of our own extension of the API."""
    return (_SCREENS / name).read_text(encoding="utf-8")


def assert_screen(name: str, printed: str, widest: int = 80) -> None:
    """Fails unless ``printed`` is the recorded screen ``name``."""
    path = _SCREENS / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(printed, encoding="utf-8")
    assert printed == path.read_text(encoding="utf-8")
    assert [line for line in printed.splitlines() if len(line.rstrip()) > widest] == []
