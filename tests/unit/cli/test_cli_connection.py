"""Which endpoint and which credentials are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.cli.connection import DEFAULT_ENDPOINT, Connection, find_connection, find_endpoint, find_session
from holdfast.cli.errors import CliError


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """``~/.one`` of a user without credentials."""
    directory = tmp_path / "user" / ".one"
    directory.mkdir(parents=True)
    return directory


def test_option_wins_over_environment_and_file(one: Path) -> None:
    (one / "one_endpoint").write_text("http://file:1/RPC2\n", encoding="utf-8")
    (one / "one_auth").write_text("a:b", encoding="utf-8")
    environ = {"HOME": str(one.parent), "ONE_XMLRPC": "http://environment:1/RPC2"}
    assert find_connection(environ, endpoint="http://option:1/RPC2").endpoint == "http://option:1/RPC2"
    assert find_connection(environ).endpoint == "http://environment:1/RPC2"
    del environ["ONE_XMLRPC"]
    assert find_connection(environ).endpoint == "http://file:1/RPC2"
    (one / "one_endpoint").unlink()
    assert find_endpoint({"HOME": str(one.parent)}) == DEFAULT_ENDPOINT


def test_credentials_come_from_options_then_one_auth_then_home(one: Path, tmp_path: Path) -> None:
    (one / "one_auth").write_text("home:1\n", encoding="utf-8")
    named = tmp_path / "auth"
    named.write_text("  named:2:3  \nsecond line\n", encoding="utf-8")
    environ = {"HOME": str(one.parent), "ONE_AUTH": str(named)}
    assert find_session(environ, "me", "4:5") == "me:4:5"
    assert find_session(environ) == "named:2:3"
    assert find_session({"HOME": str(one.parent)}) == "home:1"


def test_no_credentials_at_all_tells_the_ways_to_give_them(one: Path) -> None:
    with pytest.raises(CliError, match=r"No credentials: .*one_auth.*ONE_AUTH.*--user"):
        find_session({"HOME": str(one.parent)})


def test_a_one_auth_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"Cannot read .*nowhere: No such file"):
        find_session({"ONE_AUTH": str(tmp_path / "nowhere")})


def test_a_credential_file_without_colon_is_refused_without_showing_it(tmp_path: Path) -> None:
    (tmp_path / "auth").write_text("sesame", encoding="utf-8")
    with pytest.raises(CliError, match="NAME:PASSWORD") as caught:
        find_session({"ONE_AUTH": str(tmp_path / "auth")})
    assert "sesame" not in str(caught.value)


def test_user_without_password_needs_a_terminal() -> None:
    with pytest.raises(CliError, match="--password when there is no terminal"):
        find_session({}, user="me")


def test_password_without_user_is_refused() -> None:
    with pytest.raises(CliError, match="--password needs --user"):
        find_session({}, password="x")


def test_the_secret_is_not_in_the_repr() -> None:
    assert "sesame" not in repr(Connection("http://x", "oneadmin:sesame"))


@pytest.mark.parametrize("text", ["soon", "0", "-3", "nan", "1e9"])
def test_an_unusable_time_limit_is_refused(text: str) -> None:
    with pytest.raises(CliError, match=f"ONE_XMLRPC_TIMEOUT must be .*'{text}'"):
        find_connection({"ONE_XMLRPC_TIMEOUT": text}, user="a", password="b")
