"""The server over real sockets: paths, limits, keep-alive, many clients, and how it starts and stops."""

from __future__ import annotations

import asyncio
import http.client
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
from lxml import etree

from holdfast.api.app import CHUNK_BYTES, App, make_app
from holdfast.api.connection import HEAD_LIMIT_BYTES
from holdfast.api.methods import ApiSettings
from holdfast.api.server import Server, serve
from holdfast.api.xmlrpc import MAX_REQUEST_BYTES
from holdfast.engine.commands import Command
from holdfast.model.user import Actor
from tests.unit.api.world import ADMIN_SESSION, FakeController, call_body, installation, reply_values, vm

LIMIT_S = 10.0
VERSION = call_body("one.system.version", ADMIN_SESSION)
T = TypeVar("T")


@asynccontextmanager
async def served(app: App, keep_alive_s: int = 5) -> AsyncIterator[int]:
    server = Server(app, port=0, keep_alive_s=keep_alive_s)
    await server.start()
    try:
        yield server.addresses[0][1]
    finally:
        await server.stop()


def with_server(client: Callable[[int], T], app: App | None = None, keep_alive_s: int = 5) -> T:
    async def scenario() -> T:
        async with served(app or make_app(installation()), keep_alive_s) as port, asyncio.timeout(LIMIT_S):
            return await asyncio.to_thread(client, port)

    return asyncio.run(scenario())


Response = tuple[int, dict[str, str], bytes]


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b"") -> Response:
    connection.request(method, path, body, {"Content-Type": "text/xml"})
    response = connection.getresponse()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def one_request(method: str, path: str, body: bytes = b"") -> Callable[[int], Response]:
    def client(port: int) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        try:
            return ask(connection, method, path, body)
        finally:
            connection.close()

    return client


@pytest.mark.parametrize("path", ["/RPC2", "/", "/RPC2?x=y"])
def test_calls_are_posted_to_rpc2_or_the_root(path: str) -> None:
    status, headers, body = with_server(one_request("POST", path, VERSION))
    assert status == 200
    assert headers["content-type"].startswith("text/xml")
    assert int(headers["content-length"]) == len(body)
    assert reply_values(body)[0] == "1"


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/RPC2", 405, "POST"),
        ("PUT", "/", 405, "POST"),
        ("POST", "/healthz", 405, "GET, HEAD"),
        ("GET", "/else", 404, None),
        ("POST", "/RPC3", 404, None),
    ],
)
def test_other_paths_and_verbs_are_refused(method: str, path: str, status: int, allowed: str | None) -> None:
    found, headers, _ = with_server(one_request(method, path))
    assert (found, headers.get("allow")) == (status, allowed)


def test_health_is_a_short_ok() -> None:
    assert with_server(one_request("GET", "/healthz"))[::2] == (200, b"ok\n")
    assert with_server(one_request("HEAD", "/healthz"))[::2] == (200, b"")


def test_what_is_no_call_is_a_fault_with_status_200() -> None:
    status, _, body = with_server(one_request("POST", "/RPC2", b"nonsense"))
    assert status == 200
    assert b"<i4>-503</i4>" in body


