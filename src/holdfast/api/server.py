"""Runs an ASGI application on uvicorn, inside a loop that belongs to somebody else.

The sockets are bound here, before the loop serves them, so that an address in use is an ordinary error; sockets that
were inherited (from a service manager, a test, a successor that is taking over) are served as they are.  Signals are
left to the owner of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence

import uvicorn

from holdfast.api.app import App
from holdfast.api.connection import BoundedProtocol

START_LIMIT_S = 10.0
STOP_LIMIT_S = 5
KEEP_ALIVE_S = 75
MAX_CONNECTIONS = 1000
UNREAD_REPLY_LIMIT_MS = 60_000
"""How long the network may not take a byte of a reply before the connection is given up."""
DEFAULT_PORT = 2633


class _Uvicorn(uvicorn.Server):
    """uvicorn that tells when it is up and leaves signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """A server on given sockets, or on one of its own at ``host`` and ``port`` (0 is any free port)."""

    def __init__(
        self,
        app: App,
        *,
        sockets: Sequence[socket.socket] = (),
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        keep_alive_s: int = KEEP_ALIVE_S,
    ) -> None:
        self._sockets = list(sockets)
        self._address = (host, port)
        self._task: asyncio.Task[None] | None = None
        self._uvicorn = _Uvicorn(_config(app, keep_alive_s))

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens, once started."""
        return [sock.getsockname()[:2] for sock in self._sockets]

    async def start(self) -> None:
        """Listens; raises OSError when the address cannot be had."""
        if not self._sockets:
            self._sockets = [_listening(*self._address)]
        for sock in self._sockets:
            _tune(sock)
        self._task = asyncio.create_task(self._uvicorn.serve(self._sockets), name="api server")
        up = asyncio.create_task(self._uvicorn.up.wait())
        done, _ = await asyncio.wait({self._task, up}, timeout=START_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if up not in done:
            await self.stop()
            raise RuntimeError(f"The API server did not start within {START_LIMIT_S:g} s")

    async def stop(self) -> None:
        """Takes no more connections, lets running calls end, and closes."""
        if self._task is None:
            return
        self._uvicorn.should_exit = True
        await self._task

    async def wait(self) -> None:
        """Returns when the server has stopped."""
        if self._task is not None:
            await asyncio.shield(self._task)


async def serve(
    app: App, *, sockets: Sequence[socket.socket] = (), host: str = "127.0.0.1", port: int = DEFAULT_PORT
) -> None:
    """Serves until cancelled, then stops gracefully."""
    server = Server(app, sockets=sockets, host=host, port=port)
    await server.start()
    try:
        await server.wait()
    finally:
        await server.stop()


def _config(app: App, keep_alive_s: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=STOP_LIMIT_S,
    )


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise OSError(error.errno, f"Cannot listen on {host} port {port}: {error.strerror}") from error


def _tune(sock: socket.socket) -> None:
    """Accepted connections inherit these.  asyncio itself leaves Nagle's delay on when the socket names no protocol."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_REPLY_LIMIT_MS)
