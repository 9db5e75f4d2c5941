"""Prints what XPaths find in a document, as driver scripts expect of ``xpath.rb``: each value, then a NUL.

Usage: xpath.rb [-b BASE64 | --stdin] XPATH...   Without -b the document comes on stdin.
An XPath that begins with %m% prints all values it finds, with blanks between, else the first one.
The exit status is the number of XPaths that found nothing.

With lxml, which the controller has, all of XPath 1.0; without, on a host, what xml.etree can do.  It stands alone,
because ``remotes`` is copied to hosts.
"""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Callable
from typing import Any

Find = Callable[[str], list[str]]

BARE_VALUE = re.compile(r"(\[[^\]=\"']*=\s*)([^\]\"'\s]+)(\s*\])")


def main(words: list[str]) -> int:
    """The exit status."""
    encoded: str | None = None
    paths: list[str] = []
    while words:
        word = words.pop(0)
        if word == "-b":
            encoded = words.pop(0) if words else ""
        elif word in ("-s", "--stdin"):
            encoded = None
        else:
            paths.append(word)
    text = sys.stdin.buffer.read() if encoded is None else base64.b64decode(encoded)
    find = finder(text)
    misses = 0
    for path in paths:
        values = find(path.removeprefix("%m%"))
        misses += not values
        shown = " ".join(values) if path.startswith("%m%") else "".join(values[:1])
        sys.stdout.write(shown + "\0")
    return misses


def finder(text: bytes) -> Find:
    """A function from an XPath to the values that it finds."""
    try:
        from lxml import etree
    except ImportError:
        return plain_finder(text)
    root = etree.fromstring(text, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))

    def find(path: str) -> list[str]:
        found = root.xpath(path)
        return [value(each) for each in found] if isinstance(found, list) else [value(found)]

    return find


def plain_finder(text: bytes) -> Find:
    """As finder, with the standard library alone."""
    from xml.etree import ElementTree

    top = ElementTree.Element("top")
    top.append(ElementTree.fromstring(text))

    def find(path: str) -> list[str]:
        quoted = BARE_VALUE.sub(r"\1'\2'\3", path)
        return [each.text or "" for each in top.findall("." + quoted if quoted.startswith("/") else ".//" + quoted)]

    return find


def value(found: Any) -> str:
    """An element's text, or what a function of XPath gave."""
    if isinstance(found, bool):
        return str(found).lower()
    if isinstance(found, float):
        return f"{found:g}"
    return str(found) if isinstance(found, str) else found.text or ""


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Exception as error:  # noqa: BLE001 - whatever it is, a script is told in one line
        sys.exit(f"ERROR: xpath.rb: {error}")
