"""The HTTP connection: uvicorn's, with limits on clients that never finish the head of a request.

uvicorn bounds a connection that idles *after* a request; these are the bounds before it: how long a connection may stay
silent, and how many bytes a head may have.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT_BYTES = 64 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """One client's connection."""

    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the clock for the first request."""
        super().connection_made(transport)
        self._limit_silence()

    def data_received(self, data: bytes) -> None:
        """Feeds the parser; closes when the head of a request grows without end."""
        before = self.cycle
        in_body = before is not None and before.more_body
        super().data_received(data)
        if self.cycle is not before:
            self._head_bytes = 0
        elif not in_body:
            self._head_bytes += len(data)
        if self.transport.is_closing():
            return
        if self._head_bytes > HEAD_LIMIT_BYTES:
            self.send_400_response(f"The head of a request may have {HEAD_LIMIT_BYTES} bytes.")
        elif self.cycle is None or self.cycle.response_complete:
            self._limit_silence()

    def _limit_silence(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
