"""The hosts over the OpenSSH client: one connection per host, shared by all that is done there, no password, no agent.

Names of hosts are given to ssh as they are: addresses, ports, users, keys and jump hosts are the business of the site's
ssh_config, and so is what a host key must be.  Commands are constant texts, for the host's shell reads them; what they
work on goes to their stdin.

The first session with a host makes the connection (ControlMaster), which stays for a while.  It is made by itself,
before any command: so a host that cannot be reached is known before anything has begun.  How many sessions there are at
once is bounded, for each host because its server has a bound too.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.drivers import process
from holdfast.drivers.piped import Piped, piped
from holdfast.model.errors import HoldfastError

CONNECTION_FAILED = 255
"""How ssh ends when it is not the command that failed."""

_HOST = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:\[\]-]*")
_LAST_WORDS = 400
_DISCONNECT_LIMIT_S = 2.0
_NAME_BYTES = 40 + 17  # %C, and what ssh appends to it while it makes the socket
_SOCKET_PATH_LIMIT = 104


class SshFailed(HoldfastError):
    """The host could not be reached: nothing was begun there."""


@dataclass(frozen=True, slots=True)
class SshSettings:
    """``config_file``: the ssh_config, None for that of the user who runs the controller.

    A host that does not answer is given up after ``connect_timeout_s``; a connection that fell silent, after
    ``alive_interval_s`` times ``alive_count``.
    """

    control_directory: Path
    config_file: Path | None = None
    connect_timeout_s: int = 10
    alive_interval_s: int = 5
    alive_count: int = 3
    persist_s: int = 30
    at_once: int = 256
    per_host: int = 8


class Ssh:
    """Sessions with hosts."""

    def __init__(self, settings: SshSettings) -> None:
        self._settings = settings
        self._turns = _Turns(settings.at_once, settings.per_host)
        self._connected_until: dict[str, float] = {}
        self._attempts: dict[str, asyncio.Task[str]] = {}

    @asynccontextmanager
    async def turn(self, *hosts: str) -> AsyncIterator[None]:
        """The right to one session with each of these hosts; waits for it as long as the caller lets it."""
        await self._turns.take(hosts)
        try:
            yield
        finally:
            self._turns.give_back(hosts)

    @asynccontextmanager
    async def session(self, host: str, command: str) -> AsyncIterator[Piped]:
        """Runs the constant ``command`` on the host; within a :meth:`turn`; raises SshFailed or CannotRun."""
        await self._connect(host)
        async with piped(self._argv(host, command)) as program:
            yield program
        self._connected_until[host] = time.monotonic() + self._settings.persist_s / 2

    def lost(self, host: str, words: bytes) -> str:
        """What to say of a session that ended with CONNECTION_FAILED; the next one connects anew."""
        self._connected_until.pop(host, None)
        return f"the connection to host {host} was lost: {_last_words(words)}"

    async def close(self) -> None:
        """Ends the connections that would be kept for a while; nobody may use them any more."""
        await asyncio.gather(*(self._disconnect(host) for host in self._connected_until))

    async def _disconnect(self, host: str) -> None:
        with suppress(HoldfastError):  # it ends by itself
            await process.run([*self._client(), "-O", "exit", "--", host], deadline_s=_DISCONNECT_LIMIT_S)

    async def _connect(self, host: str) -> None:
        """Makes sure that there is a connection; who comes while one is tried shares what comes of it."""
        if not _HOST.fullmatch(host):
            raise SshFailed(f'"{host}" is no name of a host that ssh could be given')
        if time.monotonic() < self._connected_until.get(host, 0.0):
            return
        attempt = self._attempts.get(host)
        if attempt is None:
            attempt = self._attempts[host] = asyncio.create_task(self._try(host), name=f"ssh to {host}")
            attempt.add_done_callback(lambda _: self._attempts.pop(host, None))
        reason = await asyncio.shield(attempt)
        if reason:
            raise SshFailed(f"host {host} cannot be reached by ssh: {reason}")

    async def _try(self, host: str) -> str:
        """Connects; why it was impossible, or nothing."""
        limit_s = 2.0 * self._settings.connect_timeout_s
        try:
            ended = await process.run(self._argv(host, "exit 0"), deadline_s=limit_s)
        except HoldfastError as error:
            return error.message
        if ended.timed_out:
            return f"no answer within {limit_s:.0f} s"
        if ended.code != 0:
            return _last_words(ended.stderr)
        self._connected_until[host] = time.monotonic() + self._settings.persist_s / 2
        return ""

    def _argv(self, host: str, command: str) -> list[str]:
        return [*self._client(), "--", host, command]

    def _client(self) -> list[str]:
        settings = self._settings
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": settings.connect_timeout_s,
            "ConnectionAttempts": 1,
            "ServerAliveInterval": settings.alive_interval_s,
            "ServerAliveCountMax": settings.alive_count,
            "ControlMaster": "auto",
            "ControlPath": self._control_directory() / "%C",
            "ControlPersist": settings.persist_s,
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "ClearAllForwardings": "yes",
            "PermitLocalCommand": "no",
            "RequestTTY": "no",
            "EscapeChar": "none",
            "LogLevel": "ERROR",
        }
        config = ["-F", str(settings.config_file)] if settings.config_file else []
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", *config, *words]

    def _control_directory(self) -> Path:
        return private_directory(self._settings.control_directory)


class _Turns:
    """Counts sessions; takes those of one piece of work at once, so that none waits for another for ever."""

    def __init__(self, at_once: int, per_host: int) -> None:
        self._left, self._per_host = at_once, per_host
        self._of_host: dict[str, int] = {}
        self._changed = asyncio.Event()

    async def take(self, hosts: tuple[str, ...]) -> None:
        while not self._free(hosts):
            self._changed.clear()
            await self._changed.wait()
        self._left -= len(hosts)
        for host in hosts:
            self._of_host[host] = self._of_host.get(host, 0) + 1

    def _free(self, hosts: tuple[str, ...]) -> bool:
        return self._left >= len(hosts) and all(self._of_host.get(host, 0) < self._per_host for host in hosts)

    def give_back(self, hosts: tuple[str, ...]) -> None:
        self._left += len(hosts)
        for host in hosts:
            self._of_host[host] -= 1
            if not self._of_host[host]:
                del self._of_host[host]
        self._changed.set()


def private_directory(wanted: Path) -> Path:
    """Where the sockets of the connections are: nobody else may enter, for a socket there opens all hosts.

    ``wanted``, or a directory with a short name in its stead when the path of a socket would be too long; raises
    SshFailed when it belongs to somebody else.
    """
    directory = wanted
    if len(os.fsencode(wanted)) + 1 + _NAME_BYTES > _SOCKET_PATH_LIMIT:
        digest = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:12]
        directory = Path(tempfile.gettempdir(), f"holdfast-ssh-{os.geteuid()}-{digest}")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = directory.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o077:
        raise SshFailed(f"{directory} must be a directory that only this user can enter (mode 0700): remove it")
    return directory


def _last_words(words: bytes) -> str:
    return " ".join(words.decode(errors="replace").split())[-_LAST_WORDS:] or "ssh gave no reason"
