"""The terminal: its width, bold and colour when there is one, and text that cannot play tricks on it."""

from __future__ import annotations

import os
import re
import shutil
import sys

PAGE_WIDTH = 80
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_COLOURS = {"green": "32", "red": "31", "yellow": "33"}


def is_terminal() -> bool:
    """Whether standard output is read by a person."""
    return sys.stdout.isatty()


def width() -> int | None:
    """Columns of the terminal, None when output goes elsewhere."""
    return shutil.get_terminal_size((PAGE_WIDTH, 24)).columns if is_terminal() else None


def heading(text: str) -> str:
    """``text`` bold and underlined on a terminal."""
    return f"\033[1m\033[4m{text}\033[0m" if is_terminal() else text


def coloured(text: str, colour: str) -> str:
    """``text`` in green, red or yellow on a terminal that wants colour."""
    if not colour or not is_terminal() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{_COLOURS[colour]}m{text}\033[0m"


def harmless(text: str) -> str:
    """``text`` on one line, without control characters: names and messages come from other people."""
    return _CONTROL.sub(" ", text)


def harmless_lines(text: str) -> str:
    """As :func:`harmless`, keeping line breaks and tabs."""
    return re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f]", " ", text)
