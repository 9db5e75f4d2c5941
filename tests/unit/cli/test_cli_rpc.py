"""Calls over a real socket, and one clear sentence for everything that can go wrong there."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from holdfast.cli.connection import Connection
from holdfast.cli.errors import ApiError, CliError, Unreachable
from holdfast.cli.rpc import Client
from tests.unit.cli.scripted_server import Raw, Refusal, ScriptedServer


def client_of(endpoint: str, timeout_s: float = 10.0) -> Client:
    return Client(Connection(endpoint, "oneadmin:secret", timeout_s))


@contextmanager
def one_answer(data: bytes, stay_open: threading.Event | None = None, trickle: bytes = b"") -> Iterator[str]:
    """A server for one connection that sends ``data`` whatever it is asked, and then ``trickle`` again and again."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            _whole_request(connection)
            connection.sendall(data)
            while stay_open is not None and not stay_open.wait(0.02 if trickle else 10):
                connection.sendall(trickle)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/RPC2"
    finally:
        if stay_open is not None:
            stay_open.set()
        thread.join(10)
        listener.close()


def _whole_request(connection: socket.socket) -> None:
    """Closing a connection with something unread would reset it, and the answer might be lost."""
    connection.settimeout(10)
    request = b""
    while not request.endswith(b"</methodCall>"):
        piece = connection.recv(1 << 16)
        assert piece, "the client hung up"
        request += piece


def test_the_session_comes_first_and_the_values_keep_their_types(server: ScriptedServer) -> None:
    server.answers["one.vm.deploy"] = 7
    assert client_of(server.endpoint).identifier("one.vm.deploy", 7, 2, True, -1, "") == 7
    assert server.sessions == ["oneadmin:secret"]
    assert server.calls == [("one.vm.deploy", (7, 2, True, -1, ""))]


def test_a_refusal_carries_message_code_and_object(server: ScriptedServer) -> None:
    def refuse(vm: int) -> int:
        raise Refusal("[one.vm.info] Error getting virtual machine [9].", 1024, vm)

    server.answers["one.vm.info"] = refuse
    with pytest.raises(ApiError, match=r"^\[one.vm.info\] Error getting virtual machine \[9\]\.$") as caught:
        client_of(server.endpoint).text("one.vm.info", 9)
    assert (caught.value.code, caught.value.object_id) == (1024, 9)


def test_an_unknown_method_is_told_with_the_endpoint(server: ScriptedServer) -> None:
    with pytest.raises(ApiError, match=r"does not offer one\.failoverpool\.info"):
        client_of(server.endpoint).text("one.failoverpool.info")


def test_a_closed_port_is_told_as_connection_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match=rf"Cannot reach http://127\.0\.0\.1:{port}/RPC2: connection refused"):
        client_of(f"http://127.0.0.1:{port}/RPC2").text("one.system.version")


def test_silence_ends_with_the_time_limit() -> None:
    with (
        one_answer(b"", threading.Event()) as endpoint,
        pytest.raises(Unreachable, match=r"No answer .* within 0\.2 s; the request may still be carried out"),
    ):
        client_of(endpoint, timeout_s=0.2).text("one.system.version")


def test_an_answer_that_stalls_half_way_ends_with_the_time_limit() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n<methodResponse>"
    with one_answer(head, threading.Event()) as endpoint, pytest.raises(Unreachable, match="No answer"):
        client_of(endpoint, timeout_s=0.2).text("one.system.version")


def test_an_answer_that_trickles_in_ends_with_the_time_limit_for_the_whole() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"
    with one_answer(head, threading.Event(), trickle=b"<") as endpoint, pytest.raises(Unreachable, match="No answer"):
        client_of(endpoint, timeout_s=0.2).text("one.system.version")


def test_an_answer_that_breaks_off_is_not_taken_for_whole() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n<methodResponse>"
    with one_answer(head) as endpoint, pytest.raises(Unreachable, match="broke off after 16 bytes"):
        client_of(endpoint).text("one.system.version")


def test_a_server_that_does_not_speak_http_is_told(server: ScriptedServer) -> None:
    with one_answer(b"220 smtp ready\r\n") as endpoint, pytest.raises(Unreachable, match="Cannot reach"):
        client_of(endpoint).text("one.system.version")


def test_another_http_status_is_told(server: ScriptedServer) -> None:
    def missing() -> str:
        raise Raw("not here", 404)

    server.answers["one.system.version"] = missing
    with pytest.raises(Unreachable, match="answered HTTP 404 Not Found instead of XML-RPC"):
        client_of(server.endpoint).text("one.system.version")


@pytest.mark.parametrize("endpoint", ["localhost:2633", "ftp://a/RPC2", "http://", "http://a:port/RPC2"])
def test_an_endpoint_that_is_no_url_is_refused_with_an_example(endpoint: str) -> None:
    with pytest.raises(CliError, match=r"must look like http://HOST:2633/RPC2"):
        client_of(endpoint).text("one.system.version")


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(Unreachable, match="the name is not known"):
        client_of("http://holdfast.invalid:1/RPC2").text("one.system.version")


def test_a_document_with_a_document_type_inside_the_answer_is_refused(server: ScriptedServer) -> None:
    server.answers["one.vm.info"] = '<!DOCTYPE VM [<!ENTITY x SYSTEM "file:///etc/passwd">]><VM>&x;</VM>'
    with pytest.raises(CliError, match="document type"):
        client_of(server.endpoint).document("one.vm.info", 1)
