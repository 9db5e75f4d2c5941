"""Makes text from outside fit to be shown and stored: what a program printed, what an error message repeats.

Secrets are known by their names, those that templates hide (``PASSWORD = x``, ``--password x``, ``"token": "x"``); the
user information of URLs goes, too.  Text that names no value (``the password was refused``) stays as it is.
"""

from __future__ import annotations

import re

MASK = "********"
OMISSION = " (...) "

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


def printable(text: str) -> str:
    """One line of text that can be shown and stored anywhere: characters that cannot be printed are escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else " " if char.isspace() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def shortened(text: str, limit: int) -> str:
    """At most about ``limit`` characters of the text: its beginning and its end."""
    return text if len(text) <= limit else f"{text[: limit // 2]}{OMISSION}{text[-(limit // 2) :]}"
