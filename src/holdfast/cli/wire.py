"""The XML-RPC text of a call and of its answer, in the dialect of OpenNebula's API.

Out: ``<string>``, ``<i4>``, ``<i8>``, ``<boolean>``.  In: the same, untyped text, and the fault structure.
No I/O here; :mod:`holdfast.cli.rpc` sends and receives.
"""

from __future__ import annotations

import re
from typing import TypeAlias
from xml.etree.ElementTree import Element

from holdfast.cli.errors import CliError
from holdfast.cli.xmltree import parse

Scalar: TypeAlias = bool | int | str

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


class Fault(Exception):
    """The server's fault structure: the call as such was wrong."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def encode_call(method: str, arguments: tuple[Scalar, ...]) -> bytes:
    """The request body for ``method(*arguments)``."""
    params = "".join(f"<param><value>{_encode(argument)}</value></param>" for argument in arguments)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<methodCall><methodName>{_escape(method)}</methodName><params>{params}</params></methodCall>"
    ).encode()


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _encode(value: Scalar) -> str:
    if isinstance(value, bool):
        return f"<boolean>{int(value)}</boolean>"
    if isinstance(value, int):
        tag = "i4" if -(2**31) <= value < 2**31 else "i8"
        return f"<{tag}>{value}</{tag}>"
    bad = _NOT_XML.search(value)
    if bad:
        raise CliError(f"The text contains the character U+{ord(bad.group()):04X}, which XML cannot carry; remove it.")
    return f"<string>{_escape(value)}</string>"


def decode_reply(text: str, source: str) -> list[Scalar]:
    """The array that the server answered with; raises Fault, or CliError when it is not an XML-RPC reply."""
    root = parse(text, source)
    if root.tag != "methodResponse":
        raise CliError(f"{source} answered with <{root.tag}>, which is not XML-RPC; check the endpoint.")
    fault = root.find("fault/value/struct")
    if fault is not None:
        raise _fault(fault)
    values = root.findall("params/param/value/array/data/value")
    if len(values) < 2:
        raise CliError(f"{source} answered without OpenNebula's result array; check the endpoint.")
    return [_decode(value) for value in values]


def _fault(struct: Element) -> Fault:
    members: dict[str, Scalar] = {}
    for member in struct.findall("member"):
        value = member.find("value")
        if value is not None:
            members[member.findtext("name") or ""] = _decode(value)
    return Fault(int(members.get("faultCode", 0)), str(members.get("faultString", "")))


def _decode(value: Element) -> Scalar:
    typed = next(iter(value), None)
    if typed is None:
        return value.text or ""
    text = typed.text or ""
    if typed.tag == "boolean":
        return text.strip() == "1"
    if typed.tag in ("i4", "int", "i8"):
        return int(text)
    return text
