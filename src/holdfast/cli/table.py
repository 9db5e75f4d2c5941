"""Tables as OpenNebula prints them: columns are data, cells are cut to the column's width.

A column with ``adjust`` grows to its longest value; columns with ``expand`` share what is left of the terminal's
width.  Trailing blanks are stripped on data lines and kept on the header, as scripts that cut columns expect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from holdfast.cli.errors import CliError
from holdfast.cli.terminal import coloured, harmless, heading

_COLOURS = {
    "green": {"runn", "rdy", "on", "SUCCESS", "DONE", "RUNNING"},
    "red": {"fail", "err", "error", "ERROR", "BLOCKED", "FAILED"},
    "yellow": {"pend", "PENDING", "WATCHING", "PROVING", "FENCING", "PLACING", "RESTARTING", "WAITING", "STARTING"},
}
_COLOURED_COLUMNS = {"STAT", "STATE", "EXECUTION"}


@dataclass(frozen=True, slots=True)
class View:
    """What the cells may depend on besides their object: the time, ids instead of names, raw kilobytes."""

    now_s: float = 0.0
    numeric: bool = False
    kilobytes: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """One column: how wide, which side, and what it shows of an object."""

    name: str
    width: int
    cell: Callable[[Element, View], str]
    description: str = ""
    left: bool = False
    adjust: bool = False
    expand: bool = False
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Table:
    """A set of columns, those shown by default, and named selections."""

    columns: tuple[Column, ...]
    default: tuple[str, ...]
    selections: Mapping[str, tuple[str, ...]] | None = None

    def column(self, name: str) -> Column:
        """The column called ``name`` in any case."""
        found = next((column for column in self.columns if column.name == name.strip().upper()), None)
        if found is None:
            raise CliError(f"Column '{name}' not found")
        return found

    def select(self, names: Sequence[str]) -> list[Column]:
        """The columns called ``names``, in that order."""
        return [self.column(name) for name in names]


def cells_of(columns: Sequence[Column], rows: Sequence[Element], view: View) -> list[list[str]]:
    """What each row shows in each column, uncut."""
    return [[harmless(column.cell(row, view)) for column in columns] for row in rows]


def render(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int | None = None, header: bool = True
) -> list[str]:
    """The printed lines; ``width`` is the terminal's, None when there is none."""
    fitted = _fit(columns, cells, width)
    lines = [heading(" ".join(_pad(column, column.name) for column in fitted))] if header else []
    for row in cells:
        padded = [_pad(column, cell) for column, cell in zip(fitted, row, strict=True)]
        lines.append(_paint(fitted, row, padded))
    return lines


def _fit(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int | None) -> list[Column]:
    fitted = []
    for index, column in enumerate(columns):
        longest = max((len(row[index]) for row in cells), default=0) if column.adjust else 0
        fitted.append(replace(column, width=max(column.width, longest)))
    spare = (width or 0) - sum(column.width for column in fitted) - len(fitted) + 1
    shares = sum(column.share for column in fitted if column.expand)
    if spare <= 0 or not shares:
        return fitted
    return [
        replace(column, width=column.width + int(spare * column.share / shares)) if column.expand else column
        for column in fitted
    ]


def _pad(column: Column, text: str) -> str:
    cut = text[: column.width]
    return f"{cut:<{column.width}}" if column.left else f"{cut:>{column.width}}"


def _paint(columns: Sequence[Column], row: Sequence[str], padded: Sequence[str]) -> str:
    while padded and not padded[-1].strip():
        padded = padded[:-1]
    painted = list(padded)
    if painted:
        painted[-1] = painted[-1].rstrip()
    for index, cell in enumerate(painted):
        if columns[index].name in _COLOURED_COLUMNS:
            colour = next((name for name, words in _COLOURS.items() if row[index].strip() in words), "")
            painted[index] = coloured(cell, colour)
    return " ".join(painted)
