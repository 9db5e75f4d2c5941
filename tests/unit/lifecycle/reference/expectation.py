"""A row where Holdfast differs on purpose: the name of the deviation, and what Holdfast does instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from tests.unit.lifecycle.reference.rows import Row


@dataclass(frozen=True, slots=True)
class Instead:
    """What Holdfast does: what the row says, but for some phrases or columns; or it refuses, and how the refusal goes.

    ``but`` puts phrases in the place of others, wherever these are in the row.  It speaks of some variants (all of the
    row's own, if none are named) and circumstances; variants that are not the row's own are those in which the reason
    for the deviation is gone.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    but: Mapping[str, str] = field(default_factory=dict)
    variants: tuple[str, ...] = ()
    circumstances: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Deviation:
    """Why a row is different (each reason by its name), and how."""

    names: tuple[str, ...]
    cases: tuple[Instead, ...]


Table = dict[str, Deviation]


def keys(what: str, names: str) -> tuple[str, ...]:
    """The keys of the rows of an event or operation in these positions."""
    return tuple(f"{what} in {name}" for name in names.split())


def entries(rows: Iterable[str], names: tuple[str, ...], *cases: Instead) -> Table:
    """The same deviation for several rows."""
    return {key: Deviation(names, cases) for key in rows}


_WORDED = ("history_effect", "side_effects", "notes")


def _reworded(row: Row, instead: Instead) -> Row:
    columns = dict(instead.columns)
    for old, new in instead.but.items():
        found = [name for name in _WORDED if old in row.columns.get(name, "")]
        assert found, f"{row.key} does not say: {old}"
        columns.update({name: columns.get(name, row[name]).replace(old, new) for name in found})
    return row.but(columns)


def differences(reader: ModuleType, row: Row, instead: Instead | None = None) -> list[str]:
    """How Holdfast differs from the row (as the reader of its table sees it), or from what it is said to do instead."""
    instead = instead or Instead()
    meant = _reworded(reader.meaning_of(row), instead)
    said = []
    for step in reader.steps(row, instead.variants, instead.circumstances):
        if instead.refused:
            found = [] if instead.refused in step.refusal else [f"is not refused so, but: {step.refusal or 'accepted'}"]
        else:
            found = reader.differences_of(meant, step)
        said += [f"({step.event.value}) {each}" for each in found]
    return list(dict.fromkeys(said))
