"""``holdfast check storage``: files that belong to nobody, and files that are missing.

The controller looks (``one.storage.check``), so this can be asked from any machine, while everything runs.  Nothing is
removed: what a file is worth is for the operator to say.  Exit code 0: all is well; 1: something was found; 2: nothing
was found, but somewhere nobody could look.
"""

from __future__ import annotations

import argparse
import sys
from xml.etree.ElementTree import Element

from holdfast.cli.connection import environment, find_connection
from holdfast.cli.errors import CliError
from holdfast.cli.listing import print_document
from holdfast.cli.options import Values
from holdfast.cli.rpc import Client
from holdfast.cli.screen import paragraph
from holdfast.cli.terminal import harmless
from holdfast.cli.units import memory_text
from holdfast.cli.xmltree import ids_of, number_of, parse, text_of

CLEAN, FOUND, NOT_SEEN = 0, 1, 2

_ABOUT = (
    "Finds files that belong to nobody, and files that are missing. The controller looks, so this can be asked from "
    "any machine, while everything runs. Nothing is removed. Exit code 0: all is well; 1: something was found; 2: "
    "nothing was found, but somewhere nobody could look."
)
_FORMATS = (("xml", "x"), ("json", "j"), ("yaml", "y"))
_INDENT = " " * 9
_WIDTH = 80


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command ``check`` with what it can check."""
    check = commands.add_parser("check", help="look whether everything is where it should be")
    subjects = check.add_subparsers(title="subjects", metavar="SUBJECT", required=True)
    storage = subjects.add_parser("storage", help="orphaned and missing files on the datastores", description=_ABOUT)
    for name, letter in _FORMATS:
        storage.add_argument(f"-{letter}", f"--{name}", action="store_true", help=f"print the report as {name.upper()}")
    storage.add_argument("--endpoint", metavar="URL", help="the controller, such as http://localhost:2633/RPC2")
    storage.add_argument("--user", metavar="NAME", help="act as this user")
    storage.add_argument("--password", metavar="PASSWORD", help="their password (asked for when left out)")
    storage.set_defaults(run=_check)


def _check(args: argparse.Namespace) -> int:
    try:
        client = Client(find_connection(environment(), args.endpoint, args.user, args.password))
        document = client.text("one.storage.check")
        report = parse(document, "The server")
    except CliError as error:
        print(error, file=sys.stderr)
        return NOT_SEEN
    if not print_document(document, Values({name: "" for name, _ in _FORMATS if getattr(args, name)})):
        print("\n".join(report_lines(report)))
    return exit_code(report)


def exit_code(report: Element) -> int:
    """What was found counts more than what could not be looked at."""
    if report.findall("FINDINGS/FINDING"):
        return FOUND
    return NOT_SEEN if report.findall("UNSEEN_PLACES/UNSEEN") else CLEAN


def report_lines(report: Element) -> list[str]:
    """The report for people."""
    lines: list[str] = []
    for finding in report.findall("FINDINGS/FINDING"):
        lines += _finding(finding)
    for unseen in report.findall("UNSEEN_PLACES/UNSEEN"):
        lines += [f"NOT SEEN {_where(unseen)}", f"{_INDENT}{harmless(text_of(unseen, 'PATH'))}"]
        lines += paragraph(text_of(unseen, "REASON"), _INDENT)
    return [*lines, *_summary(report)]


def _finding(finding: Element) -> list[str]:
    size_kb = number_of(finding, "SIZE_BYTES") / 1024
    size = f", {memory_text(size_kb)}" if size_kb else ""
    what = f"{text_of(finding, 'KIND'):<8} {_where(finding)}{_whose(finding)}{size}"
    path, reason = f"{_INDENT}{harmless(text_of(finding, 'PATH'))}", text_of(finding, "REASON")
    if len(f"{what}: {reason}") <= _WIDTH:
        return [f"{what}: {reason}", path]
    return [what, path, *paragraph(reason, _INDENT)]


def _where(element: Element) -> str:
    host = text_of(element, "HOST")
    return f"datastore {text_of(element, 'DATASTORE_ID')}" + (f" on {harmless(host)}" if host else "")


def _whose(finding: Element) -> str:
    for kind in ("VM", "IMAGE"):
        oid = text_of(finding, f"{kind}_ID", "-1")
        if oid != "-1":
            return f", {kind if kind == 'VM' else 'image'} {oid}"
    return ""


def _summary(report: Element) -> list[str]:
    kinds = [text_of(finding, "KIND") for finding in report.findall("FINDINGS/FINDING")]
    counts = [f"{kinds.count(kind)} {word}" for kind, word in _WORDS.items() if kind in kinds]
    busy = ids_of(report, "BUSY")
    found = ", ".join(counts) or "nothing found"
    left_out = f" Left out, because work on their files is under way: VMs {', '.join(busy)}." if busy else ""
    return paragraph(f"{text_of(report, 'PLACES')} directories looked through: {found}.{left_out}")


_WORDS = {
    "ORPHAN": "orphaned",
    "STRAY": "not where they belong",
    "REMNANT": "left by interrupted steps",
    "MISSING": "missing",
}
