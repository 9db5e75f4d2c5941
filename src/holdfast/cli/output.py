"""Standard output that is full, closed or no longer read ends a command with a word, and never with a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from holdfast.cli.errors import FAILURE

_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
_NOT_READ = 141
"""As a shell sees a command that SIGPIPE ended."""


def guarded(name: str, main: Callable[[], int]) -> int:
    """Runs a command to its last flush and answers the exit code."""
    _replace_closed()
    try:
        code = _ended(main)
        sys.stdout.flush()
    except BrokenPipeError:
        discard()
        return _NOT_READ
    except OSError as error:
        if not _is_of_writing(error):
            raise
        discard()
        print(f"{name}: the output cannot be written: {error.strerror}", file=sys.stderr)
        return FAILURE
    return code


def discard() -> None:
    """Nobody takes our output any more: later writes, also the interpreter's last flush, must not fail."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)


def _ended(main: Callable[[], int]) -> int:
    try:
        return main()
    except SystemExit as ended:  # argparse's way, whose output is to be flushed too
        if not isinstance(ended.code, int):
            raise
        return ended.code


def _is_of_writing(error: OSError) -> bool:
    """Whether it was standard output that failed: a file that cannot be had has a name, a connection other numbers."""
    return error.filename is None and error.errno in _OF_WRITING


def _replace_closed() -> None:
    """A descriptor that was closed would be taken by the next file or connection; writing to this one still fails."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDONLY if number == 1 else os.O_WRONLY)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            setattr(sys, name, os.fdopen(number, "w", closefd=False))
