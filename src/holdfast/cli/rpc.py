"""Calls the server's XML-RPC API over HTTP and tells failures in one sentence.

One connection per call: commands make few calls, and a call is never repeated behind the caller's back, because
the first try may have been carried out.  The time limit covers the whole exchange.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit
from xml.etree.ElementTree import Element

from holdfast.cli.connection import Connection
from holdfast.cli.errors import ApiError, CliError, Unreachable
from holdfast.cli.wire import Fault, Scalar, decode_reply, encode_call
from holdfast.cli.xmltree import parse

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

_REPLY_LIMIT_BYTES = 1 << 30
_CHUNK_BYTES = 1 << 20
_NO_SUCH_METHOD = -506


class Client:
    """Calls methods as one user.  Methods are named in full: ``client.text("one.host.info", 3)``."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def text(self, method: str, *arguments: Scalar) -> str:
        """The string that ``method`` answers with."""
        return str(self._call(method, arguments))

    def identifier(self, method: str, *arguments: Scalar) -> int:
        """The object id that ``method`` answers with."""
        return int(self._call(method, arguments))

    def document(self, method: str, *arguments: Scalar) -> Element:
        """The XML document that ``method`` answers with."""
        return parse(self.text(method, *arguments), self.connection.endpoint)

    def _call(self, method: str, arguments: tuple[Scalar, ...]) -> Scalar:
        body = encode_call(method, (self.connection.session, *arguments))
        reply = self._exchange(body)
        try:
            result = decode_reply(reply, self.connection.endpoint)
        except Fault as fault:
            raise self._refused(method, fault) from None
        if result[0] is not True:
            code = int(result[2]) if len(result) > 2 else 0
            object_id = int(result[3]) if len(result) > 3 else -1
            raise ApiError(str(result[1]), code, object_id)
        return result[1]

    def _refused(self, method: str, fault: Fault) -> ApiError:
        if fault.code == _NO_SUCH_METHOD:
            return ApiError(f"{self.connection.endpoint} does not offer {method}.", fault.code)
        return ApiError(f"[{method}] {fault.message}", fault.code)

    def _exchange(self, body: bytes) -> str:
        endpoint = self.connection.endpoint
        url = _split(endpoint)
        import http.client

        deadline = time.monotonic() + self.connection.timeout_s
        connection = _connect(url, self.connection.timeout_s)
        try:
            connection.request("POST", url.path or "/RPC2", body, {"Content-Type": "text/xml"})
            stream = connection.sock
            response = connection.getresponse()
            if response.status != 200:
                answer = f"HTTP {response.status} {response.reason}"
                raise Unreachable(f"{endpoint} answered {answer} instead of XML-RPC; check the endpoint.")
            return self._read(response, stream, deadline).decode()
        except TimeoutError:
            raise self._too_slow() from None
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"Cannot reach {endpoint}: {_reason(error)}.") from None
        except UnicodeDecodeError:
            raise Unreachable(f"{endpoint} answered with something that is not UTF-8 text.") from None
        finally:
            connection.close()

    def _read(self, response: HTTPResponse, stream: socket.socket, deadline: float) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while chunk := response.read1(_CHUNK_BYTES):
            chunks.append(chunk)
            size += len(chunk)
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise self._too_slow()
            if size > _REPLY_LIMIT_BYTES:
                raise Unreachable(f"{self.connection.endpoint} answered with more than {_REPLY_LIMIT_BYTES >> 20} MiB.")
            stream.settimeout(left_s)
        if response.length:
            raise Unreachable(f"The answer of {self.connection.endpoint} broke off after {size} bytes.")
        return b"".join(chunks)

    def _too_slow(self) -> Unreachable:
        return Unreachable(
            f"No answer from {self.connection.endpoint} within {self.connection.timeout_s:g} s; "
            "the request may still be carried out (ONE_XMLRPC_TIMEOUT changes the limit)."
        )


def _split(endpoint: str) -> SplitResult:
    url = urlsplit(endpoint)
    try:
        usable = url.scheme in ("http", "https") and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise CliError(f"The endpoint must look like http://HOST:2633/RPC2, it is '{endpoint}'.")
    return url


def _connect(url: SplitResult, timeout_s: float) -> HTTPConnection:
    import http.client

    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    return kind(url.hostname or "", url.port, timeout=timeout_s)


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused (is the server running?)"
    if isinstance(error, socket.gaierror):
        return "the name is not known (check the endpoint)"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error) or type(error).__name__
