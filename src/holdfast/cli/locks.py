"""The options of ``lock``: which actions an object is protected from."""

from __future__ import annotations

from holdfast.cli.grammar import Call
from holdfast.cli.options import Option

LOCK_OPTIONS = (
    Option("use", description="lock every use (the default)"),
    Option("manage", description="lock changes and administration"),
    Option("admin", description="lock administration"),
    Option("all", description="lock everything"),
)
_LEVELS = {"use": 1, "manage": 2, "admin": 3, "all": 4}


def lock_level(call: Call) -> int:
    """The level that the options name; the last of several wins."""
    return _LEVELS[call.values.last_of(*_LEVELS) or "use"]
