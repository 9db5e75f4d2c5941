"""Numbers that users give: CPU, VCPU, MEMORY and the sizes of disks, each with the limits within which it is a number.

Everything that is counted with them (capacity of hosts, space of datastores, bytes of a domain) stays within 64 bits.
Digits are counted before they are read, so that a number of any length is refused in a short message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite

from holdfast.model.errors import TemplateError
from holdfast.model.template import Template

MAX_MB = 2**30
"""1 PiB: the largest disk, and the most memory."""
MAX_SHOWN = 40
_WHOLE = re.compile(r"-?[0-9]{1,12}")
_NUMBER = re.compile(r"-?(?:[0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})(?:[eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a size may be, and in words what it is."""

    least: float
    most: float
    said: str


LIMITS = {
    "CPU": Limits(0.01, 100_000, "a positive float or integer value, from 0.01 (a hundredth of a core)"),
    "VCPU": Limits(1, 4096, "a positive integer value"),
    "MEMORY": Limits(1, MAX_MB, "a positive integer value"),
    "VCPU_MAX": Limits(1, 4096, "a positive integer value"),
    "MEMORY_MAX": Limits(1, MAX_MB, "a positive integer value"),
    "MEMORY_SLOTS": Limits(1, 256, "a positive integer value"),
}


def shown(text: str) -> str:
    """The user's value in quotes, readable whatever it is: long ones are cut, odd characters are spelled out."""
    cut = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
    plain = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)
    return f'"{plain}"' if cut is text else f'"{plain}" ({len(text)} characters)'


def amount(given: Template, name: str, word: str = "") -> float:
    """The size called ``name``, 0 when it is not given; raises TemplateError naming it (with ``word``) and the rule."""
    text = given.get(name).strip()
    if not text:
        return 0
    syntax, kind = (_NUMBER, "a number") if name == "CPU" else (_WHOLE, "a whole number")
    if not syntax.fullmatch(text):
        raise TemplateError(f"Attribute {name} must be {kind} of at most 12 digits, it is {shown(text)}.")
    value = float(text) if name == "CPU" else int(text)
    if not isfinite(value):
        raise TemplateError(f"Attribute {name} must be a number, it is {shown(text)}.")
    limits = LIMITS[name]
    if value and not limits.least <= value <= limits.most:
        raise TemplateError(f"{name}{word} must be {limits.said}, up to {limits.most}, it is {text}.")
    return value


def whole_number(text: str, most: int) -> int | None:
    """The number that these digits are; None when they are not digits, or more than ``most``."""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most))):
        return None
    number = int(text)
    return number if number <= most else None
