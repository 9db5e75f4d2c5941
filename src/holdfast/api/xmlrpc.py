"""XML-RPC as OpenNebula speaks it.

Requests may use ``int``, ``i4``, ``i8``, ``boolean``, ``string``, untyped values and arrays; values of other types are
read as :class:`Foreign`, which no parameter accepts but which may stand where extra arguments are ignored.  Entities
and document types are refused.  A reply is one array: ``[true, value, 0]`` for a success, ``[false, message, code,
object id, -1]`` for a failure.  What is not a proper call gets a fault with the code of OpenNebula's library.

A reply is a list of pieces, so that pools are sent without being put together first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lxml import etree

from holdfast.api.views.markup import embedded

MAX_REQUEST_BYTES = 10 * 1024 * 1024
MAX_PARAMS = 64
MAX_DEPTH = 8

TYPE_ERROR = -501
PARSE_ERROR = -503
NO_SUCH_METHOD = -506
LIMIT_EXCEEDED = -509

_PARSER = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    huge_tree=False,
    load_dtd=False,
    remove_comments=True,
    remove_pis=True,
)
_WHOLE_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,19}\s*")
_I4 = range(-(2**31), 2**31)
_I8 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A value of a type that no OpenNebula method takes."""

    type: str


Value = bool | int | str | Foreign | list["Value"]


@dataclass(frozen=True, slots=True)
class Request:
    """A call: the method's name and its arguments, the session first."""

    method: str
    params: tuple[Value, ...]


class Fault(Exception):
    """The call itself is wrong; answered by a fault instead of a reply."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def parse_request(body: bytes) -> Request:
    """The call in ``body``; raises Fault."""
    if len(body) > MAX_REQUEST_BYTES:
        raise Fault(LIMIT_EXCEEDED, f"The request is longer than {MAX_REQUEST_BYTES} bytes")
    try:
        root = etree.fromstring(body, _PARSER)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Fault(PARSE_ERROR, f"The request is not well-formed XML: {error}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise Fault(PARSE_ERROR, "The request has a document type, which is not allowed")
    if root.tag != "methodCall":
        raise Fault(PARSE_ERROR, "The request is not a methodCall")
    name = root.findtext("methodName")
    if not name or not name.strip():
        raise Fault(PARSE_ERROR, "The request has no methodName")
    return Request(name.strip(), _params(root.find("params")))


def _params(params: etree._Element | None) -> tuple[Value, ...]:
    if params is None:
        return ()
    if len(params) > MAX_PARAMS:
        raise Fault(LIMIT_EXCEEDED, f"The request has more than {MAX_PARAMS} parameters")
    return tuple(_param(param) for param in params)


def _param(param: etree._Element) -> Value:
    if param.tag != "param" or len(param) != 1:
        raise Fault(PARSE_ERROR, "Each member of params must be a param with one value")
    return _value(param[0], MAX_DEPTH)


def _value(value: etree._Element, depth: int) -> Value:
    if value.tag != "value" or len(value) > 1:
        raise Fault(PARSE_ERROR, f"Expected a value with one type, found <{value.tag}>")
    if not depth:
        raise Fault(LIMIT_EXCEEDED, f"Arrays are nested more than {MAX_DEPTH} deep")
    if not len(value):
        return value.text or ""
    typed = value[0]
    if typed.tag == "array":
        return _array(typed, depth)
    read = _READERS.get(typed.tag)
    if read is None:
        return Foreign(str(typed.tag))
    if len(typed):
        raise Fault(PARSE_ERROR, f"A value of type {typed.tag} cannot have elements in it")
    return read(typed.text or "")


def _array(array: etree._Element, depth: int) -> Value:
    if len(array) != 1 or array[0].tag != "data":
        raise Fault(PARSE_ERROR, "An array must have one data element")
    return [_value(member, depth - 1) for member in array[0]]


def _whole(bounds: range) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not _WHOLE_NUMBER.fullmatch(text) or int(text) not in bounds:
            raise Fault(
                PARSE_ERROR, f'"{text[:40]}" is not a whole number between {bounds.start} and {bounds.stop - 1}'
            )
        return int(text)

    return read


def _boolean(text: str) -> bool:
    flag = text.strip()
    if flag not in ("0", "1"):
        raise Fault(PARSE_ERROR, f'A boolean is 0 or 1, not "{text[:40]}"')
    return flag == "1"


_READERS: dict[str, Callable[[str], Value]] = {
    "int": _whole(_I4),
    "i4": _whole(_I4),
    "i8": _whole(_I8),
    "boolean": _boolean,
    "string": str,
}

_OPEN = b'<?xml version="1.0" encoding="UTF-8"?>\r\n<methodResponse>\r\n'
_CLOSE = b"</methodResponse>\r\n"
_ARRAY = _OPEN + b"<params>\r\n<param><value><array><data>\r\n"
_ARRAY_END = b"</data></array></value></param>\r\n</params>\r\n" + _CLOSE
_SUCCESS = _ARRAY + b"<value><boolean>1</boolean></value>\r\n<value>"
_SUCCESS_END = b"</value>\r\n<value><i4>0</i4></value>\r\n" + _ARRAY_END
_DOCUMENT = _SUCCESS + b"<string>"
_DOCUMENT_END = b"</string>" + _SUCCESS_END
_FAILURE = _ARRAY + b"<value><boolean>0</boolean></value>\r\n<value><string>"


def document_reply(pieces: Sequence[bytes]) -> list[bytes]:
    """Success with a document in pieces that are escaped already."""
    return [_DOCUMENT, *pieces, _DOCUMENT_END]


def text_reply(text: str) -> list[bytes]:
    """Success with a text."""
    return document_reply([embedded(text)])


def int_reply(value: int) -> list[bytes]:
    """Success with a number, most often an object's id."""
    kind = b"i4" if value in _I4 else b"i8"
    return [_SUCCESS + b"<%b>%d</%b>" % (kind, value, kind) + _SUCCESS_END]


def error_reply(message: str, code: int, object_id: int) -> list[bytes]:
    """Failure; the last element says that no replication failed."""
    shown_id = object_id if object_id in _I4 else -1
    return [
        _FAILURE
        + embedded(message)
        + b"</string></value>\r\n<value><i4>%d</i4></value>\r\n<value><i4>%d</i4></value>\r\n" % (code, shown_id)
        + b"<value><i8>-1</i8></value>\r\n"
        + _ARRAY_END
    ]


def fault_reply(fault: Fault) -> list[bytes]:
    """The fault."""
    return [
        _OPEN
        + b"<fault>\r\n<value><struct>\r\n<member><name>faultCode</name>\r\n"
        + b"<value><i4>%d</i4></value></member>\r\n" % fault.code
        + b"<member><name>faultString</name>\r\n<value><string>"
        + embedded(fault.message)
        + b"</string></value></member>\r\n</struct></value>\r\n</fault>\r\n"
        + _CLOSE
    ]


def value_reply(value: str | Sequence[str] | Sequence[Sequence[str]]) -> list[bytes]:
    """A bare value, as the ``system`` methods answer."""
    return [_OPEN + b"<params>\r\n<param>" + _encoded(value) + b"</param>\r\n</params>\r\n" + _CLOSE]


def _encoded(value: str | Sequence[str] | Sequence[Sequence[str]]) -> bytes:
    if isinstance(value, str):
        return b"<value><string>" + embedded(value) + b"</string></value>"
    return b"<value><array><data>" + b"".join(map(_encoded, value)) + b"</data></array></value>"
