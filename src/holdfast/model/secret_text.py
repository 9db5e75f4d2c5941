"""Hides secrets in free text: what a program printed, what an error message repeats.

The names are those that templates hide (``PASSWORD = x``, ``--fence-password x``, ``"token": "x"``); the user
information of URLs goes, too.  Text that names no value (``the password was refused``) stays as it is.
"""

from __future__ import annotations

import re

MASK = "********"

_NAME = r"""[\w.-]*(?:PASS|PASSWORD|PASSWD|PASSPHRASE|SECRET|SECRET_?KEY|TOKEN|COMMUNITY|API_?KEY|PRIVATE_KEY|_KG)"""
_VALUE = r"""(?:"[^"]*"?|'[^']*'?|[^\s,;&"'<>]+)"""
_ASSIGNED = re.compile(rf"""(?<![\w.-])({_NAME}["']?\s*[=:]\s*)({_VALUE})""", re.IGNORECASE)
_OPTION = re.compile(rf"""(?<!\S)(--?{_NAME}\s+)({_VALUE})""", re.IGNORECASE)
_AUTHORIZATION = re.compile(r"\b(authorization\s*:\s*(?:\w+\s+)?)(\S+)", re.IGNORECASE)
_URL = re.compile(r"((?<![\w+.-])[a-z][a-z0-9+.-]*://[^\s/:@]*:)([^\s/@]+)(?=@)", re.IGNORECASE)
_HINT = re.compile(r"pass|secret|token|community|key|_kg|authorization|://", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """The text with every value that looks like a secret replaced by ``********``."""
    if not _HINT.search(text):
        return text
    for pattern in (_URL, _AUTHORIZATION, _ASSIGNED, _OPTION):
        text = pattern.sub(rf"\g<1>{MASK}", text)
    return text
