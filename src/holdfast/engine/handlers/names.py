"""The rules for names, shared by all pools (OpenNebula: PoolObjectSQL)."""

from __future__ import annotations

from holdfast.engine.state import T
from holdfast.engine.work import SPOKEN, Work
from holdfast.model.errors import ActionError, AllocateError
from holdfast.model.storage import Image
from holdfast.model.vm import Vm

MAX_NAME = 128
FORBIDDEN = set("&|\"'<>/\\\n\r\t")


def checked(work: Work, kind: type[T], name: str, but: int = -1) -> str:
    """The name when the pool accepts it; raises AllocateError naming the rule."""
    problem = _problem(name) or _taken(work, kind, name, but)
    if problem:
        raise AllocateError(SPOKEN[kind], problem)
    return name


def checked_rename(work: Work, kind: type[T], name: str, but: int) -> str:
    """As :func:`checked`, for a rename: raises ActionError."""
    problem = _problem(name) or _taken(work, kind, name, but)
    if problem:
        raise ActionError(problem, but)
    return name


def _problem(name: str) -> str:
    if not name.strip():
        return "Invalid NAME, it cannot be empty."
    if len(name) > MAX_NAME:
        return f"Invalid NAME, it has {len(name)} characters, at most {MAX_NAME} are allowed."
    bad = sorted(FORBIDDEN & set(name))
    if bad:
        return f"Invalid NAME, character {bad[0]!r} is not allowed."
    return ""


def _taken(work: Work, kind: type[T], name: str, but: int) -> str:
    if kind is Vm:
        return ""
    for other in work.draft.matching(kind, name):
        if other.oid != but:
            label = "IMAGE" if kind is Image else SPOKEN[kind].upper()
            return f"NAME is already taken by {label} {other.oid}."
    return ""
