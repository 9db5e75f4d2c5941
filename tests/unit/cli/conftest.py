"""The commands run in this process against a scripted server; credentials and home are the test's own."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.cli.scripted_server import ScriptedServer


@pytest.fixture(scope="session")
def running_server() -> Iterator[ScriptedServer]:
    """One server for all tests: starting one takes longer than most of them."""
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def server(running_server: ScriptedServer) -> ScriptedServer:
    """A server that knows no method yet."""
    running_server.forget()
    return running_server


@pytest.fixture
def home(tmp_path: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with credentials, the scripted server as endpoint and nothing on standard input."""
    one = tmp_path / "home" / ".one"
    one.mkdir(parents=True)
    (one / "one_auth").write_text("oneadmin:secret:with:colons\n", encoding="utf-8")
    for name in ("ONE_AUTH", "ONE_LISTCONF", "ONE_XMLRPC_TIMEOUT", "VISUAL", "EDITOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(one.parent))
    monkeypatch.setenv("ONE_XMLRPC", server.endpoint)
    return one.parent


@pytest.fixture
def utc() -> Iterator[None]:
    """Local time is UTC."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets what a command finds on standard input."""

    def give(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    give("")
    return give


@pytest.fixture(autouse=True)
def _ready(home: Path, stdin: Callable[[str], None], utc: None) -> None:
    """Every test of the commands wants these."""
