"""Reads XML safely and looks things up in it.

A document type may stand only before the root element, so a look at that part is enough to refuse every document
that declares one; entities and external references cannot exist without it.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from holdfast.cli.errors import CliError

_DOCTYPE = re.compile(r"\ufeff?\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*)*<!DOCTYPE", re.DOTALL)


def parse(text: str, source: str) -> Element:
    """The root element of ``text``; ``source`` says in the message where a bad document came from."""
    if _DOCTYPE.match(text):
        raise CliError(f"{source} sent XML with a document type, which is refused.")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise CliError(f"{source} sent XML that cannot be read: {error}.") from None


def text_of(element: Element, path: str, default: str = "") -> str:
    """The text under ``path``, or ``default`` when it is missing or empty."""
    return element.findtext(path) or default


def number_of(element: Element, path: str, default: float = 0.0) -> float:
    """The number under ``path``, or ``default`` when there is none."""
    try:
        return float(element.findtext(path) or default)
    except ValueError:
        return default


def integer_of(element: Element, path: str, default: int = 0) -> int:
    """The whole number under ``path``, or ``default`` when there is none."""
    return int(number_of(element, path, default))


def ids_of(element: Element, path: str) -> list[str]:
    """The ids listed as ``<path><ID>…</ID>…</path>``."""
    return [found.text or "" for found in element.findall(f"{path}/ID")]


def last_history(vm: Element) -> Element | None:
    """The newest history record of a VM: where it is or was last."""
    records = vm.findall("HISTORY_RECORDS/HISTORY")
    return max(records, key=lambda record: integer_of(record, "SEQ")) if records else None
