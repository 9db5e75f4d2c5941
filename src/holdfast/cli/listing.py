"""The ``list`` commands: choice of columns, filters, and the output formats table, CSV, XML, JSON and YAML.

Filters compare displayed cells: as numbers when both sides are numbers, otherwise as text.
"""

from __future__ import annotations

import csv
import io
import operator
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from holdfast.cli import pretty, structured, terminal
from holdfast.cli.errors import CliError
from holdfast.cli.options import Option, Values
from holdfast.cli.table import Column, Table, View, cells_of, render
from holdfast.cli.xmltree import parse

FORMATS = (
    Option("xml", "x", description="print the server's XML"),
    Option("json", "j", description="print JSON"),
    Option("yaml", "y", description="print YAML"),
)
LIST_OPTIONS = (
    Option("list", "l", "x,y,z", "columns to show, in this order"),
    Option("listconf", "c", "NAME", "a predefined set of columns (also ONE_LISTCONF)"),
    Option("filter", "f", "COL=VALUE,...", "rows to show; also != < <= > >= and ~ (contains)"),
    Option("operator", argument="AND|OR", description="how several filters combine (default AND)"),
    Option("csv", description="print comma-separated values, uncut"),
    Option("csv-del", argument="CHAR", description="the same, separated by CHAR"),
    Option("no-header", description="leave the header out"),
    Option("no-pager", description="accepted; output is never paged"),
    Option("adjust", argument="x,y,z", description="columns that grow to their longest value"),
    Option("size", "s", "x=N,...", "widths of columns"),
    Option("expand", argument="[x=P,...]", description="columns that share the terminal's spare width"),
    Option("no-expand", description="no column takes the terminal's spare width"),
    Option("describe", description="say what each column is"),
    Option("numeric", "n", description="ids of users and groups instead of names"),
    Option("kilobytes", "k", description="memory in kilobytes"),
    *FORMATS,
)

_CONDITION = re.compile(r"(\w+)\s*(!=|<=|>=|=|<|>|~)(.*)", re.DOTALL)
_TESTS: dict[str, Callable[[str | float, str | float], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One filter: a column, a comparison and the value to compare with."""

    column: Column
    test: str
    value: str

    def holds(self, cell: str) -> bool:
        """Whether a displayed cell passes."""
        shown = cell.strip()
        if self.test == "~":
            return self.value in shown
        try:
            return _TESTS[self.test](float(shown), float(self.value))
        except ValueError:
            return _TESTS[self.test](shown, self.value)


def print_document(text: str, values: Values) -> bool:
    """Prints the document in the format asked for; False when none was."""
    if values.switch("xml"):
        parse(text, "The server")
        print(pretty.indented(text))
    elif values.switch("json"):
        print(structured.json_text(parse(text, "The server")))
    elif values.switch("yaml"):
        print(structured.yaml_text(parse(text, "The server")))
    else:
        return False
    return True


def print_list(fetch: Callable[[], str], element: str, table: Table, values: Values) -> int:
    """Runs a ``list`` command: ``fetch`` asks the server, ``element`` is the tag of a row."""
    if values.switch("describe"):
        print("\n".join(f"{column.name:<20}: {column.description}" for column in table.columns))
        return 0
    columns = chosen_columns(table, values)
    conditions = parse_conditions(table, values)
    text = fetch()
    if not print_document(text, values):
        rows = parse(text, "The server").findall(element)
        for line in table_lines(columns, conditions, rows, values):
            print(line)
    return 0


def table_lines(
    columns: Sequence[Column], conditions: Sequence[Condition], rows: Sequence[Element], values: Values
) -> list[str]:
    """The lines of the table or CSV that the options ask for."""
    view = View(time.time(), values.switch("numeric"), values.switch("kilobytes"))
    kept = _filtered(rows, conditions, view, values.text("operator"))
    cells = cells_of(columns, kept, view)
    header = not values.switch("no-header")
    separator = values.text("csv-del") or ("," if values.switch("csv") else "")
    if separator:
        return _csv_lines(columns, cells, separator, header)
    return render(columns, cells, terminal.width(), header)


def chosen_columns(table: Table, values: Values) -> list[Column]:
    """The columns to show, with the widths that the options ask for."""
    columns = table.select(values.items("list") or _selection(table, values))
    for item in values.items("size"):
        name, _, size = item.partition("=")
        if not size.isdigit() or int(size) < 1:
            raise CliError(f"--size takes COLUMN=N, not '{item}'.")
        columns = _changed(columns, table.column(name), width=int(size))
    for name in values.items("adjust"):
        columns = _changed(columns, table.column(name), adjust=True)
    return _expansion(table, columns, values)


def parse_conditions(table: Table, values: Values) -> list[Condition]:
    """The filters of ``--filter``."""
    combine = values.text("operator")
    if combine is not None and combine.upper() not in ("AND", "OR"):
        raise CliError(f"--operator must be AND or OR, it is '{combine}'.")
    conditions = []
    for item in values.items("filter"):
        match = _CONDITION.fullmatch(item)
        if not match:
            raise CliError(f"--filter takes COLUMN, one of = != < <= > >= ~, and a value; not '{item}'.")
        conditions.append(Condition(table.column(match.group(1)), match.group(2), match.group(3).strip()))
    return conditions


def _selection(table: Table, values: Values) -> tuple[str, ...]:
    asked = values.text("listconf")
    name = asked if asked is not None else os.environ.get("ONE_LISTCONF", "")
    known = {"default": table.default, **(table.selections or {})}
    if asked is not None and name not in known:
        raise CliError(f"There is no predefined list '{name}'; there are: {', '.join(known)}.")
    return known.get(name, table.default)


def _changed(columns: list[Column], target: Column, width: int | None = None, adjust: bool = False) -> list[Column]:
    return [
        replace(
            column, width=column.width if width is None else width, adjust=(adjust or column.adjust) and width is None
        )
        if column.name == target.name
        else column
        for column in columns
    ]


def _expansion(table: Table, columns: list[Column], values: Values) -> list[Column]:
    if values.switch("no-expand"):
        return [replace(column, expand=False) for column in columns]
    if not values.items("expand"):
        return columns
    shares: dict[str, float] = {}
    for item in values.items("expand"):
        name, _, share = item.partition("=")
        try:
            shares[table.column(name).name] = float(share or 1)
        except ValueError:
            raise CliError(f"--expand takes COLUMN or COLUMN=PROPORTION, not '{item}'.") from None
    return [replace(column, expand=column.name in shares, share=shares.get(column.name, 1.0)) for column in columns]


def _filtered(
    rows: Sequence[Element], conditions: Sequence[Condition], view: View, combine: str | None
) -> list[Element]:
    if not conditions:
        return list(rows)
    needed = any if (combine or "").upper() == "OR" else all
    return [row for row in rows if needed(one.holds(one.column.cell(row, view)) for one in conditions)]


def _csv_lines(columns: Sequence[Column], cells: list[list[str]], separator: str, header: bool) -> list[str]:
    if len(separator) != 1:
        raise CliError(f"--csv-del takes one character, not '{separator}'.")
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    if header:
        writer.writerow([column.name for column in columns])
    writer.writerows([cell.strip() for cell in row] for row in cells)
    return out.getvalue().splitlines()
