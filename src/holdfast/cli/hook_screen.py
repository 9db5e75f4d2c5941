"""The columns of ``onehook list`` and ``onehook log``, and the screens of ``onehook show``."""

from __future__ import annotations

import base64
import binascii
import re
from xml.etree.ElementTree import Element

from holdfast.cli.errors import CliError
from holdfast.cli.screen import attributes, labels, print_screen, section, small_table
from holdfast.cli.states import LOCK_NAMES, word
from holdfast.cli.table import Column, Table
from holdfast.cli.terminal import harmless_lines
from holdfast.cli.units import time_text
from holdfast.cli.xmltree import integer_of, number_of, text_of

_LABEL = 18
_BASE64 = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")

HOOK_TABLE = Table(
    columns=(
        Column("ID", 4, lambda hook, view: text_of(hook, "ID"), "identifier", adjust=True),
        Column("NAME", 19, lambda hook, view: text_of(hook, "NAME"), "name", left=True, expand=True),
        Column("TYPE", 8, lambda hook, view: text_of(hook, "TYPE"), "what it waits for: a state or a call", left=True),
    ),
    default=("ID", "NAME", "TYPE"),
)


def _exit_code(record: Element) -> str:
    return text_of(record, "EXECUTION_RESULT/CODE")


def _result(record: Element) -> str:
    # The padding is OpenNebula's.
    return "SUCCESS" if _exit_code(record) == "0" else "  ERROR"


LOG_TABLE = Table(
    columns=(
        Column("HOOK", 5, lambda record, view: text_of(record, "HOOK_ID"), "the hook"),
        Column("ID", 5, lambda record, view: text_of(record, "EXECUTION_ID"), "number of the run"),
        Column(
            "TIMESTAMP", 15, lambda record, view: time_text(number_of(record, "TIMESTAMP"), with_seconds=False), "when"
        ),
        Column("RC", 5, lambda record, view: _exit_code(record), "exit code of the command"),
        Column("EXECUTION", 9, lambda record, view: _result(record), "how it ended", left=True),
    ),
    default=("HOOK", "ID", "TIMESTAMP", "RC", "EXECUTION"),
)


def print_hook(hook: Element) -> None:
    """Prints the hook and its latest runs."""
    pairs = (
        ("ID", text_of(hook, "ID")),
        ("NAME", text_of(hook, "NAME")),
        ("TYPE", text_of(hook, "TYPE")),
        ("LOCK", word(LOCK_NAMES, integer_of(hook, "LOCK/LOCKED"))),
    )
    runs = LOG_TABLE.select(LOG_TABLE.default[1:])
    print_screen(
        [*section(f"HOOK {text_of(hook, 'ID')} INFORMATION"), *labels(pairs, _LABEL)],
        [*section("HOOK TEMPLATE"), *attributes(hook.find("TEMPLATE"))],
        [*section("EXECUTION LOG"), *small_table(runs, hook.findall("HOOKLOG/HOOK_EXECUTION_RECORD"))],
    )


def print_execution(hook: Element, execution_id: int) -> None:
    """Prints one run: the command, what it was given and what it said."""
    records = hook.findall("HOOKLOG/HOOK_EXECUTION_RECORD")
    record = next((record for record in records if integer_of(record, "EXECUTION_ID", -1) == execution_id), None)
    if record is None:
        known = ", ".join(text_of(record, "EXECUTION_ID") for record in records) or "none"
        raise CliError(f"Hook {text_of(hook, 'ID')} has no execution {execution_id}; recorded are: {known}.")
    pairs = [
        ("EXECUTION ID", text_of(record, "EXECUTION_ID")),
        ("TIMESTAMP", time_text(number_of(record, "TIMESTAMP"))),
        ("COMMAND", text_of(record, "EXECUTION_RESULT/COMMAND")),
        ("EXIT CODE", _exit_code(record)),
    ]
    pairs += [(name, text_of(record, name.replace(" ", "_"))) for name in ("REMOTE HOST", "RETRY")]
    print_screen(
        [*section("HOOK EXECUTION RECORD"), *labels([pair for pair in pairs if pair[1]], _LABEL)],
        [*section("ARGUMENTS"), *_arguments(text_of(record, "ARGUMENTS"))],
        [*section("EXECUTION STDOUT"), *_output(record, "STDOUT")],
        [*section("EXECUTION STDERR"), *_output(record, "STDERR")],
    )


def _arguments(text: str) -> list[str]:
    decoded = " ".join(_decoded(word) for word in text.split())
    return harmless_lines(decoded).splitlines()


def _decoded(argument: str) -> str:
    """What an argument that carries XML in base64 says; other arguments as they are."""
    if not _BASE64.fullmatch(argument):
        return argument
    try:
        text = base64.b64decode(argument, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return argument
    return text if text.lstrip().startswith("<") else argument


def _output(record: Element, stream: str) -> list[str]:
    encoded = text_of(record, f"EXECUTION_RESULT/{stream}")
    try:
        return harmless_lines(base64.b64decode(encoded).decode(errors="replace")).rstrip().splitlines()
    except binascii.Error:
        return harmless_lines(encoded).splitlines()
