"""The ASGI application: ``POST /RPC2`` for calls, ``GET /healthz`` for probes, and limits on what a client may send.

Large replies go out in chunks as the client takes them, so a slow client holds one chunk at a time in the socket and
nobody else waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import Any

from holdfast.api.methods import ApiSettings
from holdfast.api.ports import Controller
from holdfast.api.responder import Responder
from holdfast.api.xmlrpc import MAX_REQUEST_BYTES

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

READ_LIMIT_S = 30.0
"""How long a client may take to send a request."""
CHUNK_BYTES = 256 * 1024

_XML = b"text/xml; charset=utf-8"
_PLAIN = b"text/plain; charset=utf-8"


class _Refused(Exception):
    """The request is answered by an HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class _Gone(Exception):
    """The client hung up before its request was complete."""


def make_app(controller: Controller, settings: ApiSettings | None = None, read_limit_s: float = READ_LIMIT_S) -> App:
    """The application of one controller."""
    responder = Responder(controller, settings)

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"Only http is served, not {scope['type']}")
        path, method = scope["path"], scope["method"]
        try:
            if path not in ("/RPC2", "/"):
                await _other(path, method, send)
            elif method != "POST":
                await _plain(send, 405, "Calls are made by POST\n", ((b"allow", b"POST"),))
            else:
                await _reply(send, await _answer(responder, _body(scope, receive, read_limit_s)))
        except _Refused as refused:
            await _plain(send, refused.status, refused.text, ((b"connection", b"close"),))
        except _Gone:
            return

    return app


async def _answer(responder: Responder, body: Awaitable[bytes]) -> Sequence[bytes]:
    """The reply; a server that stops cancels what is still under way after its grace, and the client is told."""
    try:
        return await responder.reply(await body)
    except asyncio.CancelledError:
        raise _Refused(503, "The controller is stopping: what became of this call is not known\n") from None


async def _other(path: str, method: str, send: Send) -> None:
    if path != "/healthz":
        await _plain(send, 404, "Calls are made at /RPC2\n")
    elif method not in ("GET", "HEAD"):
        await _plain(send, 405, "Health is asked by GET\n", ((b"allow", b"GET, HEAD"),))
    else:
        await _plain(send, 200, "ok\n")


async def _body(scope: MutableMapping[str, Any], receive: Receive, limit_s: float) -> bytes:
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > MAX_REQUEST_BYTES:
            raise _too_long()
    try:
        async with asyncio.timeout(limit_s):
            return await _received(receive)
    except TimeoutError:
        raise _Refused(408, f"The request was not complete after {limit_s:g} s\n") from None


async def _received(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        pieces.append(message.get("body", b""))
        length += len(pieces[-1])
        if length > MAX_REQUEST_BYTES:
            raise _too_long()
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_long() -> _Refused:
    return _Refused(413, f"A request may have {MAX_REQUEST_BYTES} bytes\n")


async def _plain(send: Send, status: int, text: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    body = text.encode()
    await _start(send, status, _PLAIN, len(body), headers)
    await send({"type": "http.response.body", "body": body})


async def _reply(send: Send, pieces: Sequence[bytes]) -> None:
    length = sum(map(len, pieces))
    await _start(send, 200, _XML, length)
    if length <= CHUNK_BYTES:
        await send({"type": "http.response.body", "body": b"".join(pieces)})
        return
    for chunk in _chunks(pieces):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _chunks(pieces: Sequence[bytes]) -> Iterator[bytes]:
    batch: list[bytes] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece)
        if size >= CHUNK_BYTES:
            yield b"".join(batch)
            batch, size = [], 0
    yield b"".join(batch)


async def _start(
    send: Send, status: int, kind: bytes, length: int, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    own = [(b"content-type", kind), (b"content-length", b"%d" % length)]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
