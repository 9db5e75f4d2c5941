"""A real web server on loopback, whose paths misbehave in the ways that servers do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """What is served: by path, the bytes; ``announced`` is the Content-Length of those that lie about it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.files: dict[str, bytes] = {}
        self.announced: dict[str, int] = {}
        self.asked: list[str] = []
        self.ended = threading.Event()


@contextmanager
def served() -> Iterator[Web]:
    """Runs the server until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.asked.append(self.path)
            name = self.path.strip("/")
            if name.startswith("to="):
                self.send_response(302)
                self.send_header("Location", name.removeprefix("to=") or self.path)
                self.end_headers()
            elif name == "garbage":
                self.wfile.write(b"SSH-2.0-OpenSSH_9.9\x1b[2J\r\n")
            elif name in web.files:
                self._send(name, web.files[name])
            else:
                self.send_error(404)

        def _send(self, name: str, content: bytes) -> None:
            self.send_response(200)
            if "unsized" not in name:
                self.send_header("Content-Length", str(web.announced.get(name, len(content))))
            self.end_headers()
            if "cut" in name:
                content = content[: len(content) // 2]
            if "drip" not in name:
                self.wfile.write(content)
                if name == "stall":
                    self.wfile.flush()
                    web.ended.wait()
                return
            for start in range(0, len(content), 1 << 16):
                if web.ended.is_set():
                    return
                self.wfile.write(content[start : start + (1 << 16)])
                time.sleep(0.05)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that goes away is no news

    server = Quiet(("127.0.0.1", 0), Handler)
    web = Web(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