def raw(port: int, data: bytes) -> bytes:
    """Sends the bytes and reads until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as connection:
        try:
            connection.sendall(data)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            return b""


def head(length: int | str, extra: str = "") -> bytes:
    return f"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{extra}\r\n".encode()


def test_a_request_that_says_it_is_too_long_is_refused_before_it_is_read() -> None:
    assert b" 413 " in with_server(lambda port: raw(port, head(MAX_REQUEST_BYTES + 1)))


def test_a_request_in_chunks_is_refused_as_soon_as_it_is_too_long() -> None:
    statuses = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"x" * 1024 * 1024, "more_body": True}

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        statuses.append(message.get("status"))

    scope = {"type": "http", "method": "POST", "path": "/RPC2", "headers": []}

    async def scenario() -> None:
        await make_app(installation())(scope, receive, send)

    asyncio.run(scenario())
    assert statuses[0] == 413


def test_a_request_that_is_never_completed_is_given_up() -> None:
    app = make_app(installation(), read_limit_s=0.2)
    assert b" 408 " in with_server(lambda port: raw(port, head(100) + b"half"), app)


def test_a_client_that_says_nothing_or_stops_within_the_head_is_hung_up_on() -> None:
    assert with_server(lambda port: raw(port, b""), keep_alive_s=1) == b""
    assert with_server(lambda port: raw(port, b"POST /RPC2 HT"), keep_alive_s=1) == b""


def test_a_head_without_end_is_refused() -> None:
    endless = b"GET /healthz HTTP/1.1\r\nX: " + b"y" * (2 * HEAD_LIMIT_BYTES)
    assert with_server(lambda port: raw(port, endless), keep_alive_s=60) in (b"", *_bad_requests())


def _bad_requests() -> list[bytes]:
    text = f"The head of a request may have {HEAD_LIMIT_BYTES} bytes.".encode()
    return [
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n"
        b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(text), text)
    ]


def test_a_long_body_is_not_taken_for_a_long_head() -> None:
    padded = call_body("one.system.version", ADMIN_SESSION, "x" * (5 * HEAD_LIMIT_BYTES))

    def client(port: int) -> list[int]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        try:
            return [ask(connection, "POST", "/RPC2", padded)[0] for _ in range(3)]
        finally:
            connection.close()

    assert with_server(client) == [200, 200, 200]


def test_a_connection_serves_many_calls_even_after_errors_of_every_kind() -> None:
    controller = installation()
    controller.answer = ZeroDivisionError("a bug")

    def client(port: int) -> tuple[list[int], int]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        connection.connect()
        used = connection.sock
        bodies = [VERSION, b"nonsense", call_body("one.host.delete", ADMIN_SESSION, 2), call_body("no.such"), VERSION]
        statuses = [ask(connection, "POST", "/RPC2", body)[0] for body in bodies]
        same = int(connection.sock is used)
        connection.close()
        return statuses, same

    assert with_server(client, make_app(controller)) == ([200] * 5, 1)


def test_an_old_client_without_keep_alive_gets_its_answer_and_the_end() -> None:
    request = b"POST /RPC2 HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(VERSION), VERSION)
    reply = with_server(lambda port: raw(port, request))
    assert b"\r\nconnection: close\r\n" in reply
    assert reply.endswith(b"</methodResponse>\r\n")


def large() -> FakeController:
    controller = installation()
    controller.put(*(vm(oid) for oid in range(10, 1010)))
    return controller


POOL = call_body("one.vmpool.infoextended", ADMIN_SESSION, -2, -1, -1, -1)


def test_a_reply_of_many_chunks_arrives_whole() -> None:
    _, _, body = with_server(one_request("POST", "/RPC2", POOL), make_app(large()))
    assert len(body) > 4 * CHUNK_BYTES
    assert len(etree.fromstring(reply_values(body)[1])) == 1002


def test_a_client_that_does_not_read_its_reply_keeps_nobody_waiting() -> None:
    def client(port: int) -> int:
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.settimeout(LIMIT_S)
            lazy.connect(("127.0.0.1", port))
            lazy.sendall((head(len(POOL)) + POOL) * 4)
            lazy.recv(100)
            return one_request("POST", "/RPC2", VERSION)(port)[0]

    assert with_server(client, make_app(large())) == 200


def test_eight_clients_at_once_each_get_their_own_answers() -> None:
    def client(port: int, wanted: int) -> set[str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        try:
            body = call_body("one.vm.info", ADMIN_SESSION, wanted)
            replies = [reply_values(ask(connection, "POST", "/RPC2", body)[2])[1] for _ in range(30)]
            return {etree.fromstring(reply).findtext("ID", "") for reply in replies}
        finally:
            connection.close()

    async def scenario() -> list[set[str]]:
        async with served(make_app(large())) as port, asyncio.timeout(LIMIT_S):
            return await asyncio.gather(*(asyncio.to_thread(client, port, 10 + number) for number in range(8)))

    assert asyncio.run(scenario()) == [{str(10 + number)} for number in range(8)]


class SlowController(FakeController):
    """Answers when it is released."""

    def __init__(self) -> None:
        super().__init__(installation().state.users.values())
        self.asked = asyncio.Event()
        self.release = asyncio.Event()

    async def call(self, actor: Actor, command: Command) -> int:
        """Waits to be released."""
        self.asked.set()
        await self.release.wait()
        return await super().call(actor, command)


DELETE = call_body("one.host.delete", ADMIN_SESSION, 2)


def test_stopping_lets_a_running_call_end_and_takes_no_more_connections() -> None:
    async def scenario() -> None:
        controller = SlowController()
        server = Server(make_app(controller), port=0)
        await server.start()
        port = server.addresses[0][1]
        client = asyncio.create_task(asyncio.to_thread(one_request("POST", "/RPC2", DELETE), port))
        async with asyncio.timeout(LIMIT_S):
            await controller.asked.wait()
            stopping = asyncio.create_task(server.stop())
            while True:
                try:
                    await asyncio.to_thread(lambda: socket.create_connection(("127.0.0.1", port), LIMIT_S).close())
                except ConnectionRefusedError:
                    break
                await asyncio.sleep(0.01)
            assert not stopping.done()
            controller.release.set()
            _, _, body = await client
            await stopping
        assert reply_values(body) == ["1", "7", "0"]

    asyncio.run(scenario())


def test_a_caller_whose_patience_ends_is_told_that_the_change_may_still_happen() -> None:
    async def scenario() -> bytes:
        app = make_app(SlowController(), ApiSettings(patience_s=0.05))
        async with served(app) as port, asyncio.timeout(LIMIT_S):
            return (await asyncio.to_thread(one_request("POST", "/RPC2", DELETE), port))[2]

    succeeded, message, code, *_ = reply_values(asyncio.run(scenario()))
    assert (succeeded, code) == ("0", "8192")
    assert "may still happen" in message


def test_an_address_in_use_is_refused_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"Cannot listen on 127.0.0.1 port {port}"):
            asyncio.run(Server(make_app(installation()), port=port).start())


def test_an_inherited_socket_is_served_until_the_server_is_cancelled() -> None:
    async def scenario() -> int:
        sock = socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        task = asyncio.create_task(serve(make_app(installation()), sockets=[sock]))
        async with asyncio.timeout(LIMIT_S):
            status = (await asyncio.to_thread(one_request("GET", "/healthz"), port))[0]
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), LIMIT_S)
        return status

    assert asyncio.run(scenario()) == 200


def test_a_server_that_was_never_started_stops_at_once() -> None:
    asyncio.run(Server(make_app(installation()), port=0).stop())


def test_the_zone_tells_the_endpoint_that_was_chosen() -> None:
    app = make_app(installation(), ApiSettings(endpoint="http://one.example:2633/RPC2"))
    zone = call_body("one.zone.info", ADMIN_SESSION, 0)
    _, _, body = with_server(one_request("POST", "/RPC2", zone), app)
    assert etree.fromstring(reply_values(body)[1]).findtext("TEMPLATE/ENDPOINT") == "http://one.example:2633/RPC2"
