"""How amounts and times are written: OpenNebula's ``128M``, ``11/14 22:13:20``, ``  0d 00h05``, and plain seconds."""

from __future__ import annotations

import re
import time

from holdfast.cli.errors import CliError

_STEP = 1024
_MB_IN = {"": 1, "M": 1, "G": _STEP, "T": _STEP * _STEP}
_SIZE = re.compile(r"([0-9]{1,40})(?:\.([0-9]{1,40}))?\s*([MGT]?)B?", re.IGNORECASE)


def memory_text(amount_kb: float, raw: bool = False) -> str:
    """Kilobytes as ``512K``, ``128M``, ``379.5M``, ``8G``; ``raw`` leaves the number alone."""
    if raw:
        return f"{amount_kb:.0f}"
    unit = "K"
    for larger in "MGTP":
        if amount_kb < _STEP:
            break
        amount_kb /= _STEP
        unit = larger
    text = f"{amount_kb:.1f}".removesuffix(".0")
    return f"{text}{unit}"


def size_mb(text: str, option: str) -> int:
    """Megabytes from ``512``, ``512m``, ``8g``, ``1.5t``; ``option`` is named in the refusal."""
    match = _SIZE.fullmatch(text.strip())
    whole, fraction, unit = match.groups(default="") if match else ("0", "", "")
    parts: int = 10 ** len(fraction)  # no floats: a number is not changed by reading it, however long it is
    amount = int(whole + fraction) * _MB_IN[unit.upper()]
    if amount < parts:
        raise CliError(f"{option} must be a size of at least 1 MB such as 512, 512m or 8g, it is '{text}'.")
    return (2 * amount + parts) // (2 * parts)


def time_text(epoch_s: float, with_seconds: bool = True) -> str:
    """Local time as ``MM/DD HH:MM:SS``; ``-`` for 0."""
    if epoch_s <= 0:
        return "-"
    return time.strftime("%m/%d %H:%M:%S" if with_seconds else "%m/%d %H:%M", time.localtime(epoch_s))


def period_text(seconds: float) -> str:
    """A length of time as ``  0d 00h05``."""
    minutes = max(0, int(seconds)) // 60
    return f"{minutes // 1440:3d}d {minutes // 60 % 24:02d}h{minutes % 60:02d}"


def prolog_text(seconds: float) -> str:
    """A length of time as ``  0h00m02s``."""
    whole = max(0, int(seconds))
    return f"{whole // 3600:3d}h{whole // 60 % 60:02d}m{whole % 60:02d}s"


def duration_text(seconds: float) -> str:
    """A length of time as people say it: ``6.4 s``, ``3m12s``, ``2h05m``, ``4d03h``."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole // 60 % 60:02d}m"
    return f"{whole // 86400}d{whole // 3600 % 24:02d}h"


def epoch_s(text: str, option: str) -> int:
    """Epoch seconds from ``1795335383``, ``2026-11-22``, ``2026/11/22 08:00`` or ``08:00`` (today), local time."""
    from datetime import date, datetime

    if text.isascii() and text.isdigit() and len(text) > 8:
        return int(text)
    spelled = text.strip().replace("/", "-")
    if ":" in spelled and "-" not in spelled:
        spelled = f"{date.today().isoformat()} {spelled}"
    try:
        return int(datetime.fromisoformat(spelled).timestamp())
    except ValueError:
        raise CliError(f"{option} must be a time such as '2026-11-22 08:00', it is '{text}'.") from None
