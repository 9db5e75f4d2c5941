"""Where the installed commands begin: a Ctrl-C ends them without a traceback, from the first import to the last flush.

Importing a command takes longer than anything else that it does.  So SIGINT is seen to first, and nothing is imported
up here that the interpreter has not loaded by itself.  Who ignores SIGINT (``nohup``, a shell's ``&``) goes on to.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would be an import too many
    from collections.abc import Callable

INTERRUPTED = 130


def holdfast() -> int:
    """Entry point of ``holdfast``."""
    return _run("holdfast.cli.holdfast")


def onevm() -> int:
    """Entry point of ``onevm``."""
    return _run("holdfast.cli.onevm")


def onehost() -> int:
    """Entry point of ``onehost``."""
    return _run("holdfast.cli.onehost")


def onehook() -> int:
    """Entry point of ``onehook``."""
    return _run("holdfast.cli.onehook")


def oneimage() -> int:
    """Entry point of ``oneimage``."""
    return _run("holdfast.cli.oneimage")


def onedatastore() -> int:
    """Entry point of ``onedatastore``."""
    return _run("holdfast.cli.onedatastore")


def _run(module: str) -> int:
    try:
        import signal

        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return _guarded(module)()
        signal.signal(signal.SIGINT, _leave)
        main = _guarded(module)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return main()
        finally:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    except KeyboardInterrupt:
        return INTERRUPTED


def _guarded(module: str) -> Callable[[], int]:
    from importlib import import_module

    from holdfast.cli.output import guarded

    main: Callable[[], int] = import_module(module).main
    return lambda: guarded(module.rpartition(".")[2], main)


def _leave(number: int, frame: object) -> None:
    os._exit(INTERRUPTED)  # an exception would not do: some callbacks of the import system print it and go on
