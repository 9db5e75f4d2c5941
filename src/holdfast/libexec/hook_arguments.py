"""The arguments of the failover hook: ``HOST -m|-r|-d [-f] [-p N] [-u]``.

OpenNebula's script reads them from standard input (hooks with ARGUMENTS_STDIN=yes) and ignores the command line; so
standard input wins when it holds anything.  HOST is ``$TEMPLATE``, the host's XML in base64, or a plain id.
"""

from __future__ import annotations

import base64
import binascii
import os
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.cli.errors import CliError, UsageError
from holdfast.cli.options import Option, parse_options
from holdfast.cli.xmltree import parse, text_of

DEFAULT_PAUSE = 2
_PAUSE_LIMIT = 10_000
_INPUT_WAIT_S = 30.0
_INPUT_WAIT_WITH_ARGV_S = 0.5
_INPUT_LIMIT_BYTES = 16 << 20
_MODES = ("migrate", "recreate", "delete")
_OPTIONS = (
    Option("migrate", "m"),
    Option("recreate", "r"),
    Option("delete", "d"),
    Option("force", "f"),
    Option("pause", "p", "N"),
    Option("no-fencing", "u"),
)


@dataclass(frozen=True, slots=True)
class HookArguments:
    """What is to be done, for which host, after how many cycles."""

    host_id: int
    mode: str
    force: bool = False
    pause: int = DEFAULT_PAUSE
    fencing: bool = True


def parse_arguments(words: Sequence[str]) -> HookArguments:
    """The arguments that ``words`` spell; raises UsageError naming the wrong one."""
    values, rest = parse_options(words, _OPTIONS)
    if len(rest) != 1:
        found = f"{len(rest)} were given" if rest else "there is none"
        raise UsageError(f"Name one host, as $TEMPLATE or by its id: {found}.")
    mode = values.last_of(*_MODES)
    if mode is None:
        raise UsageError("Say what to do with the VMs: -m (migrate), -r (recreate) or -d (delete).")
    pause = values.number("pause")
    if pause is not None and pause > _PAUSE_LIMIT:
        raise UsageError(f"--pause must be at most {_PAUSE_LIMIT} cycles, it is {pause}.")
    return HookArguments(
        host_id=host_id_in(rest[0]),
        mode=mode,
        force=values.switch("force"),
        pause=DEFAULT_PAUSE if pause is None else pause,
        fencing=not values.switch("no-fencing"),
    )


def host_id_in(word: str) -> int:
    """The host's id out of ``$TEMPLATE`` (base64 of its XML) or ``$ID``."""
    if word.isascii() and word.isdigit():
        return int(word)
    try:
        text = base64.b64decode(word, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise UsageError(f"'{word[:40]}' is neither a host id nor the host's XML in base64.") from None
    host_id = text_of(parse(text, "The hook's $TEMPLATE"), "ID")
    if not host_id.isdigit():
        raise UsageError("The hook's $TEMPLATE holds no HOST/ID.")
    return int(host_id)


def read_words(argv: Sequence[str], descriptor: int = 0) -> list[str]:
    """The words on standard input when it holds any, otherwise ``argv``."""
    return _read_input(descriptor, _INPUT_WAIT_WITH_ARGV_S if argv else _INPUT_WAIT_S).split() or list(argv)


def _read_input(descriptor: int, first_wait_s: float) -> str:
    try:
        if os.isatty(descriptor) or not _is_readable(descriptor, first_wait_s):
            return ""
        return _read_to_end(descriptor).decode(errors="replace")
    except OSError:
        # Standard input is closed: a hook executor may do that when it has nothing to say.
        return ""


def _read_to_end(descriptor: int) -> bytes:
    data = bytearray()
    deadline = time.monotonic() + _INPUT_WAIT_S
    while _is_readable(descriptor, max(0.0, deadline - time.monotonic())):
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            return bytes(data)
        data += chunk
        if len(data) > _INPUT_LIMIT_BYTES:
            raise CliError(f"Standard input holds more than {_INPUT_LIMIT_BYTES >> 20} MiB.")
    raise CliError(f"Standard input was not closed within {_INPUT_WAIT_S:g} s.")


def _is_readable(descriptor: int, wait_s: float) -> bool:
    return bool(select.select([descriptor], [], [], wait_s)[0])
