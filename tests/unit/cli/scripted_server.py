"""A real XML-RPC server on a free loopback port that answers from a script and records what it was asked.

It uses the standard library's own XML-RPC encoder, so it also checks that ours is understood by others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from xmlrpc import client as xmlrpc

DATA = Path(__file__).parents[2] / "data" / "one"


class Refusal(Exception):
    """Raised by a script to answer with OpenNebula's error array."""

    def __init__(self, message: str, code: int = 2048, object_id: int = -1) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.object_id = object_id


class Raw(Exception):
    """Raised by a script to answer with exactly this HTTP body and status."""

    def __init__(self, body: str, status: int = 200) -> None:
        super().__init__(body)
        self.body = body
        self.status = status


Answer = Callable[..., Any] | str | int


def sample(name: str) -> str:
    """A recorded OpenNebula document."""
    return (DATA / name).read_text(encoding="utf-8")


class ScriptedServer:
    """Answers each method as ``answers`` says: a value, or a function of the arguments after the session."""

    def __init__(self, answers: Mapping[str, Answer] | None = None) -> None:
        self.answers: dict[str, Answer] = dict(answers or {})
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.sessions: list[str] = []
        self.lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/RPC2"

    def forget(self) -> None:
        """Back to an empty script and no calls."""
        self.answers, self.calls, self.sessions = {}, [], []

    def asked(self, *methods: str) -> list[tuple[Any, ...]]:
        """The arguments of all calls of these methods, in order."""
        return [arguments for method, arguments in self.calls if method in methods]

    def methods(self) -> list[str]:
        """The names of all calls, in order."""
        return [method for method, _ in self.calls]

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=10)

    def reply(self, body: bytes) -> tuple[str, int]:
        """The HTTP body and status for a request."""
        parameters, method = xmlrpc.loads(body, use_builtin_types=True)
        session, *arguments = parameters
        with self.lock:
            self.sessions.append(str(session))
            self.calls.append((str(method), tuple(arguments)))
        if method not in self.answers:
            return sample("envelope_fault_unknown_method.xml").replace("one.nosuch.method", str(method)), 200
        answer = self.answers[method]
        try:
            value = answer(*arguments) if callable(answer) else answer
        except Refusal as refusal:
            return _dumped([False, refusal.message, refusal.code, refusal.object_id, -1]), 200
        except Raw as raw:
            return raw.body, raw.status
        return _dumped([True, value, 0]), 200

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body, status = server.reply(self.rfile.read(int(self.headers["Content-Length"])))
                data = body.encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *arguments: object) -> None:
                return

        return Handler


def _dumped(values: list[Any]) -> str:
    return xmlrpc.dumps((values,), methodresponse=True)
