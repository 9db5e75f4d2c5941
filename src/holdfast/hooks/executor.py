"""Runs a hook once: on this machine, or on a host through OpenSSH.

OpenNebula's conventions hold: COMMAND may carry words of its own, a relative COMMAND is looked up below the hook
directory (our own ``libexec`` first), ARGUMENTS go to stdin or behind the command, split at blanks; and 255 is the code
of whatever could not be run to its end, with the reason on stderr.

It differs where that is safer: there is no shell in between on this machine, every run ends (after 600 s if the hook
says nothing), and on expiry the whole process group is killed.  A process that a hook leaves running in the
background, with its output redirected, is left alone.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import holdfast
from holdfast.drivers.process import OUTPUT_LIMIT, CannotRun, Completed, run

LIBEXEC = Path(holdfast.__file__).parent / "libexec"
"""The hooks that come with Holdfast."""

REMOTE_BASE = "/var/tmp/one/hooks"
"""Where a relative COMMAND is looked up on a host."""

DEFAULT_LIMIT_S = 600.0
FAILED = 255
"""The code of a run that could not be started, ran out of time or was killed."""

_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_SHELL_WORDS = frozenset(["|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>>", "2>&1", "&>"])


@dataclass(frozen=True, slots=True)
class HookResult:
    """What the hook log keeps of a run; ``command`` is what was run, with its arguments if they were given as words."""

    command: str
    arguments: str
    stdout: bytes
    stderr: bytes
    code: int


class _CannotExecute(Exception):
    """Why nothing can be run."""


async def execute(
    command: str,
    arguments: str,
    *,
    stdin: bool,
    remote_host: str | None,
    base_path: Path,
    env: Mapping[str, str],
    timeout_s: float | None,
    libexec: Path = LIBEXEC,
) -> HookResult:
    """Runs the hook once; whatever goes wrong is in the result.

    ``stdin`` sends the arguments to stdin instead of appending them; ``remote_host`` runs the command there.
    """
    limit_s = timeout_s if timeout_s and timeout_s > 0 else DEFAULT_LIMIT_S
    shown = command
    try:
        words = _words(command) + ([] if stdin else arguments.split())
        words[0] = _remote_path(words[0]) if remote_host is not None else _local_path(words[0], base_path, libexec)
        shown = shlex.join(words)
        done = await run(
            words if remote_host is None else _ssh(remote_host, words),
            stdin=arguments.encode() if stdin else b"",
            deadline_s=limit_s,
            env={**_ENVIRONMENT, "HOME": os.environ.get("HOME", "/"), **env},
            leave_background=True,
        )
    except _CannotExecute as error:
        return HookResult(shown, arguments, b"", f"{error}\n".encode(), FAILED)
    except CannotRun as error:
        return HookResult(shown, arguments, b"", f"{_explained(error)}\n".encode(), FAILED)
    code, note = _ending(done, limit_s)
    return HookResult(shown, arguments, done.stdout, _with_note(done.stderr, note), code)


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise _CannotExecute(f"COMMAND {command!r} cannot be split into words: {str(error).lower()}.") from None
    if not words:
        raise _CannotExecute("COMMAND is empty: name the program to run.")
    for word in words:
        if word in _SHELL_WORDS:
            rule = "hook commands are run without a shell"
            raise _CannotExecute(f"COMMAND contains {word!r}, but {rule}: put it into a script and name the script.")
    return words


def _local_path(word: str, base_path: Path, libexec: Path) -> str:
    if Path(word).is_absolute():
        return word
    candidates = [libexec / word, base_path / word]
    if word.endswith(".rb"):
        # OpenNebula's name for a hook that we have under a name without the language.
        candidates.append(libexec / word.removesuffix(".rb"))
    return str(next((path for path in candidates if path.is_file()), base_path / word))


def _remote_path(word: str) -> str:
    return word if word.startswith("/") else f"{REMOTE_BASE}/{word}"


def _ssh(host: str, words: Sequence[str]) -> list[str]:
    if not host or host.startswith("-") or any(letter.isspace() for letter in host):
        raise _CannotExecute(f"REMOTE=YES needs the name of a host, {host!r} is none.")
    # ssh hands one string to a shell on the host: quoting keeps the words what they are.
    return ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", host, "--", shlex.join(words)]


def _ending(done: Completed, limit_s: float) -> tuple[int, str]:
    """The code for the log, and what to add to stderr."""
    if done.timed_out:
        return FAILED, f"Timeout executing the hook: it did not end within {limit_s:g} s and was killed."
    if done.code < 0:
        return FAILED, f"The hook was killed by signal {-done.code} ({signal.strsignal(-done.code)})."
    return done.code, f"Output was cut at {OUTPUT_LIMIT} bytes." if done.truncated else ""


def _with_note(stderr: bytes, note: str) -> bytes:
    if not note:
        return stderr
    line_break = b"\n" if stderr and not stderr.endswith(b"\n") else b""
    return stderr + line_break + note.encode() + b"\n"


def _explained(error: CannotRun) -> str:
    too_long = "argument list too long" in error.reason
    return error.message + (" Set ARGUMENTS_STDIN=yes." if too_long else "")
