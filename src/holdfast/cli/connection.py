"""Where the server is and who is asking.

Endpoint: ``--endpoint``, ``ONE_XMLRPC``, ``~/.one/one_endpoint``, ``/var/lib/one/.one/one_endpoint``, localhost.
Credentials: ``--user`` and ``--password``, the file named by ``ONE_AUTH``, ``~/.one/one_auth``,
``/var/lib/one/.one/one_auth``.  The first that exists wins.  The secret is kept out of every message and ``repr``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.cli.errors import CliError

DEFAULT_ENDPOINT = "http://localhost:2633/RPC2"
DEFAULT_TIMEOUT_S = 60.0
_SYSTEM_DIRECTORY = Path("/var/lib/one/.one")


@dataclass(frozen=True, slots=True)
class Connection:
    """An endpoint, the session string ``user:secret`` and how long an answer may take."""

    endpoint: str
    session: str = field(repr=False)
    timeout_s: float = DEFAULT_TIMEOUT_S


def find_connection(
    environ: Mapping[str, str], endpoint: str | None = None, user: str | None = None, password: str | None = None
) -> Connection:
    """The connection that options, environment and files describe."""
    return Connection(
        endpoint or find_endpoint(environ),
        find_session(environ, user, password),
        _timeout_s(environ.get("ONE_XMLRPC_TIMEOUT", "")),
    )


def find_endpoint(environ: Mapping[str, str]) -> str:
    """The endpoint without regard to options."""
    if environ.get("ONE_XMLRPC"):
        return environ["ONE_XMLRPC"]
    for directory in _directories(environ):
        path = directory / "one_endpoint"
        if path.is_file():
            return _first_line(path)
    return DEFAULT_ENDPOINT


def find_session(environ: Mapping[str, str], user: str | None = None, password: str | None = None) -> str:
    """The session string ``user:secret``."""
    if user:
        return f"{user}:{_ask_password(user) if password is None else password}"
    if password is not None:
        raise CliError("--password needs --user NAME.")
    if environ.get("ONE_AUTH"):
        return _session_in(Path(environ["ONE_AUTH"]), "named by ONE_AUTH")
    for directory in _directories(environ):
        path = directory / "one_auth"
        if path.is_file():
            return _session_in(path, "with your credentials")
    raise CliError(
        "No credentials: put NAME:PASSWORD into ~/.one/one_auth, set ONE_AUTH to such a file, or use --user."
    )


def _directories(environ: Mapping[str, str]) -> list[Path]:
    home = [Path(environ["HOME"]) / ".one"] if environ.get("HOME") else []
    return [*home, _SYSTEM_DIRECTORY]


def _session_in(path: Path, role: str) -> str:
    session = _first_line(path)
    if ":" not in session:
        raise CliError(f"The file {path} {role} must hold one line NAME:PASSWORD.")
    return session


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CliError(f"Cannot read {path}: {reason}.") from None


def _ask_password(user: str) -> str:
    if not sys.stdin.isatty():
        raise CliError(f"--user {user} needs --password when there is no terminal to ask on.")
    import getpass

    return getpass.getpass(f"Password for {user}: ")


def _timeout_s(text: str) -> float:
    try:
        seconds = float(text) if text else DEFAULT_TIMEOUT_S
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86400:
        raise CliError(f"ONE_XMLRPC_TIMEOUT must be a number of seconds from 1 to 86400, it is '{text}'.")
    return seconds


def environment() -> Mapping[str, str]:
    """The process's environment."""
    return os.environ
