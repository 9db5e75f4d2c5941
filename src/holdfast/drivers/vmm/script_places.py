"""Where a hypervisor's scripts run: on the controller, or on each host over ssh.

A host gets its copy of ``remotes`` by itself, and again whenever ours has changed.  The remote command is one constant
text; script, arguments and what the script reads travel on stdin.  What an earlier order left running there for the
VM is ended first; and a script that the controller lost sight of ends at its own deadline.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import socket
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from holdfast.drivers import expendable
from holdfast.drivers.process import Completed
from holdfast.drivers.script_files import ScriptFiles
from holdfast.drivers.script_runs import ScriptRuns
from holdfast.model.errors import HoldfastError

CONNECTION_FAILED = 255
"""ssh's own exit code: the scripts' is never passed on as such."""

SshWords = Callable[[str, str], Sequence[str]]
"""Takes a host and a text; answers the words of a command that runs the text there."""

_STALE = 42
_MARGIN_S = 0.5
"""So much earlier than here a script's time is up on the host."""
_HOST = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:\[\]-]*")
_COPY_LIMIT = 64 << 20

_RUN = r"""exec bash -c 'd=@DIRECTORY@
IFS= read -r count && mapfile -d "" -n "$count" -t words || exit 41
vm=${words[0]} limit=${words[1]} digest=${words[2]} program=${words[3]}
case $program in "$d"/*) [ -O "$d" ] && [ "$(cat "$d/.digest" 2>/dev/null)" = "$digest" ] || exit 42;; esac
mkdir -p "$d.running" && [ -O "$d.running" ] || exit 41
note=$d.running/$vm
if old=$(cat "$note" 2>/dev/null) && grep -qsz "^HOLDFAST_RUN=$vm\$" "/proc/$old/environ"; then
  kill -KILL -- "-$old"
fi
HOLDFAST_RUN=$vm timeout --kill-after=2 "$limit" "${words[@]:3}" <&0 &
echo $! >"$note"
wait $!
code=$?
rm -f "$note"
[ $code -ne 255 ] || code=254
exit $code'"""

_COPY = r"""exec bash -c 'd=@DIRECTORY@; umask 022
mkdir -p "$d" && [ -O "$d" ] && exec tar -xzf - -C "$d"'"""


class Place(Protocol):
    """Runs the scripts of one hypervisor."""

    async def script(
        self, vm_id: int, host: str, action: str, words: Sequence[str], stdin: str, limit_s: float
    ) -> Completed:
        """The script of this action; raises HoldfastError when it could not even be begun."""

    async def program(self, vm_id: int, host: str, words: Sequence[str], stdin: str, limit_s: float) -> Completed:
        """A program of the system."""

    def is_lost(self, ended: Completed) -> bool:
        """Nobody can tell how it ended, or whether it did."""


class OnController:
    """Scripts that reach the hypervisor by themselves.  They get their input in base64, as OpenNebula's local ones."""

    def __init__(self, name: str, files: ScriptFiles, runs: ScriptRuns) -> None:
        self._name, self._files, self._runs = name, files, runs

    async def script(
        self, vm_id: int, host: str, action: str, words: Sequence[str], stdin: str, limit_s: float
    ) -> Completed:
        """As :class:`Place` says."""
        path = await expendable.call(lambda: self._files.find(self._name, [action]), limit_s, f"looking for {action}")
        return await self._runs.run(vm_id, [str(path), *words], limit_s, base64.b64encode(stdin.encode()))

    async def program(self, vm_id: int, host: str, words: Sequence[str], stdin: str, limit_s: float) -> Completed:
        """As :class:`Place` says."""
        return await self._runs.run(vm_id, words, limit_s, stdin.encode())

    def is_lost(self, ended: Completed) -> bool:
        """Ended at its deadline."""
        return ended.timed_out or ended.code < 0


