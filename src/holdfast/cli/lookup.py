"""From what people type to ids: ``7``, ``web01``, ``1,8..15``, ``a,b,3``; and the filter flag of a list.

A number is taken as an id without asking; names cost one call for the pool, however many there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from holdfast.cli.errors import CliError
from holdfast.cli.rpc import Client
from holdfast.cli.wire import Scalar
from holdfast.cli.xmltree import text_of

_POOLS: dict[str, tuple[str, tuple[Scalar, ...]]] = {
    "CLUSTER": ("one.clusterpool.info", ()),
    "DATASTORE": ("one.datastorepool.info", ()),
    "HOOK": ("one.hookpool.info", ()),
    "HOST": ("one.hostpool.info", ()),
    "IMAGE": ("one.imagepool.info", (-2, -1, -1)),
    "USER": ("one.userpool.info", ()),
    "VM": ("one.vmpool.info", (-2, -1, -1, -1)),
}
_FLAGS = {"a": -2, "all": -2, "m": -3, "mine": -3, "g": -1, "group": -1, "G": -4}
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_RANGE_LIMIT = 100_000


def is_id(text: str) -> bool:
    """Whether ``text`` is a number and so an id."""
    return text.isascii() and text.isdigit()


def is_range(text: str) -> bool:
    """Whether ``text`` is a range of ids, ``5..7``."""
    return _RANGE.fullmatch(text) is not None


def find_id(client: Client, kind: str, text: str) -> int:
    """The id of the object called ``text``, which may be the id itself."""
    return find_ids(client, kind, text, separator=None)[0]


def find_ids(client: Client, kind: str, text: str, separator: str | None = ",") -> list[int]:
    """The ids that a list or range names, each once, in the order given."""
    words = [word for word in (text.split(separator) if separator else [text]) if word]
    if not words:
        raise CliError(f"'{text}' names no {kind}.")
    names = [word for word in words if not is_id(word) and not (separator and _RANGE.fullmatch(word))]
    known = _ids_by_name(client, kind) if names else {}
    found = (number for word in words for number in _expand(kind, word, known, ranges=separator is not None))
    return list(dict.fromkeys(found))


def find_filter(client: Client, text: str | None) -> int:
    """The filter flag of a list: a keyword, a uid, a user's name; everything by default."""
    if text is None:
        return _FLAGS["all"]
    if text in _FLAGS:
        return _FLAGS[text]
    return find_id(client, "USER", text)


def _expand(kind: str, word: str, known: dict[str, list[int]], ranges: bool) -> Iterable[int]:
    if is_id(word):
        return [int(word)]
    if word in known:
        if len(known[word]) > 1:
            raise CliError(f"There are multiple {kind}s with name {word}.")
        return known[word]
    match = _RANGE.fullmatch(word) if ranges else None
    if not match:
        raise CliError(f"{kind} named {word} not found.")
    first, last = int(match.group(1)), int(match.group(2))
    if last < first or last - first >= _RANGE_LIMIT:
        raise CliError(f"The range {word} must rise and hold at most {_RANGE_LIMIT} ids.")
    return range(first, last + 1)


def _ids_by_name(client: Client, kind: str) -> dict[str, list[int]]:
    method, arguments = _POOLS[kind]
    known: dict[str, list[int]] = {}
    for element in client.document(method, *arguments).findall(kind):
        known.setdefault(text_of(element, "NAME"), []).append(int(text_of(element, "ID")))
    return known
