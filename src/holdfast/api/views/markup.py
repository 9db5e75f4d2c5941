"""Small pieces of XML that the views are made of, and the escaping that lets a document travel in an XML-RPC string."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BITS = tuple(f"{who}_{what}" for who in ("OWNER", "GROUP", "OTHER") for what in "UMA")


def text(value: str) -> str:
    """``value`` as element content; characters that XML cannot carry are dropped."""
    if value.isalnum():
        return value
    return _NOT_XML.sub("", value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def embedded(document: str) -> bytes:
    """A document as content of an XML-RPC ``<string>``.  A bare ``>`` is legal there; ``]]>`` is not."""
    legal = _NOT_XML.sub("", document)
    return legal.replace("&", "&amp;").replace("<", "&lt;").replace("]]>", "]]&gt;").replace("\r", "&#13;").encode()


def ids(name: str, values: Iterable[int]) -> str:
    """A list of ids under ``name``, in ascending order."""
    return f"<{name}>{''.join(f'<ID>{value}</ID>' for value in sorted(values))}</{name}>"


def _permissions(bits: int) -> str:
    flags = "".join(f"<{name}>{bits >> (8 - place) & 1}</{name}>" for place, name in enumerate(_BITS))
    return f"<PERMISSIONS>{flags}</PERMISSIONS>"


PERMISSIONS = tuple(_permissions(bits) for bits in range(0o1000))
"""The PERMISSIONS element of each combination of bits, by their number (0o640 is OWNER_U, OWNER_M and GROUP_U)."""