class OnHosts:
    """Scripts on the hosts, with their input as plain text; ``directory`` is where a host has its copy."""

    def __init__(
        self, name: str, remotes: Path, directory: Path, files: ScriptFiles, runs: ScriptRuns, ssh: SshWords
    ) -> None:
        self._name, self._remotes, self._files, self._runs, self._ssh = name, remotes, files, runs, ssh
        self._directory = str(directory)
        self._text_of_run, self._text_of_copy = (text.replace("@DIRECTORY@", str(directory)) for text in (_RUN, _COPY))
        self._owner = hashlib.sha256(f"{socket.gethostname()}:{remotes}".encode()).hexdigest()[:12]

    async def script(
        self, vm_id: int, host: str, action: str, words: Sequence[str], stdin: str, limit_s: float
    ) -> Completed:
        """As :class:`Place` says."""
        await expendable.call(lambda: self._files.find(self._name, [action]), limit_s, f"looking for {action}")
        path = f"{self._directory}/vmm/{self._name}/{action}"
        ended = await self._run(vm_id, host, [path, *words], stdin, limit_s)
        if ended.code != _STALE or ended.timed_out:
            return ended
        copied = await self._copy(vm_id, host, limit_s - ended.took_s)
        if copied.code != 0:
            return copied
        return await self._run(vm_id, host, [path, *words], stdin, limit_s - ended.took_s - copied.took_s)

    async def program(self, vm_id: int, host: str, words: Sequence[str], stdin: str, limit_s: float) -> Completed:
        """As :class:`Place` says."""
        return await self._run(vm_id, host, words, stdin, limit_s)

    def is_lost(self, ended: Completed) -> bool:
        """The connection broke, or it was ended at a deadline: ours, or the one on the host."""
        return ended.timed_out or ended.code < 0 or ended.code in (CONNECTION_FAILED, 124, 137)

    async def _run(self, vm_id: int, host: str, words: Sequence[str], stdin: str, limit_s: float) -> Completed:
        digest = await expendable.call(lambda: _digest(self._remotes), limit_s, f"looking at {self._remotes}")
        full = [f"{self._owner}.{vm_id}", f"{max(0.1, limit_s - _MARGIN_S):.1f}", digest, *words]
        head = f"{len(full)}\n".encode() + b"".join(word.encode() + b"\0" for word in full)
        return await self._runs.run(vm_id, self._ssh(host, self._text_of_run), limit_s, head + stdin.encode())

    async def _copy(self, vm_id: int, host: str, limit_s: float) -> Completed:
        """Ours become the host's; the digest comes last, so that half a copy counts as none."""
        archive = await expendable.call(lambda: _packed(self._remotes), limit_s, f"packing {self._remotes}")
        return await self._runs.run(vm_id, self._ssh(host, self._text_of_copy), limit_s, archive)


def openssh(config_file: Path | None) -> SshWords:
    """The OpenSSH client; addresses, users and keys are the business of the ssh_config, None for the user's own."""
    options = ("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3", "LogLevel=ERROR")
    program = ("ssh", *(("-F", str(config_file)) if config_file else ()))

    def words(host: str, text: str) -> Sequence[str]:
        if not _HOST.fullmatch(host):
            raise HoldfastError(f'"{host}" is no name of a host that ssh could be given')
        return (*program, *(word for option in options for word in ("-o", option)), "--", host, text)

    return words


def _digest(remotes: Path) -> str:
    """Changes with every change of a file."""
    found = hashlib.sha256()
    for path in sorted(remotes.rglob("*")):
        about = path.lstat()
        found.update(f"{path.relative_to(remotes)}\0{about.st_mode}\0{about.st_size}\0{about.st_mtime_ns}\0".encode())
    return found.hexdigest()


def _packed(remotes: Path) -> bytes:
    digest, archive = _digest(remotes), io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(remotes, ".", filter=_as_ours)
        memory = tarfile.TarInfo("./.digest")
        content = f"{digest}\n".encode()
        memory.size, memory.mode = len(content), 0o644
        tar.addfile(memory, io.BytesIO(content))
    if archive.tell() > _COPY_LIMIT:
        raise HoldfastError(
            f"{remotes} is too large for hosts: {archive.tell() >> 20} MB packed, at most {_COPY_LIMIT >> 20} MB; "
            "move what scripts do not need out of it"
        )
    return archive.getvalue()


def _as_ours(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """On the host everything belongs to whoever we are there; drafts stay here."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return None if os.path.basename(member.name).endswith(".draft") else member
