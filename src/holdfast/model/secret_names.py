"""Which attributes hold secrets, by their names: those that templates hide, and that must be in no argument."""

from __future__ import annotations

import re

_SECRET = re.compile(r"(PASS|PASSWORD|PASSWD|PASSPHRASE|SECRET|SECRET_KEY|TOKEN|COMMUNITY|API_?KEY|PRIVATE_KEY|_KG)$")


def is_secret(name: str) -> bool:
    """An attribute of this name holds a secret."""
    return _SECRET.search(name) is not None
