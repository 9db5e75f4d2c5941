"""Runs one blocking call in a daemon thread of its own, which may be left behind.

libvirt's ``open()`` and any access to a network file system can block for ever, in the kernel, out of reach of signals.
Such a call gets a thread that nobody depends on: no pool it could exhaust, no lock it could keep, no exit it could
hold up.  Whoever starts one waits with a limit and decides what a late result is worth.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from holdfast.model.errors import HoldfastError

T = TypeVar("T")


class Overdue(HoldfastError):
    """The call did not return within its limit; its thread goes on and may still take effect."""

    def __init__(self, name: str, limit_s: float) -> None:
        super().__init__(f"{name} did not return within {limit_s:.1f} s.")


def start(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Begins ``work`` in a thread; the future gets its result or exception, however late."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(_mark_retrieved)

    def settle(value: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)  # type: ignore[arg-type]

    def body() -> None:
        value: T | None = None
        failure: BaseException | None = None
        try:
            value = work()
        except BaseException as error:  # noqa: BLE001 - handed over to the future, whatever it is
            failure = error
        with contextlib.suppress(RuntimeError):  # the event loop is gone: nobody is left to tell
            loop.call_soon_threadsafe(settle, value, failure)

    threading.Thread(target=body, name=name, daemon=True).start()
    return future


async def call(work: Callable[[], T], limit_s: float, name: str) -> T:
    """The result of ``work`` if it comes within ``limit_s`` seconds, else Overdue."""
    future = start(work, name)
    await asyncio.wait({future}, timeout=max(0.0, limit_s))
    if not future.done():
        raise Overdue(name, limit_s)
    return future.result()


def _mark_retrieved(future: asyncio.Future[T]) -> None:
    """A late failure of an abandoned call is of no interest: asyncio need not warn about it."""
    if not future.cancelled():
        future.exception()
